import { until } from '../harness/timeout.mjs'
import { BOWL, STORE, cast } from './cast.mjs'
import { exactly } from './expect.mjs'

export const stock = [
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
    of: 'a product that somebody looked at while it was out, who has left',
    given: async ({ app, frontends, database }) => {
      await app.patch(`/products/${BOWL}`, { stock: 0 })
      await frontends.stranger.joins('join:product', { productId: BOWL })
      await frontends.stranger.joins('leave:product', { productId: BOWL })
      const waiting = 'SELECT 1 FROM rowcast.waiting WHERE id = $1 AND user_id = $2 AND told_at IS NULL'
      await until(
        async () => (await database.query(waiting, [BOWL, cast.stranger])).length === 1,
        () => 'the stranger to be written down as waiting',
      )
    },
    when: ({ app }) => app.patch(`/products/${BOWL}`, { stock: 20 }),
    to: [...STORE, 'viewer', 'stranger'],
    data: () => exactly({ productId: BOWL, sellerId: 'seller-1', productName: 'Serving bowl, celadon', newStock: 20 }),
  },
  {
    event: 'stock:restocked',
    of: 'a product that nobody has looked at since',
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
