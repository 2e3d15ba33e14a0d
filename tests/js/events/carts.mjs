import { BUYER, TOWEL } from './cast.mjs'
import { exactly } from './expect.mjs'
import { addToCart } from './steps.mjs'

const MUG = 'product-1'
const VASE = 'product-3'
const item = (productId, quantity) => ({ productId, quantity })
const ofBuyer = { cartId: 'cart-1', sellerId: 'seller-1' }

/** What is in the buyer's cart before each row. */
const holding = (...items) => ({ app }) => app.put('/carts/cart-1/items', { items })
const guestCart = ({ app }) => app.post('/carts', { sellerId: 'seller-1', items: [item(MUG, 1)] })

export const carts = [
  {
    event: 'cart:updated',
    of: 'something more',
    given: holding(item(MUG, 2)),
    when: (on) => addToCart(on, VASE, 1),
    to: BUYER,
    data: () => exactly({ ...ofBuyer, action: 'added', items: [item(MUG, 2), item(VASE, 1)], changed: item(VASE, 1) }),
  },
  {
    event: 'cart:updated',
    of: 'another quantity',
    given: holding(item(MUG, 2)),
    when: (on) => addToCart(on, MUG, 5),
    to: BUYER,
    data: () => exactly({ ...ofBuyer, action: 'updated', items: [item(MUG, 5)], changed: item(MUG, 5) }),
  },
  {
    event: 'cart:updated',
    of: 'something taken out',
    given: holding(item(MUG, 2), item(VASE, 1)),
    when: (on) => addToCart(on, VASE, 0),
    to: BUYER,
    data: () => exactly({ ...ofBuyer, action: 'removed', items: [item(MUG, 2)], changed: item(VASE, 0) }),
  },
  {
    event: 'cart:updated',
    of: 'a cart that is emptied',
    given: holding(item(MUG, 2), item(VASE, 1)),
    when: ({ app }) => app.delete('/carts/items', { buyerId: 'buyer-1', sellerId: 'seller-1' }),
    to: BUYER,
    data: () => exactly({ ...ofBuyer, action: 'cleared', items: [], changed: null }),
  },
  {
    event: 'cart:updated',
    of: 'a cart that is deleted',
    given: ({ app }) => app.post('/carts', { sellerId: 'seller-3', buyerId: 'buyer-1', items: [item(TOWEL, 1)] }),
    when: ({ app }, { id }) => app.delete(`/carts/${id}`),
    to: BUYER,
    data: ({ id }) => exactly({ cartId: id, sellerId: 'seller-3', action: 'cleared', items: [], changed: null }),
  },
  {
    event: 'cart:updated',
    of: 'several things at once',
    given: holding(item(MUG, 2), item(VASE, 1)),
    when: holding(item(MUG, 1), item(TOWEL, 3)),
    to: BUYER,
    times: 3,
    data: () => {
      const items = [item(MUG, 1), item(TOWEL, 3)]
      return exactly([
        { ...ofBuyer, action: 'updated', items, changed: item(MUG, 1) },
        { ...ofBuyer, action: 'added', items, changed: item(TOWEL, 3) },
        { ...ofBuyer, action: 'removed', items, changed: item(VASE, 0) },
      ])
    },
  },
  {
    event: 'cart:updated',
    of: 'the same in another order',
    given: holding(item(MUG, 2), item(VASE, 1)),
    when: holding(item(VASE, 1), item(MUG, 2)),
    to: [],
  },
  { event: 'cart:updated', of: "a guest's new cart", when: guestCart, to: [] },
  {
    event: 'cart:updated',
    of: "a guest's cart",
    given: guestCart,
    when: ({ app }, { id }) => app.put(`/carts/${id}/items`, { items: [item(MUG, 7), item(VASE, 1)] }),
    to: [],
  },
  {
    event: 'cart:updated',
    of: "a guest's cart that is deleted",
    given: guestCart,
    when: ({ app }, { id }) => app.delete(`/carts/${id}`),
    to: [],
  },
]
