import { z } from 'zod'
import { Prisma, type TradeQuotationStatus } from '../generated/prisma/client.ts'
import type { Db } from './db.ts'
import { found, money, param, quantity, Refusal, type Request, type Route } from './route.ts'

const item = z.object({
  description: z.string().min(1),
  productId: z.string().optional(),
  unitPrice: money,
  quantity,
})

const newQuotation = z.object({
  sellerId: z.string(),
  buyerEmail: z.email(),
  items: z.array(item).min(1),
  shippingAmount: money.default('0'),
  validUntil: z.coerce.date().optional(),
})

const revision = z.object({
  items: z.array(item).min(1).optional(),
  shippingAmount: money.optional(),
  validUntil: z.coerce.date().optional(),
})

const act = z.object({ by: z.string(), reason: z.string().optional() })

const steps = {
  send: { from: ['draft'], to: 'sent' },
  view: { from: ['sent'], to: 'viewed' },
  accept: { from: ['sent', 'viewed'], to: 'accepted' },
  reject: { from: ['sent', 'viewed'], to: 'rejected' },
  cancel: { from: ['draft', 'sent', 'viewed'], to: 'cancelled' },
  expire: { from: ['sent', 'viewed'], to: 'expired' },
} satisfies Record<string, { from: TradeQuotationStatus[]; to: TradeQuotationStatus }>

type Step = keyof typeof steps

export const quotations: Route[] = [
  { method: 'GET', path: '/api/quotations', handle: list },
  { method: 'POST', path: '/api/quotations', handle: create },
  { method: 'PATCH', path: '/api/quotations/:id', handle: revise },
  ...(Object.keys(steps) as Step[]).map((step): Route => ({
    method: 'POST',
    path: `/api/quotations/:id/${step}`,
    handle: (request) => take(step, request),
  })),
]

/** A buyer sees what was sent to the account or to its e-mail address, and no drafts. */
async function list({ db, query }: Request) {
  const buyerId = query.get('buyer')
  const include = { items: { orderBy: { lineNumber: 'asc' as const } } }
  const orderBy = { createdAt: 'desc' as const }
  if (buyerId === null) {
    return db.tradeQuotation.findMany({ where: { sellerId: query.get('seller') ?? '' }, include, orderBy })
  }
  const buyer = found(await db.user.findUnique({ where: { id: buyerId } }), `user ${buyerId}`)
  return db.tradeQuotation.findMany({
    where: { OR: [{ buyerId }, { buyerEmail: buyer.email }], status: { not: 'draft' } },
    include,
    orderBy,
  })
}

async function create({ db, body }: Request) {
  const { sellerId, buyerEmail, items, shippingAmount, validUntil } = newQuotation.parse(body)
  const buyer = await db.user.findUnique({ where: { email: buyerEmail } })
  const { lines, subtotal } = reckon(items)
  return db.tradeQuotation.create({
    data: {
      sellerId,
      buyerEmail,
      buyerId: buyer?.id,
      quotationNumber: `Q-${Date.now().toString(36).toUpperCase()}-${Math.floor(Math.random() * 1e6)}`,
      subtotal,
      shippingAmount,
      total: subtotal.add(shippingAmount),
      validUntil,
      items: { create: lines },
      events: { create: { eventType: 'created', performedBy: sellerId } },
    },
    include: { items: true },
  })
}

function revise(request: Request) {
  const { items, shippingAmount, validUntil } = revision.parse(request.body)
  const id = param(request, 'id')
  return request.db.$transaction(async (tx) => {
    const quotation = found(await tx.tradeQuotation.findUnique({ where: { id } }), `quotation ${id}`)
    const reckoned = items && reckon(items)
    const subtotal = reckoned?.subtotal ?? quotation.subtotal
    const shipping = shippingAmount ?? quotation.shippingAmount
    return tx.tradeQuotation.update({
      where: { id },
      data: {
        subtotal,
        shippingAmount: shipping,
        total: subtotal.add(shipping).add(quotation.taxAmount),
        validUntil,
        ...(reckoned ? { items: { deleteMany: {}, create: reckoned.lines } } : {}),
        events: { create: { eventType: 'updated', performedBy: quotation.sellerId } },
      },
      include: { items: true },
    })
  })
}

function reckon(items: z.infer<typeof item>[]) {
  const lines = items.map((line, index) => ({
    lineNumber: index + 1,
    description: line.description,
    productId: line.productId,
    unitPrice: line.unitPrice,
    quantity: line.quantity,
    lineTotal: new Prisma.Decimal(line.unitPrice).mul(line.quantity),
  }))
  return { lines, subtotal: lines.reduce((sum, line) => sum.add(line.lineTotal), new Prisma.Decimal(0)) }
}

function take(step: Step, request: Request) {
  const { by, reason } = act.parse(request.body)
  return move(request.db, param(request, 'id'), step, by, reason)
}

/** The condition on the present status is part of the UPDATE, so that two clicks do not both succeed. */
function move(db: Db, id: string, step: Step, by: string, reason: string | undefined) {
  const { from, to } = steps[step]
  return db.$transaction(async (tx) => {
    const before = found(await tx.tradeQuotation.findUnique({ where: { id } }), `quotation ${id}`)
    const moved = await tx.tradeQuotation.updateMany({
      where: { id, status: { in: from } },
      data: {
        status: to,
        ...(reason === undefined ? {} : { metadata: { ...Object(before.metadata), reason } }),
      },
    })
    if (moved.count === 0) {
      throw new Refusal(409, `quotation ${before.quotationNumber} is ${before.status}; to ${step} it, it must be ${from.join(' or ')}`)
    }
    await tx.tradeQuotationEvent.create({ data: { quotationId: id, eventType: to, performedBy: by, payload: { reason } } })
    return tx.tradeQuotation.findUniqueOrThrow({ where: { id } })
  })
}
