import { z } from 'zod'
import { Prisma } from '../generated/prisma/client.ts'
import { found, money, param, quantity, Refusal, type Request, type Route } from './route.ts'

const sale = z.object({
  buyerId: z.string(),
  address: z.string().optional(),
  orderType: z.enum(['retail', 'wholesale']).default('retail'),
  depositPercentage: z.number().int().min(0).max(100).default(0),
  items: z.array(z.object({ productId: z.string(), quantity })).min(1),
})

const payment = z.object({ amount: money.optional() })

const parcel = z.object({ trackingNumber: z.string().min(1), carrier: z.string().min(1) })

const refund = z.object({ partial: z.boolean().default(false) })

export const orders: Route[] = [
  {
    method: 'GET',
    path: '/api/orders',
    handle({ db, query }) {
      const buyer = query.get('buyer')
      const where = buyer === null ? { sellerId: query.get('seller') ?? '' } : { userId: buyer }
      return db.order.findMany({ where, include: { lines: true }, orderBy: { createdAt: 'desc' } })
    },
  },
  { method: 'POST', path: '/api/orders', handle: sell },
  { method: 'POST', path: '/api/orders/:id/pay', handle: pay },
  { method: 'POST', path: '/api/orders/:id/ship', handle: ship },
  { method: 'POST', path: '/api/orders/:id/deliver', handle: deliver },
  { method: 'POST', path: '/api/orders/:id/refund', handle: giveBack },
]

/** Takes the goods off the shelf and writes the order, or neither. */
function sell({ db, body }: Request) {
  const { buyerId, address, orderType, depositPercentage, items } = sale.parse(body)
  return db.$transaction(async (tx) => {
    const buyer = found(await tx.user.findUnique({ where: { id: buyerId } }), `user ${buyerId}`)
    const lines = []
    let sellerId: string | undefined
    for (const item of items) {
      const product = found(await tx.product.findUnique({ where: { id: item.productId } }), `product ${item.productId}`)
      if (product.status !== 'active') throw new Refusal(409, `${product.name} is not for sale`)
      if (sellerId !== undefined && sellerId !== product.sellerId) {
        throw new Refusal(400, 'an order has goods of one seller; place one order for each seller')
      }
      sellerId = product.sellerId
      const taken = await tx.product.updateMany({
        where: { id: product.id, stock: { gte: item.quantity } },
        data: { stock: { decrement: item.quantity } },
      })
      if (taken.count === 0) throw new Refusal(409, `only ${product.stock ?? 0} left of ${product.name}`)
      lines.push({
        productId: product.id,
        productName: product.name,
        quantity: item.quantity,
        price: product.price,
        subtotal: product.price.mul(item.quantity),
      })
    }
    const total = lines.reduce((sum, line) => sum.add(line.subtotal), new Prisma.Decimal(0))
    const deposit = total.mul(depositPercentage).div(100).toDecimalPlaces(2)
    const terms = depositPercentage > 0 ? {
      paymentType: 'deposit',
      depositAmountCents: deposit.mul(100).toNumber(),
      balanceDueCents: total.sub(deposit).mul(100).toNumber(),
    } : {}
    return tx.order.create({
      data: {
        userId: buyerId,
        sellerId,
        orderType,
        customerName: buyer.username ?? buyer.email,
        customerEmail: buyer.email,
        customerAddress: address,
        items: JSON.stringify(items),
        total,
        remainingBalance: total,
        ...terms,
        createdAt: new Date().toISOString(),
        lines: { create: lines },
      },
      include: { lines: true },
    })
  })
}

/** Without an amount, whatever is still owed. */
function pay(request: Request) {
  const { amount } = payment.parse(request.body)
  const id = param(request, 'id')
  return request.db.$transaction(async (tx) => {
    const order = found(await tx.order.findUnique({ where: { id } }), `order ${id}`)
    const owed = order.total.sub(order.amountPaid ?? 0)
    const paying = new Prisma.Decimal(amount ?? owed)
    if (paying.lte(0) || paying.gt(owed)) throw new Refusal(409, `${owed.toFixed(2)} is owed on order ${id}`)
    const remainingBalance = owed.sub(paying)
    const settled = remainingBalance.isZero()
    return tx.order.update({
      where: { id },
      data: {
        amountPaid: { increment: paying },
        remainingBalance,
        paymentStatus: settled ? 'fully_paid' : 'deposit_paid',
        ...(settled && order.paymentStatus === 'deposit_paid' ? { balancePaidAt: new Date() } : {}),
        ...(order.status === 'pending' ? { status: 'processing' } : {}),
      },
    })
  })
}

function ship(request: Request) {
  const { trackingNumber, carrier } = parcel.parse(request.body)
  return request.db.order.update({
    where: { id: param(request, 'id') },
    data: { status: 'shipped', fulfillmentStatus: 'fulfilled', trackingNumber, shippingCarrier: carrier },
  })
}

function deliver(request: Request) {
  return request.db.order.update({ where: { id: param(request, 'id') }, data: { status: 'delivered' } })
}

function giveBack(request: Request) {
  const { partial } = refund.parse(request.body)
  return request.db.order.update({
    where: { id: param(request, 'id') },
    data: { paymentStatus: partial ? 'partially_refunded' : 'refunded' },
  })
}
