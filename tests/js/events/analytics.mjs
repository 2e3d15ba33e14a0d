import assert from 'node:assert/strict'
import { until } from '../harness/timeout.mjs'
import { BOWL, STORE, TOWEL } from './cast.mjs'
import { exactly } from './expect.mjs'
import { paid, parcel, sell } from './steps.mjs'

const sale = ({ id }) => exactly({ sellerId: 'seller-1', orderId: id, amount: '68.00', productId: BOWL })
const alert = (currentStock, alertType) => async ({ database }) => {
  const [{ name }] = await database.query('SELECT name FROM products WHERE id = $1', [BOWL])
  return exactly({ sellerId: 'seller-1', productId: BOWL, productName: name, currentStock, alertType })
}

const stocked = (stock) => ({ app }) => app.patch(`/products/${BOWL}`, { stock })

/** Towels of the rival's, who has sold nothing else. */
const sellTowels = (quantity) => async ({ app, database }) => {
  await database.query("DELETE FROM orders WHERE seller_id = 'seller-2'")
  await app.patch(`/products/${TOWEL}`, { stock: 100, price: '38.05' })
  return app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: TOWEL, quantity }] })
}

/** As anybody would ask for it. */
const revenueOfToday = `
  SELECT sum(amount_paid)::text AS total FROM orders
  WHERE seller_id = 'seller-2' AND left(created_at, 10) = to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')`

const figures = `
  SELECT count(*)::int AS "totalOrders", coalesce(sum(amount_paid), 0.00)::text AS "totalRevenue",
    (SELECT count(*)::int FROM products WHERE seller_id = 'seller-2') AS "totalProducts",
    round(coalesce(avg(total), 0), 2)::text AS "averageOrderValue"
  FROM orders WHERE seller_id = 'seller-2'`

const figuresAreTold = async ({ database }) => {
  const [metrics] = await database.query(figures)
  const [told] = await database.query("SELECT row FROM rowcast.told WHERE schedule = 'store_metrics' AND key = 'seller-2'")
  return told?.row.total_orders === metrics.totalOrders && told.row.total_revenue === metrics.totalRevenue
}

export const analytics = [
  {
    event: 'analytics:sale_completed',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/deliver`),
    to: STORE,
    data: sale,
  },
  {
    event: 'analytics:sale_completed',
    of: 'fulfilment',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: STORE,
    data: sale,
  },
  {
    event: 'analytics:sale_completed',
    of: 'an order that was fulfilled before',
    given: async (on) => {
      const order = await paid(on)
      await on.app.post(`/orders/${order.id}/ship`, parcel)
      return order
    },
    when: ({ app }, { id }) => app.post(`/orders/${id}/deliver`),
    to: [],
  },
  {
    event: 'analytics:revenue_updated',
    of: 'a first part',
    given: sellTowels(2),
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`, { amount: '20.15' }),
    to: ['rival'],
    data: async (_, __, { database }) => {
      const [{ total }] = await database.query(revenueOfToday)
      return exactly({ sellerId: 'seller-2', newRevenue: '20.15', totalRevenue: total, period: 'today' })
    },
  },
  {
    event: 'analytics:revenue_updated',
    of: 'the rest',
    given: async (on) => {
      const order = await sellTowels(2)(on)
      await on.app.post(`/orders/${order.id}/pay`, { amount: '20.15' })
      return order
    },
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`),
    to: ['rival'],
    data: async (_, __, { database }) => {
      const [{ total }] = await database.query(revenueOfToday)
      assert.equal(total, '76.10')
      return exactly({ sellerId: 'seller-2', newRevenue: '55.95', totalRevenue: total, period: 'today' })
    },
  },
  {
    event: 'analytics:revenue_updated',
    of: 'a refund',
    given: paid,
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`),
    to: [],
  },
  { event: 'analytics:revenue_updated', of: 'an order that nobody has paid', when: sell, to: [] },
  {
    event: 'analytics:inventory_alert',
    of: 'low stock',
    given: stocked(10),
    when: stocked(9),
    to: STORE,
    data: (_, __, on) => alert(9, 'low')(on),
  },
  {
    event: 'analytics:inventory_alert',
    of: 'no stock',
    given: stocked(2),
    when: ({ app }) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: BOWL, quantity: 2 }] }),
    to: STORE,
    data: (_, __, on) => alert(0, 'out')(on),
  },
  { event: 'analytics:inventory_alert', of: 'a stock that was low before', given: stocked(9), when: stocked(8), to: [] },
  {
    event: 'analytics:metrics_updated',
    given: async (on) => {
      await sellTowels(1)(on)
      await until(() => figuresAreTold(on), () => "the rival's figures to be told")
    },
    when: ({ app }) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId: TOWEL, quantity: 2 }] }),
    to: ['rival'],
    awaited: true,
    data: async (_, __, { database }) => {
      const [metrics] = await database.query(figures)
      return exactly({ sellerId: 'seller-2', metrics })
    },
  },
  {
    event: 'analytics:product_viewed',
    when: ({ frontends }) => frontends.guest.joins('join:product', { productId: 'product-8' }),
    to: ['rival'],
    awaited: true,
    data: () => exactly({ sellerId: 'seller-2', productId: 'product-8', viewCount: 1, viewersNow: 1 }),
  },
]
