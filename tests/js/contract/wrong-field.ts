// A field that the event doesn't have.

import { io, type Socket } from 'socket.io-client'
import type { ClientToServerEvents, ServerToClientEvents } from 'rowcast-events'

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000')

socket.on('product:stock_changed', (event) => console.log(event.data.newStok))
