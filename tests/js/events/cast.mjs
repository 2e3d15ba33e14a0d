/** Who listens, by the user's id. Whoever a row does not name must not hear its event. */
export const cast = {
  seller: 'seller-1',
  helper: 'helper-1', // works in the seller's store
  rival: 'seller-2',
  buyer: 'buyer-1',
  phone: 'buyer-1', // the buyer's other device
  stranger: 'buyer-2',
  holder: 'buyer-3', // has BOWL and TEAPOT in the cart
  visitor: 'buyer-4', // in the seller's storefront
  viewer: 'buyer-5', // looks at BOWL, TEAPOT and DRAFT
  guest: undefined, // not signed in
}

export const STORE = ['seller', 'helper']
export const BUYER = ['buyer', 'phone']
export const BOWL = 'product-2'
export const TEAPOT = 'product-4'
export const DRAFT = 'product-13'
export const TOWEL = 'product-7' // the rival's
export const TERMS = { sellerId: 'seller-1', buyerId: 'buyer-1' }
