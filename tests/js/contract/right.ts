// What a frontend may write with the generated types; it has to compile.

import { io, type Socket } from 'socket.io-client'
import type {
  ClientToServerEvents,
  Decimal,
  OrderUpdated,
  ProductUpdatedData,
  RoomAnswer,
  ServerToClientEvents,
  WholesaleOrderStatus,
} from 'rowcast-events'

const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io('http://localhost:4000')

socket.on('product:stock_changed', (event) => {
  const before: number = event.data.oldStock ?? 0
  const now: number | null = event.data.newStock
  console.log((now ?? 0) + 1 - before, event.productId.length, event.metadata.position, event.userId?.length)
})

socket.on('product:price_changed', ({ data, type, timestamp }) => {
  const price: Decimal = data.newPrice
  const name: 'product:price_changed' = type
  console.log(price.padStart(8), name, new Date(timestamp))
})

socket.on('product:updated', ({ data }) => {
  const changes: ProductUpdatedData['changes'] = data.changes
  if (changes.name !== undefined) console.log(changes.name.toUpperCase())
  for (const image of changes.images ?? []) console.log(image.length)
})

// The action tells the forms of the data apart.
const old = (event: OrderUpdated): string => {
  switch (event.data.action) {
    case 'created':
      return event.data.status
    case 'fulfillment':
    case 'refund':
      return `${event.data.oldStatus} -> ${event.data.status}`
  }
}
socket.on('order:updated', (event) => console.log(old(event)))

// What the database's columns don't say, the catalog does.
socket.on('cart:updated', ({ data }) => {
  // Digits where it is no whole number, as an application may have written it.
  const pieces: number = data.items.reduce((sum, item) => sum + Number(item.quantity), 0)
  if (data.changed !== null) console.log(String(data.changed.productId).length, Number(data.changed.quantity) + pieces, data.changed.variant)
})
socket.on('notification:order', ({ data }) => console.log(data.subject?.type.length, data.subject?.id.length, 'unread' in data && data.unread + 1))
socket.on('analytics:sale_completed', ({ data }) => console.log(data.sellerId.length, String(data.productId ?? '').length))
socket.on('analytics:revenue_updated', ({ data, sellerId }) => console.log(data.sellerId.length, sellerId.length))
socket.on('analytics:metrics_updated', ({ data: { metrics } }) => console.log(metrics.totalOrders + 1, metrics.totalRevenue.length))
socket.on('analytics:product_viewed', ({ data }) => console.log(data.sellerId.length, data.viewCount + data.viewersNow))
socket.on('presence:viewers', ({ data }) => console.log(data.productId.length, data.viewers + 1))

socket.on('chat:typing', ({ data }) => console.log(data.typing ? `${data.userId} types in ${data.room}` : ''))
socket.on('rowcast:resumed', ({ rooms, replayed, position }) => console.log(rooms.join(), replayed + 1, position))
socket.on('rowcast:resync', ({ reason, rooms }) => console.log(reason, rooms?.length))

const status: WholesaleOrderStatus = 'ready_to_release'
console.log(status)

socket.emit('join:product', { productId: 'product-1' })
socket.emit('join:product', { productId: 7 }, (answer) => {
  if (answer.success) console.log(answer.room, answer.position)
  else console.log(answer.error)
})
socket.emit('join:seller')
socket.emit('join:seller', {}, (answer) => console.log(answer.success && answer.rooms))
socket.emit('join', { room: 'product:product-1', since: null }, (answer) => console.log(answer.success))
socket.emit('ping', (answer) => console.log(answer.success && answer.time))
socket.emit('notification:list', { limit: 10, unread: true }, (answer) => {
  if (!answer.success) return
  for (const { title, readAt, subject } of answer.notifications) console.log(title, readAt ?? 'unread', subject?.id.length)
})
socket.emit('notification:read', { all: true }, (answer) => console.log(answer.success && answer.unread + 1))
socket.emit('chat:typing', { room: 'product:product-1', typing: false }, (answer) => {
  if (answer.success) console.log(answer.room, answer.position)
})
socket.timeout(1000).emit('leave:product', { productId: 'product-1' }, (failed, answer) => {
  if (!failed && answer.success) console.log(answer.room)
})
const joined: Promise<RoomAnswer> = socket.emitWithAck('join:storefront', { sellerId: 'seller-1' })
console.log(joined)
