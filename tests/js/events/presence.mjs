import { BUYER, STORE } from './cast.mjs'
import { exactly } from './expect.mjs'

// Somebody who is nobody of the cast, with an open quotation of the seller's.
const PARTNER = 'seller-3'
let partner

const quoted = async ({ app }) => {
  const { id } = await app.post('/quotations', {
    sellerId: 'seller-1',
    buyerEmail: `${PARTNER}@example.com`,
    items: [{ description: 'Serving bowl', unitPrice: '60.00', quantity: 4 }],
  })
  await app.post(`/quotations/${id}/send`, { by: 'seller-1' })
}

const PAGE = 'product-9'
const looks = ({ frontends }) => Promise.all(['rival', 'guest'].map((role) => frontends[role].joins('join:product', { productId: PAGE })))

export const presence = [
  {
    event: 'presence:changed',
    of: 'somebody who comes',
    given: quoted,
    when: async ({ connect }) => (partner = await connect(PARTNER)),
    to: STORE,
    awaited: true,
    data: () => exactly({ userId: PARTNER, online: true }),
  },
  {
    event: 'presence:changed',
    of: 'somebody who goes',
    when: () => partner.close(),
    to: STORE,
    awaited: true,
    data: () => exactly({ userId: PARTNER, online: false }),
  },
  {
    event: 'presence:viewers',
    of: 'somebody who comes',
    when: ({ frontends }) => frontends.guest.joins('join:product', { productId: 'product-6' }),
    to: ['rival', 'guest'],
    awaited: true,
    data: () => exactly({ productId: 'product-6', viewers: 1 }),
  },
  {
    event: 'presence:viewers',
    of: 'somebody who goes',
    when: ({ frontends }) => frontends.guest.joins('leave:product', { productId: 'product-6' }),
    to: ['rival'],
    awaited: true,
    data: () => exactly({ productId: 'product-6', viewers: 0 }),
  },
  {
    event: 'chat:typing',
    given: looks,
    when: ({ frontends }) => frontends.rival.joins('chat:typing', { room: `product:${PAGE}` }),
    to: ['guest'],
    data: () => exactly({ room: `product:${PAGE}`, userId: 'seller-2', typing: true }),
  },
  {
    event: 'chat:typing',
    of: 'somebody who has typed nothing for a while',
    when: async () => undefined,
    to: ['guest'],
    awaited: true,
    data: () => exactly({ room: `product:${PAGE}`, userId: 'seller-2', typing: false }),
  },
  {
    event: 'chat:typing',
    of: 'two devices of one user',
    given: ({ frontends }) => Promise.all(BUYER.map((role) => frontends[role].joins('join:product', { productId: 'product-10' }))),
    when: ({ frontends }) => frontends.phone.joins('chat:typing', { room: 'product:product-10' }),
    to: [],
  },
]
