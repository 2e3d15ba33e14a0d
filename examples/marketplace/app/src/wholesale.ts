import { z } from 'zod'
import type { WholesaleOrderStatus, WholesalePaymentType } from '../generated/prisma/client.ts'
import { found, param, Refusal, type Request, type Route } from './route.ts'

const INVITATION_DAYS = 30
const DAY_MS = 24 * 60 * 60 * 1000

const newInvitation = z.object({
  sellerId: z.string(),
  buyerEmail: z.email(),
  buyerName: z.string().optional(),
  discountPercentage: z.number().min(0).max(100).default(0),
})

const newOrder = z.object({
  sellerId: z.string(),
  buyerId: z.string(),
  subtotalCents: z.number().int().positive(),
  depositPercentage: z.number().int().min(0).max(100).default(30),
  paymentTerms: z.string().optional(),
})

export const wholesale: Route[] = [
  {
    method: 'GET',
    path: '/api/invitations',
    async handle({ db, query }) {
      const buyerId = query.get('buyer')
      const orderBy = { createdAt: 'desc' as const }
      if (buyerId === null) {
        return db.wholesaleInvitation.findMany({ where: { sellerId: query.get('seller') ?? '' }, orderBy })
      }
      const buyer = found(await db.user.findUnique({ where: { id: buyerId } }), `user ${buyerId}`)
      return db.wholesaleInvitation.findMany({ where: { buyerEmail: buyer.email }, orderBy })
    },
  },
  { method: 'POST', path: '/api/invitations', handle: invite },
  { method: 'POST', path: '/api/invitations/:id/accept', handle: (request) => answer('accepted', request) },
  { method: 'POST', path: '/api/invitations/:id/reject', handle: (request) => answer('rejected', request) },
  {
    method: 'GET',
    path: '/api/wholesale-orders',
    handle({ db, query }) {
      const buyerId = query.get('buyer')
      const where = buyerId === null ? { sellerId: query.get('seller') ?? '' } : { buyerId }
      return db.wholesaleOrder.findMany({ where, include: { payments: true }, orderBy: { createdAt: 'desc' } })
    },
  },
  { method: 'POST', path: '/api/wholesale-orders', handle: place },
  {
    method: 'POST',
    path: '/api/wholesale-orders/:id/pay-deposit',
    handle: (request) => pay('deposit', 'deposit_paid', request),
  },
  {
    method: 'POST',
    path: '/api/wholesale-orders/:id/pay-balance',
    handle: (request) => pay('balance', 'ready_to_release', request),
  },
  { method: 'POST', path: '/api/wholesale-orders/:id/ship', handle: ship },
]

function invite({ db, body }: Request) {
  const { sellerId, buyerEmail, buyerName, discountPercentage } = newInvitation.parse(body)
  return db.wholesaleInvitation.create({
    data: {
      sellerId,
      buyerEmail,
      buyerName,
      wholesaleTerms: { discountPercentage },
      expiresAt: new Date(Date.now() + INVITATION_DAYS * DAY_MS),
    },
  })
}

async function answer(status: 'accepted' | 'rejected', request: Request) {
  const id = param(request, 'id')
  const answered = await request.db.wholesaleInvitation.updateManyAndReturn({
    where: { id, status: 'pending' },
    data: { status, ...(status === 'accepted' ? { acceptedAt: new Date() } : {}) },
  })
  if (answered[0] === undefined) throw new Refusal(409, `invitation ${id} is not pending`)
  return answered[0]
}

/** A wholesale order comes with its two payments: the deposit, asked for at once, and the balance. */
async function place({ db, body }: Request) {
  const { sellerId, buyerId, subtotalCents, depositPercentage, paymentTerms } = newOrder.parse(body)
  const buyer = found(await db.user.findUnique({ where: { id: buyerId } }), `user ${buyerId}`)
  const deposit = Math.round((subtotalCents * depositPercentage) / 100)
  return db.wholesaleOrder.create({
    data: {
      orderNumber: `W-${Date.now().toString(36).toUpperCase()}-${Math.floor(Math.random() * 1e6)}`,
      sellerId,
      buyerId,
      buyerEmail: buyer.email,
      subtotalCents,
      totalCents: subtotalCents,
      depositAmountCents: deposit,
      balanceAmountCents: subtotalCents - deposit,
      paymentTerms,
      payments: {
        create: [
          { paymentType: 'deposit', status: 'requested', amountCents: deposit },
          { paymentType: 'balance', amountCents: subtotalCents - deposit },
        ],
      },
    },
    include: { payments: true },
  })
}

function pay(paymentType: WholesalePaymentType, status: WholesaleOrderStatus, request: Request) {
  const wholesaleOrderId = param(request, 'id')
  return request.db.$transaction(async (tx) => {
    const paid = await tx.wholesalePayment.updateMany({
      where: { wholesaleOrderId, paymentType, status: { in: ['pending', 'requested', 'overdue'] } },
      data: { status: 'paid', paidAt: new Date() },
    })
    if (paid.count === 0) throw new Refusal(409, `wholesale order ${wholesaleOrderId} has no ${paymentType} to pay`)
    return tx.wholesaleOrder.update({ where: { id: wholesaleOrderId }, data: { status } })
  })
}

function ship(request: Request) {
  return request.db.wholesaleOrder.update({ where: { id: param(request, 'id') }, data: { status: 'fulfilled' } })
}
