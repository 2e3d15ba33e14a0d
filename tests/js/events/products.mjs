import { BOWL, DRAFT, STORE, TEAPOT } from './cast.mjs'
import { exactly } from './expect.mjs'

export const products = [
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
