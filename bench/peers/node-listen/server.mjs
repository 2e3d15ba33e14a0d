// (a): LISTEN on what a trigger sends for every row (trigger.sql), forwarded to rooms.

import pg from 'pg'
import { serve, tell } from '../rooms.mjs'

const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
await client.connect()
await client.query('listen product_changes')

const io = serve((request, response) => response.writeHead(404).end())
client.on('notification', ({ payload }) => tell(io, JSON.parse(payload)))
client.on('error', (error) => {
  console.error(`the connection to Postgres ended: ${error.message}`)
  process.exit(1)
})
