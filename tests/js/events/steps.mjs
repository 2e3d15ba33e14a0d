// What the application does in several rows. Each gives what the application answered.

import { BOWL, TERMS } from './cast.mjs'

export const invite = ({ app }) =>
  app.post('/invitations', { sellerId: 'seller-1', buyerEmail: 'buyer-1@example.com', buyerName: 'Ada', discountPercentage: 10 })

export const placeWholesale = ({ app }) => app.post('/wholesale-orders', { ...TERMS, subtotalCents: 100_01, depositPercentage: 30 })

export const wholesaleWithDeposit = async (on) => {
  const order = await placeWholesale(on)
  await on.app.post(`/wholesale-orders/${order.id}/pay-deposit`)
  return order
}

export const sellWholesale = async ({ app }) => {
  await app.patch(`/products/${BOWL}`, { stock: 100, price: '68.00' })
  return app.post('/orders', {
    buyerId: 'buyer-1', orderType: 'wholesale', depositPercentage: 30, items: [{ productId: BOWL, quantity: 2 }],
  })
}

export const soldWithDeposit = async (on) => {
  const order = await sellWholesale(on)
  await on.app.post(`/orders/${order.id}/pay`, { amount: '40.80' })
  return order
}

export const parcel = { trackingNumber: 'TR-9', carrier: 'Postal service' }

export const draft = ({ app }) =>
  app.post('/quotations', {
    sellerId: 'seller-1',
    buyerEmail: 'buyer-1@example.com',
    shippingAmount: '12.00',
    items: [{ description: 'Serving bowl', productId: BOWL, unitPrice: '60.00', quantity: 4 }],
  })

export const step = (name, by, more = {}) => ({ app }, { id }) => app.post(`/quotations/${id}/${name}`, { by, ...more })

export const sent = async (on) => {
  const quotation = await draft(on)
  await step('send', 'seller-1')(on, quotation)
  return quotation
}

/** For a buyer who is known to the quotation by e-mail alone. */
export const byEmailAlone = (given) => async (on) => {
  const quotation = await given(on)
  await on.database.query('UPDATE trade_quotations SET buyer_id = NULL WHERE id = $1', [quotation.id])
  return quotation
}

export const keys = (quotation) => ({ quotationId: quotation.id, sellerId: 'seller-1', quotationNumber: quotation.quotationNumber })

export const sell = async ({ app }) => {
  await app.patch(`/products/${BOWL}`, { stock: 100, price: '68.00' })
  return app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 1 }] })
}

export const paid = async (on) => {
  const order = await sell(on)
  await on.app.post(`/orders/${order.id}/pay`)
  return order
}

export const figures = { ...TERMS, total: '68.00' }

export const addToCart = ({ app }, productId, quantity) => app.put('/carts/items', { buyerId: 'buyer-1', productId, quantity })

/** The same, and nothing in anybody's inbox or on its way there. */
export const quietly = (given) => async (on) => {
  const arranged = await given(on)
  await on.settled()
  await on.database.query('DELETE FROM rowcast.notification')
  return arranged
}
