import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { heardSince, settle, watchMarker } from './harness/marker.mjs'
import { stage } from './harness/stage.mjs'

// Who listens. Whoever a row does not name must not hear its event.
const cast = {
  seller: 'seller-1',
  helper: 'helper-1', // works in the seller's store
  rival: 'seller-2',
  buyer: 'buyer-1',
  stranger: 'buyer-2',
  holder: 'buyer-3', // has BOWL and TEAPOT in the cart
  visitor: 'buyer-4', // in the seller's storefront
  viewer: 'buyer-5', // looks at BOWL, TEAPOT and DRAFT
}
const STORE = ['seller', 'helper']
const BOWL = 'product-2'
const TEAPOT = 'product-4'
const DRAFT = 'product-13'
const TERMS = { sellerId: 'seller-1', buyerId: 'buyer-1' }

/** The data of an event is exactly `expected`. */
const exactly = (expected) => (actual) => assert.deepEqual(actual, expected)

/** The data of an event has what `expected` has, and may have more. */
const atLeast = (expected) => (actual) =>
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, actual[key]])), expected)

// One row an event: what the application does (`given` before, `when` for it), who hears it, with which data.
// `data` gets what `given` and `when` gave; it is a check for all, or one for each of those who hear it.
const products = [
  {
    event: 'product:created',
    of: 'an active product',
    when: ({ app }) => app.post('/products', { sellerId: 'seller-1', name: 'Sugar bowl', price: '21.50', stock: 12, status: 'active' }),
    to: [...STORE, 'visitor'],
    data: (_, { id }) => exactly({ productId: id, sellerId: 'seller-1', name: 'Sugar bowl', price: '21.50', stock: 12 }),
  },
  {
    event: 'product:created',
    of: 'a draft',
    when: ({ app }) => app.post('/products', { sellerId: 'seller-1', name: 'Cruet', price: '19.00', stock: 2, status: 'draft' }),
    to: STORE,
    data: (_, { id }) => exactly({ productId: id, sellerId: 'seller-1', name: 'Cruet', price: '19.00', stock: 2 }),
  },
  {
    event: 'product:updated',
    of: 'an active product',
    when: ({ app }) => app.patch(`/products/${BOWL}`, { name: 'Serving bowl, moss' }),
    to: [...STORE, 'viewer', 'visitor'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', changes: { name: 'Serving bowl, moss' } }),
  },
  {
    event: 'product:updated',
    of: 'columns of which one is not for shoppers',
    when: ({ app }) => app.patch(`/products/${BOWL}`, { name: 'Serving bowl, celadon', depositAmount: '15.00' }),
    to: [...STORE, 'viewer', 'visitor'],
    data: () => {
      const bare = { productId: BOWL, sellerId: 'seller-1' }
      const all = exactly({ ...bare, changes: { name: 'Serving bowl, celadon', depositAmount: '15.00' } })
      const public_ = exactly({ ...bare, changes: { name: 'Serving bowl, celadon' } })
      return { seller: all, helper: all, viewer: public_, visitor: public_ }
    },
  },
  {
    event: 'product:updated',
    of: 'a draft',
    when: ({ app }) => app.patch(`/products/${DRAFT}`, { name: 'Butter dish (second try)' }),
    to: STORE,
    data: () => exactly({ productId: DRAFT, sellerId: 'seller-1', changes: { name: 'Butter dish (second try)' } }),
  },
  {
    event: 'product:updated',
    of: 'an update that changes nothing',
    when: ({ app }) => app.patch(`/products/${BOWL}`, { name: 'Serving bowl, celadon' }),
    to: [],
  },
  {
    event: 'product:price_changed',
    when: ({ app }) => app.patch(`/products/${BOWL}`, { price: '64.00' }),
    to: [...STORE, 'viewer', 'holder'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', oldPrice: '68.00', newPrice: '64.00' }),
  },
  {
    event: 'product:stock_changed',
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 14 }),
    to: [...STORE, 'viewer', 'holder'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', oldStock: 11, newStock: 14 }),
  },
  {
    event: 'product:stock_changed',
    of: 'a sale',
    when: ({ app }) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 3 }] }),
    to: [...STORE, 'viewer', 'holder'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', oldStock: 14, newStock: 11 }),
  },
  {
    event: 'product:low_stock',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 10 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 9 }),
    to: STORE,
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', name: 'Serving bowl, celadon', currentStock: 9, threshold: 10 }),
  },
  {
    event: 'product:low_stock',
    of: 'a stock that was low before',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 9 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 8 }),
    to: [],
  },
  {
    event: 'product:deleted',
    when: ({ app }) => app.delete(`/products/${TEAPOT}`),
    to: [...STORE, 'viewer', 'holder'],
    data: () => exactly({ productId: TEAPOT, sellerId: 'seller-1' }),
  },
]

