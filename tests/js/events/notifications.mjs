import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { rowcastBinary } from '../harness/paths.mjs'
import { until } from '../harness/timeout.mjs'
import { BUYER, STORE, TERMS, cast } from './cast.mjs'
import { atLeast, each, exactly } from './expect.mjs'
import { draft, invite, paid, parcel, placeWholesale, quietly, sell, sellWholesale, sent, step } from './steps.mjs'

const nothing = async () => undefined

/**
 * What the seller reads and what the buyer reads, each with the number of what they have not read. Who helps in the store
 * hears of it too, without that number.
 */
const words = (kind, id, { seller, buyer, unread }) => {
  const says = ([title, body], number = unread) => atLeast({ title, body, subject: { type: kind, id }, unread: number })
  const helper = ([title, body]) => exactly({ title, body, subject: { type: kind, id } })
  return {
    ...(seller && { seller: says(seller), helper: ({ notificationId, ...data }) => helper(seller)(data) }),
    ...(buyer && each(BUYER, says(buyer))),
  }
}

const SELLERS = [...STORE, 'rival']
const BUYERS = [...BUYER, 'stranger', 'holder', 'visitor', 'viewer']

const announce = (to) => async ({ database }) => {
  const words = ['--title', 'Closed on Monday', '--body', 'Orders are sent on Tuesday.', '--subject', 'page:closed']
  const env = { ...process.env, DATABASE_URL: database.url }
  await promisify(execFile)(rowcastBinary(), ['announce', '--to', to, ...words], { env })
  await everybodyIsTold(database)
}

const everybodyIsTold = (database) =>
  until(
    async () => {
      const untold = 'SELECT 1 FROM rowcast.notification WHERE audience IS NOT NULL AND told_at IS NULL'
      return (await database.query(untold)).length === 0
    },
    () => 'the announcement to be in every inbox',
  )

const closed = () =>
  atLeast({ title: 'Closed on Monday', body: 'Orders are sent on Tuesday.', subject: { type: 'page', id: 'closed' }, unread: 1 })

/** Two notifications for the buyer. */
const unread = quietly(nothing)
const two = async (on) => {
  await unread(on)
  for (const id of ['one', 'two']) {
    await on.database.query('INSERT INTO rowcast.notification (id, user_id, title) VALUES ($1, $2, $1)', [id, cast.buyer])
  }
}

/** What somebody who is not meant to asks for is refused. */
const isRefused = (role, message) => async ({ frontends }) => {
  const answer = await frontends[role].ask(message, { notificationId: 'one' })
  assert.equal(answer.success, false, JSON.stringify(answer))
}

