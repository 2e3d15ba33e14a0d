import { found, param, type Route } from './route.ts'

export const users: Route[] = [
  {
    method: 'GET',
    path: '/api/users/:id',
    async handle(request) {
      const id = param(request, 'id')
      const user = await request.db.user.findUnique({
        where: { id },
        include: { memberships: { where: { status: 'active' } } },
      })
      const { memberships, ...rest } = found(user, `user ${id}`)
      return { ...rest, stores: memberships.map((membership) => membership.storeOwnerId) }
    },
  },
]