const stock = [
  {
    event: 'stock:low',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 10 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 9 }),
    to: STORE,
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', productName: 'Serving bowl, celadon', currentStock: 9, threshold: 10 }),
  },
  {
    event: 'stock:low',
    of: 'a stock that was low before',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 9 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 5 }),
    to: [],
  },
  {
    event: 'stock:low',
    of: 'a stock that goes out at once',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 12 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 0 }),
    to: [],
  },
  {
    event: 'stock:out',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 2 }),
    when: ({ app }) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 2 }] }),
    to: [...STORE, 'viewer'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', productName: 'Serving bowl, celadon' }),
  },
  {
    event: 'stock:restocked',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 0 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 20 }),
    to: [...STORE, 'viewer'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', productName: 'Serving bowl, celadon', newStock: 20 }),
  },
  {
    event: 'stock:restocked',
    of: 'a stock that grows but was not out',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 3 }),
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 30 }),
    to: [],
  },
]

const invite = ({ app }) =>
  app.post('/invitations', { sellerId: 'seller-1', buyerEmail: 'buyer-1@example.com', buyerName: 'Ada', discountPercentage: 10 })
const placeWholesale = ({ app }) => app.post('/wholesale-orders', { ...TERMS, subtotalCents: 100_01, depositPercentage: 30 })
const wholesaleWithDeposit = async (on) => {
  const order = await placeWholesale(on)
  await on.app.post(`/wholesale-orders/${order.id}/pay-deposit`)
  return order
}
const sellWholesale = async ({ app }) => {
  await app.patch(`/products/${BOWL}`, { stock: 100, price: '68.00' })
  return app.post('/orders', {
    buyerId: 'buyer-1', orderType: 'wholesale', depositPercentage: 30, items: [{ productId: BOWL, quantity: 2 }],
  })
}
const soldWithDeposit = async (on) => {
  const order = await sellWholesale(on)
  await on.app.post(`/orders/${order.id}/pay`, { amount: '40.80' })
  return order
}
const parcel = { trackingNumber: 'TR-9', carrier: 'Postal service' }

const wholesale = [
  {
    event: 'wholesale:invitation_sent',
    when: invite,
    to: STORE,
    data: (_, { id }) => exactly({ invitationId: id, sellerId: 'seller-1', buyerEmail: 'buyer-1@example.com', buyerName: 'Ada' }),
  },
  {
    event: 'wholesale:invitation_accepted',
    given: invite,
    when: ({ app }, { id }) => app.post(`/invitations/${id}/accept`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ invitationId: id, ...TERMS, buyerEmail: 'buyer-1@example.com' }),
  },
  {
    event: 'wholesale:invitation_rejected',
    given: invite,
    when: ({ app }, { id }) => app.post(`/invitations/${id}/reject`),
    to: STORE,
    data: ({ id }) => exactly({ invitationId: id, sellerId: 'seller-1', buyerEmail: 'buyer-1@example.com' }),
  },
  {
    event: 'wholesale:order_placed',
    of: 'a row of wholesale_orders',
    when: placeWholesale,
    to: [...STORE, 'buyer'],
    data: (_, { id }) =>
      exactly({ orderId: id, ...TERMS, total: '100.01', depositAmount: '30.00', balanceAmount: '70.01', paymentTerms: 'Net 30' }),
  },
  {
    event: 'wholesale:order_placed',
    of: 'a row of orders',
    when: sellWholesale,
    to: [...STORE, 'buyer'],
    data: (_, { id }) => atLeast({ orderId: id, ...TERMS, total: '136.00', depositAmount: '40.80', balanceAmount: '95.20' }),
  },
  {
    event: 'wholesale:order_placed',
    of: 'a retail order',
    given: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 100 }),
    when: ({ app }) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 1 }] }),
    to: [],
  },
  {
    event: 'wholesale:order_updated',
    of: 'a row of wholesale_orders',
    given: placeWholesale,
    when: ({ app }, { id }) => app.post(`/wholesale-orders/${id}/pay-deposit`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, status: 'deposit_paid', oldStatus: 'pending' }),
  },
  {
    event: 'wholesale:order_updated',
    of: 'a row of orders',
    given: sellWholesale,
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`, { amount: '40.80' }),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, status: 'processing', oldStatus: 'pending' }),
  },
  {
    event: 'wholesale:deposit_paid',
    of: 'a row of wholesale_payments',
    given: placeWholesale,
    when: ({ app }, { id }) => app.post(`/wholesale-orders/${id}/pay-deposit`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, amount: '30.00' }),
  },
  {
    event: 'wholesale:deposit_paid',
    of: 'a row of orders',
    given: sellWholesale,
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`, { amount: '40.80' }),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, amount: '40.80' }),
  },
  {
    event: 'wholesale:balance_paid',
    of: 'a row of wholesale_payments',
    given: wholesaleWithDeposit,
    when: ({ app }, { id }) => app.post(`/wholesale-orders/${id}/pay-balance`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, amount: '70.01' }),
  },
  {
    event: 'wholesale:balance_paid',
    of: 'a row of orders',
    given: soldWithDeposit,
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => exactly({ orderId: id, ...TERMS, amount: '95.20' }),
  },
  {
    event: 'wholesale:order_shipped',
    of: 'a row of wholesale_orders',
    given: wholesaleWithDeposit,
    when: ({ app }, { id }) => app.post(`/wholesale-orders/${id}/ship`),
    to: ['buyer'],
    data: ({ id }) => exactly({ orderId: id, buyerId: 'buyer-1', trackingNumber: null, carrier: null }),
  },
  {
    event: 'wholesale:order_shipped',
    of: 'a row of orders',
    given: sellWholesale,
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: ['buyer'],
    data: ({ id }) => exactly({ orderId: id, buyerId: 'buyer-1', ...parcel }),
  },
]

