// What both Node peers share: a Socket.IO server whose clients join the rooms of products and storefronts.

import { createServer } from 'node:http'
import { Server } from 'socket.io'

// `handle(request, response)` answers what is not Socket.IO's.
export function serve(handle) {
  const http = createServer((request, response) => {
    if (request.url !== '/readyz') return handle(request, response)
    response.end('ready')
  })
  const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false })
  io.on('connection', (socket) => {
    socket.on('join:product', ({ productId }, ack) => {
      socket.join(`product:${productId}`)
      ack({ success: true })
    })
    socket.on('join:storefront', ({ sellerId }, ack) => {
      socket.join(`storefront:${sellerId}`)
      ack({ success: true })
    })
  })
  const [host, port] = process.env.LISTEN.split(':')
  http.listen(Number(port), host)
  return io
}

// Encoded once for all sockets of both rooms.
export function tell(io, row) {
  io.to(`product:${row.id}`).to(`storefront:${row.seller_id}`).emit('product:updated', row)
}
