// With `envelope = "flat"` the data stands at the top.

import { io, type Socket } from 'socket.io-client'
import type { ClientToServerEvents, ServerToClientEvents } from 'rowcast-events'

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000')

socket.on('product:stock_changed', (event) => console.log(event.newStock, event.productId.length, event.metadata.id))
socket.on('order:updated', (event) => console.log(event.action === 'refund' ? event.oldStatus : event.status))
