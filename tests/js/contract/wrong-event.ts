// An event that nobody sends.

import { io, type Socket } from 'socket.io-client'
import type { ClientToServerEvents, ServerToClientEvents } from 'rowcast-events'

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000')

socket.on('product:stock_chnaged', (event: unknown) => console.log(event))
