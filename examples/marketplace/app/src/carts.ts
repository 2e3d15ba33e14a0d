import { z } from 'zod'
import { found, type Route } from './route.ts'

const cartItem = z.object({
  productId: z.string(),
  quantity: z.number().int().positive(),
  variant: z.record(z.string(), z.unknown()).optional(),
})

const cartItems = z.array(cartItem)

const quantityOfProduct = z.object({
  buyerId: z.string(),
  productId: z.string(),
  quantity: z.number().int().nonnegative(), // 0 takes the product out
})

const emptiedCart = z.object({ buyerId: z.string(), sellerId: z.string() })

export const carts: Route[] = [
  {
    method: 'GET',
    path: '/api/carts',
    handle: ({ db, query }) => db.cart.findMany({ where: { buyerId: query.get('buyer') ?? '', status: 'active' } }),
  },
  {
    method: 'PUT',
    path: '/api/carts/items',
    handle({ db, body }) {
      const { buyerId, productId, quantity } = quantityOfProduct.parse(body)
      return db.$transaction(async (tx) => {
        const product = found(await tx.product.findUnique({ where: { id: productId } }), `product ${productId}`)
        const key = { buyerId, sellerId: product.sellerId }
        const cart = await tx.cart.upsert({ where: { buyerId_sellerId: key }, create: key, update: {} })
        const items = cartItems.parse(cart.items).filter((item) => item.productId !== productId)
        if (quantity > 0) items.push({ productId, quantity })
        return tx.cart.update({ where: { id: cart.id }, data: { items: JSON.parse(JSON.stringify(items)) } })
      })
    },
  },
  {
    method: 'DELETE',
    path: '/api/carts/items',
    handle({ db, body }) {
      return db.cart.update({ where: { buyerId_sellerId: emptiedCart.parse(body) }, data: { items: [] } })
    },
  },
]
