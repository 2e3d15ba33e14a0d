import { z } from 'zod'
import type { Prisma } from '../generated/prisma/client.ts'
import { found, money, param, type Route } from './route.ts'

const status = z.enum(['active', 'draft', 'coming-soon', 'paused', 'out-of-stock', 'archived'])

const details = {
  name: z.string().min(1),
  description: z.string(),
  price: money,
  stock: z.number().int().nonnegative(),
  sku: z.string(),
  category: z.string(),
  depositAmount: money,
  status,
}

const newProduct = z.object({ ...details, sellerId: z.string() }).partial({
  description: true,
  stock: true,
  sku: true,
  category: true,
  depositAmount: true,
  status: true,
})

const productChange = z.object(details).partial()

export const products: Route[] = [
  {
    method: 'GET',
    path: '/api/products',
    handle({ db, query }) {
      const seller = query.get('seller')
      const where: Prisma.ProductWhereInput = seller === null ? { status: 'active' } : { sellerId: seller }
      return db.product.findMany({ where, orderBy: [{ sellerId: 'asc' }, { name: 'asc' }] })
    },
  },
  {
    method: 'GET',
    path: '/api/products/:id',
    async handle(request) {
      const id = param(request, 'id')
      return found(await request.db.product.findUnique({ where: { id } }), `product ${id}`)
    },
  },
  {
    method: 'POST',
    path: '/api/products',
    handle: ({ db, body }) => db.product.create({ data: newProduct.parse(body) }),
  },
  {
    method: 'PATCH',
    path: '/api/products/:id',
    handle(request) {
      const data = productChange.parse(request.body)
      return request.db.product.update({ where: { id: param(request, 'id') }, data })
    },
  },
  {
    method: 'DELETE',
    path: '/api/products/:id',
    handle: (request) => request.db.product.delete({ where: { id: param(request, 'id') } }),
  },
]
