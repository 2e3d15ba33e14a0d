// (b): the application writes the row, and then tells the rooms.

import pg from 'pg'
import { serve, tell } from '../rooms.mjs'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 16 })

const update = {
  name: 'describe-product', // prepared once on each connection
  text: 'update products set description = $1 where id = $2 returning *',
}

const io = serve(async (request, response) => {
  const [, products, id] = request.url.split('/')
  if (request.method !== 'PUT' || products !== 'products') return response.writeHead(404).end()
  let description = ''
  for await (const chunk of request) description += chunk
  const { rows } = await pool.query({ ...update, values: [description, id] })
  if (rows.length === 0) return response.writeHead(404).end()
  tell(io, rows[0])
  response.writeHead(204).end()
})
