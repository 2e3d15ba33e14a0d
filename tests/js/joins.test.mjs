import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { heardSince, settle, watchMarker } from './harness/marker.mjs'
import { stage } from './harness/stage.mjs'

describe('client messages', () => {
  let database, connect, end
  let buyer, seller, bystander
  before(async () => ({ database, connect, end } = await stage({ app: false })))
  after(() => end?.())
  beforeEach(async () => {
    for (const frontend of [buyer, seller, bystander]) frontend?.close()
    buyer = await connect('buyer-1')
    seller = await connect('seller-1')
    bystander = await connect('buyer-2')
    await Promise.all([buyer, seller, bystander].map(watchMarker))
  })

  const joined = (room) => (ack) => {
    assert.equal(ack.success, true, JSON.stringify(ack))
    assert.equal(ack.room, room)
    assert.equal(typeof ack.position, 'string')
    assert.notEqual(ack.position, '')
  }
  const refused = (ack) => {
    assert.equal(ack.success, false, JSON.stringify(ack))
    assert.equal(typeof ack.error, 'string')
    assert.notEqual(ack.error, '')
  }
  const reprice = (id) => database.query('UPDATE products SET price = price + 1 WHERE id = $1', [id])

  it('join:product answers with the room and a position', async () => {
    joined('product:product-5')(await buyer.ask('join:product', { productId: 'product-5' }))
  })

  it('join:product takes a whole number, as databases with serial keys have them', async () => {
    joined('product:7')(await buyer.ask('join:product', { productId: 7 }))
  })

  it('join:storefront answers with the room and a position', async () => {
    joined('storefront:seller-2')(await buyer.ask('join:storefront', { sellerId: 'seller-2' }))
  })

  it('join:seller is open to a seller', async () => {
    assert.equal((await seller.ask('join:seller', {})).success, true)
  })

  it('join:seller is open to a collaborator of the store', async () => {
    const helper = await connect('helper-1')
    assert.equal((await helper.ask('join:seller', {})).success, true)
  })

  it('join:seller is refused to a buyer', async () => {
    refused(await buyer.ask('join:seller', {}))
  })

  it('join takes the name of a room', async () => {
    joined('product:product-6')(await buyer.ask('join', { room: 'product:product-6' }))
  })

  it('ping is answered', async () => {
    assert.equal((await buyer.ask('ping', {})).success, true)
  })

  it('ping without a payload is answered', async () => {
    assert.equal((await buyer.ask('ping')).success, true)
  })

  it('a message without an acknowledgement takes effect all the same', async () => {
    buyer.socket.emit('join:product', { productId: 'product-8' })
    await buyer.ask('ping')
    // Two messages of one client may be handled side by side; the second join answers when it is in.
    await buyer.joins('join:product', { productId: 'product-8' })
    await reprice('product-8')
    await buyer.hears('product:price_changed', ({ productId }) => productId === 'product-8')
    await settle(database, [buyer])
    assert.equal(buyer.heard.filter(({ type, event }) => type === 'product:price_changed' && event.productId === 'product-8').length, 1)
  })

  for (const [join, leave, payload, product] of [
    ['join:product', 'leave:product', { productId: 'product-5' }, 'product-5'],
    ['join', 'leave', { room: 'product:product-5' }, 'product-5'],
  ]) {
    it(`${leave} ends what ${join} began`, async () => {
      await buyer.joins(join, payload)
      await reprice(product)
      await buyer.hears('product:price_changed', ({ productId }) => productId === product)

      assert.equal((await buyer.ask(leave, payload)).success, true)
      const from = buyer.heard.length
      await reprice(product)
      await settle(database, [buyer])
      assert.deepEqual(heardSince(buyer, from), [])
    })
  }

  it('leave:storefront ends what join:storefront began', async () => {
    const rename = (name) => database.query('UPDATE products SET name = $1 WHERE id = $2', [name, 'product-7'])
    await buyer.joins('join:storefront', { sellerId: 'seller-2' })
    await rename('Waffle towel, one')
    await buyer.hears('product:updated', ({ productId }) => productId === 'product-7')

    assert.equal((await buyer.ask('leave:storefront', { sellerId: 'seller-2' })).success, true)
    const from = buyer.heard.length
    await rename('Waffle towel, two')
    await settle(database, [buyer])
    assert.deepEqual(heardSince(buyer, from), [])
  })

  it('leaving a room that one is not in is no error', async () => {
    assert.equal((await buyer.ask('leave:product', { productId: 'product-1' })).success, true)
  })

  for (const room of ['user:buyer-2', 'user:seller-1', 'seller:seller-1', 'sellers', 'nosuch:thing', 'nosuch', '', 'product:', 'x'.repeat(5000)]) {
    it(`a buyer may not join ${room.length > 40 ? 'a room with a name of 5,000 characters' : JSON.stringify(room)}`, async () => {
      refused(await buyer.ask('join', { room }))
    })
  }

  it('a seller may not join the private room of another seller', async () => {
    refused(await seller.ask('join', { room: 'seller:seller-2' }))
  })

  it('a refused join lets nothing through', async () => {
    refused(await buyer.ask('join', { room: 'seller:seller-3' }))
    const from = buyer.heard.length
    await reprice('product-9')
    await settle(database, [buyer])
    assert.deepEqual(heardSince(buyer, from), [])
  })

  for (const [what, message, ...payload] of [
    ['join:product without a payload', 'join:product'],
    ['join:product with null', 'join:product', null],
    ['join:product with a number', 'join:product', 7],
    ['join:product with a list', 'join:product', ['product-1']],
    ['join:product without productId', 'join:product', {}],
    ['join:product with a fraction for productId', 'join:product', { productId: 7.5 }],
    ['join:product with an object for productId', 'join:product', { productId: { $ne: '' } }],
    ['join:product with an empty productId', 'join:product', { productId: '' }],
    ['join:product with a huge productId', 'join:product', { productId: 'x'.repeat(60_000) }],
    ['join:storefront without a payload', 'join:storefront'],
    ['join:storefront with true for sellerId', 'join:storefront', { sellerId: true }],
    ['join without a payload', 'join'],
    ['join with a list for room', 'join', { room: ['product:product-1'] }],
    ['join with a number for since', 'join', { room: 'product:product-1', since: 12 }],
    ['leave without a payload', 'leave'],
    ['leave:product with a string', 'leave:product', 'product-1'],
    ['bytes in place of an object', 'join:product', new Uint8Array([1, 2, 3])],
  ]) {
    it(`${what} is refused and disturbs nobody`, async () => {
      refused(await buyer.ask(message, ...payload))
      await settle(database, [buyer, seller, bystander])
      assert.ok(buyer.socket.connected)
    })
  }

  it('a message beyond the limit of size harms nobody else', async () => {
    const huge = { productId: 'x'.repeat(3_000_000) }
    const lost = new Promise((resolve) => buyer.socket.once('disconnect', resolve))
    const ack = await Promise.race([buyer.ask('join:product', huge), lost.then(() => null)])
    if (ack) refused(ack)
    await settle(database, [seller, bystander])
    assert.ok(seller.socket.connected && bystander.socket.connected)
  })
})