const draft = ({ app }) =>
  app.post('/quotations', {
    sellerId: 'seller-1',
    buyerEmail: 'buyer-1@example.com',
    shippingAmount: '12.00',
    items: [{ description: 'Serving bowl', productId: BOWL, unitPrice: '60.00', quantity: 4 }],
  })
const step = (name, by, more = {}) => ({ app }, { id }) => app.post(`/quotations/${id}/${name}`, { by, ...more })
const sent = async (on) => {
  const quotation = await draft(on)
  await step('send', 'seller-1')(on, quotation)
  return quotation
}
/** For a buyer who is known to the quotation by e-mail alone. */
const byEmailAlone = (given) => async (on) => {
  const quotation = await given(on)
  await on.database.query('UPDATE trade_quotations SET buyer_id = NULL WHERE id = $1', [quotation.id])
  return quotation
}
const keys = (quotation) => ({ quotationId: quotation.id, sellerId: 'seller-1', quotationNumber: quotation.quotationNumber })

const quotations = [
  {
    event: 'quotation:created',
    when: draft,
    to: STORE,
    data: (_, quotation) => exactly({ ...keys(quotation), buyerEmail: 'buyer-1@example.com', total: '252.00' }),
  },
  {
    event: 'quotation:updated',
    of: 'a draft',
    given: draft,
    when: ({ app }, { id }) => app.patch(`/quotations/${id}`, { shippingAmount: '20.00' }),
    to: STORE,
    data: (quotation) => exactly({ ...keys(quotation), changes: { pricing: { shippingAmount: '20.00', total: '260.00' } } }),
  },
  {
    event: 'quotation:updated',
    of: 'one that was sent',
    given: sent,
    when: ({ app }, { id }) => app.patch(`/quotations/${id}`, { shippingAmount: '20.00' }),
    to: [...STORE, 'buyer'],
    data: (quotation) => exactly({ ...keys(quotation), changes: { pricing: { shippingAmount: '20.00', total: '260.00' } } }),
  },
  {
    event: 'quotation:updated',
    of: 'a step in which the status alone changes',
    given: draft,
    when: step('send', 'seller-1'),
    to: [],
  },
  {
    event: 'quotation:sent',
    given: draft,
    when: step('send', 'seller-1'),
    to: ['buyer'],
    data: (quotation) => exactly({ ...keys(quotation), buyerId: 'buyer-1', buyerEmail: 'buyer-1@example.com' }),
  },
  {
    event: 'quotation:sent',
    of: 'one that has only an e-mail address',
    given: byEmailAlone(draft),
    when: step('send', 'seller-1'),
    to: ['buyer'],
    data: (quotation) => atLeast({ ...keys(quotation), buyerEmail: 'buyer-1@example.com' }),
  },
  {
    event: 'quotation:viewed',
    given: sent,
    when: step('view', 'buyer-1'),
    to: STORE,
    data: (quotation) => exactly({ ...keys(quotation), viewedBy: 'buyer-1' }),
  },
  {
    event: 'quotation:accepted',
    given: sent,
    when: step('accept', 'buyer-1'),
    to: STORE,
    data: (quotation) => exactly({ ...keys(quotation), buyerId: 'buyer-1', total: '252.00' }),
  },
  {
    event: 'quotation:rejected',
    given: sent,
    when: step('reject', 'buyer-1', { reason: 'too dear' }),
    to: STORE,
    data: (quotation) => exactly({ ...keys(quotation), buyerId: 'buyer-1', reason: 'too dear' }),
  },
  {
    event: 'quotation:rejected',
    of: 'one that is cancelled after it was sent',
    given: sent,
    when: step('cancel', 'seller-1'),
    to: STORE,
    data: (quotation) => atLeast({ ...keys(quotation), buyerId: 'buyer-1' }),
  },
  {
    event: 'quotation:rejected',
    of: 'a draft that is cancelled',
    given: draft,
    when: step('cancel', 'seller-1'),
    to: [],
  },
  {
    event: 'quotation:expired',
    given: sent,
    when: step('expire', 'seller-1'),
    to: [...STORE, 'buyer'],
    data: (quotation) => exactly({ ...keys(quotation), buyerId: 'buyer-1' }),
  },
]

