import { z } from 'zod'
import { found, param, type Route } from './route.ts'

const cartItem = z.object({
  productId: z.string(),
  quantity: z.number().int().positive(),
  variant: z.record(z.string(), z.unknown()).optional(),
})

const cartItems = z.array(cartItem)

/** A guest has no id; whoever knows the cart's id may fill it. */
const newCart = z.object({ sellerId: z.string(), buyerId: z.string().optional(), items: cartItems.default([]) })

const contents = z.object({ items: cartItems })

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
        return tx.cart.update({ where: { id: cart.id }, data: { items: json(items) } })
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
  {
    method: 'POST',
    path: '/api/carts',
    handle({ db, body }) {
      const { items, ...of } = newCart.parse(body)
      return db.cart.create({ data: { ...of, items: json(items) } })
    },
  },
  {
    method: 'PUT',
    path: '/api/carts/:id/items',
    handle(request) {
      const { items } = contents.parse(request.body)
      return request.db.cart.update({ where: { id: param(request, 'id') }, data: { items: json(items) } })
    },
  },
  {
    method: 'DELETE',
    path: '/api/carts/:id',
    handle: (request) => request.db.cart.delete({ where: { id: param(request, 'id') } }),
  },
]

/** Without what JSON does not have, such as a variant that is undefined. */
function json(items: z.infer<typeof cartItems>) {
  return JSON.parse(JSON.stringify(items))
}