export const notifications = [
  {
    event: 'notification:order',
    given: quietly(nothing),
    when: sell,
    to: [...STORE, ...BUYER],
    data: (_, { id }) =>
      words('order', id, {
        seller: ['New order', 'You have a new order of 68.00 USD from Ada.'],
        buyer: ['Order placed', 'Your order of 68.00 USD has been placed.'],
        unread: 1,
      }),
  },
  {
    event: 'notification:order',
    of: 'a refund',
    given: quietly(paid),
    when: ({ app }, { id }) => app.post(`/orders/${id}/refund`),
    to: [...STORE, ...BUYER],
    data: ({ id }) =>
      words('order', id, {
        seller: ['Order refunded', 'An order of 68.00 USD has been refunded.'],
        buyer: ['Order refunded', 'Your order of 68.00 USD has been refunded.'],
        unread: 2, // The other is of the kind payment.
      }),
  },
  {
    event: 'notification:payment',
    given: quietly(sell),
    when: ({ app }, { id }) => app.post(`/orders/${id}/pay`),
    to: [...STORE, ...BUYER],
    data: ({ id }) =>
      words('order', id, {
        seller: ['Payment received', 'A payment of 68.00 USD has been received.'],
        buyer: ['Payment received', 'Your payment of 68.00 USD has been received. Thank you!'],
        unread: 2, // The order's status changes too.
      }),
  },
  {
    event: 'notification:shipping',
    given: quietly(paid),
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: BUYER,
    data: ({ id }) =>
      words('order', id, {
        buyer: ['Order shipped', 'Your order of 68.00 USD is on its way with Postal service, tracking number TR-9.'],
        unread: 2,
      }),
  },
  {
    event: 'notification:wholesale',
    of: 'an invitation',
    given: quietly(nothing),
    when: invite,
    to: [...STORE, ...BUYER],
    data: (_, { id }) =>
      words('invitation', id, {
        seller: ['Invitation sent', 'Your wholesale invitation to Ada has been sent.'],
        buyer: ['Wholesale invitation', 'You have been invited to order wholesale.'],
        unread: 1,
      }),
  },
  {
    event: 'notification:wholesale',
    of: 'an invitation that is declined',
    given: quietly(invite),
    when: ({ app }, { id }) => app.post(`/invitations/${id}/reject`),
    to: [...STORE, ...BUYER],
    data: ({ id }) =>
      words('invitation', id, {
        seller: ['Invitation declined', 'Ada has declined your wholesale invitation.'],
        buyer: ['Invitation declined', 'You have declined a wholesale invitation.'],
        unread: 1,
      }),
  },
  {
    event: 'notification:wholesale',
    of: 'an order',
    given: quietly(nothing),
    when: placeWholesale,
    to: [...STORE, ...BUYER],
    data: (_, { id }) =>
      words('wholesale_order', id, {
        seller: ['New wholesale order', 'You have a new wholesale order of 100.01 USD.'],
        buyer: ['Wholesale order placed', 'Your wholesale order of 100.01 USD has been placed.'],
        unread: 1,
      }),
  },
  {
    event: 'notification:wholesale',
    of: 'a row of orders that is shipped',
    given: quietly(sellWholesale),
    when: ({ app }, { id }) => app.post(`/orders/${id}/ship`, parcel),
    to: [...STORE, ...BUYER],
    data: ({ id }) => {
      const { seller, helper } = words('order', id, {
        seller: ['Wholesale order updated', 'A wholesale order of 136.00 USD is now on its way.'],
        unread: 2, // The order's status changes too.
      })
      const buyer = ['Wholesale order shipped', 'Your wholesale order of 136.00 USD is on its way.']
      return { seller, helper, ...words('order', id, { buyer, unread: 3 }) } // And the parcel's.
    },
  },
  {
    event: 'notification:quotation',
    of: 'one that is cancelled',
    given: quietly(sent),
    when: step('cancel', TERMS.sellerId),
    to: [...STORE, ...BUYER],
    data: ({ id, quotationNumber }) =>
      words('quotation', id, {
        seller: ['Quotation cancelled', `Your quotation ${quotationNumber} has been cancelled.`],
        buyer: ['Quotation cancelled', `The quotation ${quotationNumber} that you received has been cancelled.`],
        unread: 1,
      }),
  },
  {
    event: 'notification:quotation',
    of: 'one that is sent',
    given: quietly(draft),
    when: step('send', TERMS.sellerId),
    to: BUYER,
    data: ({ id, quotationNumber }) =>
      words('quotation', id, {
        buyer: ['New quotation', `You have received quotation ${quotationNumber} over 252.00 USD.`],
        unread: 1,
      }),
  },
  {
    event: 'notification:quotation',
    of: 'one that is accepted',
    given: quietly(sent),
    when: step('accept', TERMS.buyerId),
    to: STORE,
    data: ({ id, quotationNumber }) =>
      words('quotation', id, {
        seller: ['Quotation accepted', `Your quotation ${quotationNumber} has been accepted by buyer-1@example.com.`],
        unread: 1,
      }),
  },
  {
    event: 'notification:system',
    of: 'an announcement to all',
    given: quietly(nothing),
    when: announce('all'),
    to: [...SELLERS, ...BUYERS],
    data: closed,
  },
  {
    event: 'notification:system',
    of: 'an announcement to sellers',
    given: quietly(nothing),
    when: announce('sellers'),
    to: SELLERS,
    data: closed,
  },
  {
    event: 'notification:system',
    of: 'an announcement to buyers',
    given: quietly(nothing),
    when: announce('buyers'),
    to: BUYERS,
    data: closed,
  },
  {
    event: 'notification:read',
    given: two,
    when: ({ frontends }) => frontends.phone.joins('notification:read', { notificationId: 'one' }),
    to: BUYER,
    data: () => atLeast({ notificationId: 'one', unread: 1 }),
  },
  { event: 'notification:read', of: "another's", given: two, when: isRefused('stranger', 'notification:read'), to: [] },
  {
    event: 'notification:deleted',
    given: two,
    when: ({ frontends }) => frontends.buyer.joins('notification:delete', { notificationId: 'one' }),
    to: BUYER,
    data: () => atLeast({ notificationId: 'one', unread: 1 }),
  },
  { event: 'notification:deleted', of: "another's", given: two, when: isRefused('seller', 'notification:delete'), to: [] },
]
