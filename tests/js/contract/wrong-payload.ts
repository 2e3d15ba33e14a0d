// A message without what it needs.

import { io, type Socket } from 'socket.io-client'
import type { ClientToServerEvents, ServerToClientEvents } from 'rowcast-events'

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000')

socket.emit('join:product', { product: 'product-1' })