const sell = async ({ app }) => {
  await app.patch(`/products/${BOWL}`, { stock: 100, price: '68.00' })
  return app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 1 }] })
}
const paid = async (on) => {
  const order = await sell(on)
  await on.app.post(`/orders/${order.id}/pay`)
  return order
}
const figures = { ...TERMS, total: '68.00' }

const orders = [
  {
    event: 'order:updated',
    of: 'a sale',
    when: sell,
    to: [...STORE, 'buyer'],
    data: (_, { id }) =>
      exactly({ orderId: id, ...figures, action: 'created', status: 'pending', paymentStatus: 'pending', fulfillmentStatus: 'unfulfilled' }),
  },
  {
    event: 'order:updated',
    of: 'shipping',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: [...STORE, 'buyer'],
    data: ({ id }) =>
      atLeast({ orderId: id, ...figures, action: 'fulfillment', status: 'shipped', paymentStatus: 'fully_paid', fulfillmentStatus: 'fulfilled' }),
  },
  {
    event: 'order:updated',
    of: 'delivery',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/deliver`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'fulfillment', status: 'delivered' }),
  },
  {
    event: 'order:updated',
    of: 'a refund',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`),
    to: [...STORE, 'buyer'],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'refund', paymentStatus: 'refunded' }),
  },
  {
    event: 'order:updated',
    of: 'a refund of a part',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`, { partial: true }),
    to: [...STORE, 'buyer'],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'refund', paymentStatus: 'partially_refunded' }),
  },
]

describe("the application's actions", () => {
  const frontends = {}
  let end
  let on // what a row's steps get
  const everyone = () => Object.values(frontends)

  before(async () => {
    let app, database, connect
    ;({ app, database, connect, end } = await stage())
    for (const productId of [BOWL, TEAPOT]) await app.put('/carts/items', { buyerId: cast.holder, productId, quantity: 1 })
    for (const [role, userId] of Object.entries(cast)) frontends[role] = await connect(userId)
    for (const productId of [BOWL, TEAPOT, DRAFT]) await frontends.viewer.joins('join:product', { productId })
    await frontends.visitor.joins('join:storefront', { sellerId: cast.seller })
    await Promise.all(everyone().map(watchMarker))
    const settled = () => settle(database, everyone())
    on = { app, database, frontends, settled }
  })
  after(() => end?.())

  for (const [module, rows] of Object.entries({ products, stock, wholesale, quotations, orders })) {
    describe(`of the module ${module}`, () => {
      for (const row of rows) {
        const name = row.of ? `${row.event} (${row.of})` : row.event
        it(row.to.length > 0 ? `${name} is heard by ${row.to.join(', ')}` : `${name} is heard by nobody`, () => check(row))
      }
    })
  }

  async function check({ event: type, given = async () => undefined, when, to, data }) {
    const arranged = await given(on)
    await on.settled()
    const from = new Map(everyone().map((frontend) => [frontend, frontend.heard.length]))

    const result = await when(on, arranged)
    await on.settled()

    const heard = {}
    for (const [role, frontend] of Object.entries(frontends)) {
      const events = heardSince(frontend, from.get(frontend)).filter((one) => one.type === type)
      if (events.length > 0) heard[role] = events.map(({ event }) => event)
    }
    assert.deepEqual(Object.keys(heard).sort(), [...to].sort(), `who heard ${type}: ${JSON.stringify(heard, null, 1)}`)
    const expected = data?.(arranged, result)
    for (const [role, events] of Object.entries(heard)) {
      assert.equal(events.length, 1, `${role} heard ${type} once: ${JSON.stringify(events, null, 1)}`)
      const [event] = events
      assert.equal(event.type, type)
      const holds = typeof expected === 'function' ? expected : expected[role]
      holds(event.data)
    }
    const ids = new Set(Object.values(heard).map(([event]) => event.metadata.id))
    assert.ok(ids.size <= 1, `one event, one id: ${[...ids]}`)
  }
})
