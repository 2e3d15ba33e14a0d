import { BUYER, STORE } from './cast.mjs'
import { atLeast, exactly } from './expect.mjs'
import { figures, paid, parcel, sell } from './steps.mjs'

export const orders = [
  {
    event: 'order:updated',
    of: 'a sale',
    when: sell,
    to: [...STORE, ...BUYER],
    data: (_, { id }) =>
      exactly({ orderId: id, ...figures, action: 'created', status: 'pending', paymentStatus: 'pending', fulfillmentStatus: 'unfulfilled' }),
  },
  {
    event: 'order:updated',
    of: 'shipping',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: [...STORE, ...BUYER],
    data: ({ id }) =>
      atLeast({ orderId: id, ...figures, action: 'fulfillment', status: 'shipped', paymentStatus: 'fully_paid', fulfillmentStatus: 'fulfilled' }),
  },
  {
    event: 'order:updated',
    of: 'delivery',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/deliver`),
    to: [...STORE, ...BUYER],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'fulfillment', status: 'delivered' }),
  },
  {
    event: 'order:updated',
    of: 'a refund',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`),
    to: [...STORE, ...BUYER],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'refund', paymentStatus: 'refunded' }),
  },
  {
    event: 'order:updated',
    of: 'a refund of a part',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`, { partial: true }),
    to: [...STORE, ...BUYER],
    data: ({ id }) => atLeast({ orderId: id, ...figures, action: 'refund', paymentStatus: 'partially_refunded' }),
  },
]
