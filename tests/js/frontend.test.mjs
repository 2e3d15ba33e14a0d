import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { io } from 'socket.io-client'
import { stage } from './harness/stage.mjs'
import { within } from './harness/timeout.mjs'

describe('a frontend as the marketplace has it', () => {
  let app, service, connect, atTheEnd, end
  before(async () => ({ app, service, connect, atTheEnd, end } = await stage()))
  after(() => end?.())

  // Word for word what the frontends do, but for the server's address and the query client.
  function existingFrontend(userId) {
    const invalidated = []
    const waiting = []
    const queryClient = {
      invalidateQueries(key) {
        invalidated.push(key)
        for (const check of waiting) check()
      },
    }
    const socket = io(service.url, { auth: { userId }, autoConnect: true, reconnection: true, reconnectionDelay: 1000, reconnectionAttempts: 5 })
    atTheEnd(async () => socket.disconnect())
    socket.on('product:updated', (data) => { queryClient.invalidateQueries(['product', data.productId]) })
    socket.on('order:updated', (data) => { queryClient.invalidateQueries(['order', data.orderId]) })
    const connected = new Promise((resolve, reject) => socket.on('connect', resolve).on('connect_error', reject))
    const invalidates = (...key) =>
      within(
        new Promise((resolve) => {
          const check = () => invalidated.some((one) => one.join() === key.join()) && resolve()
          waiting.push(check)
          check()
        }),
        () => `${key} to be invalidated; so far: ${JSON.stringify(invalidated)}`,
      )
    return { connected, invalidates }
  }

  it('finds productId on the top level of product:updated', async () => {
    const frontend = existingFrontend('seller-1')
    await frontend.connected
    await app.patch('/products/product-1', { name: 'Stoneware mug, plain' })
    await frontend.invalidates('product', 'product-1')
  })

  it('finds orderId on the top level of order:updated', async () => {
    const frontend = existingFrontend('buyer-1')
    await frontend.connected
    const order = await app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: 'product-1', quantity: 1 }] })
    await frontend.invalidates('order', order.id)
  })

  it('gets the whole envelope', async () => {
    const seller = await connect('seller-1')
    await app.patch('/products/product-1', { price: '26.00' })
    const event = await seller.hears('product:price_changed')
    assert.deepEqual(Object.keys(event).filter((key) => key !== 'userId').sort(), ['data', 'metadata', 'productId', 'timestamp', 'type'])
    assert.equal(event.type, 'product:price_changed')
    assert.match(event.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.ok(Math.abs(Date.now() - Date.parse(event.timestamp)) < 60_000, `${event.timestamp} is the time of the change`)
    assert.equal(event.productId, 'product-1')
    assert.equal(event.metadata.op, 'UPDATE')
    assert.equal(event.metadata.table, 'products')
    for (const key of ['id', 'position', 'txid']) assert.equal(typeof event.metadata[key], 'string', key)
  })

  it('hears the events of one transaction in the order of its changes', async () => {
    const seller = await connect('seller-2')
    await app.post('/orders', { buyerId: 'buyer-2', items: [{ productId: 'product-7', quantity: 1 }] })
    await seller.hears('order:updated')
    const types = seller.heard.map(({ type }) => type)
    assert.ok(types.indexOf('product:stock_changed') !== -1, `stock went with the order: ${types}`)
    assert.ok(types.indexOf('product:stock_changed') < types.indexOf('order:updated'), `stock before order: ${types}`)
  })

  it('works over long polling alone', async () => {
    const seller = await connect('seller-3', { transports: ['polling'] })
    await app.patch('/products/product-9', { price: '31.00' })
    const event = await seller.hears('product:price_changed')
    assert.equal(event.data.newPrice, '31.00')
  })
})
