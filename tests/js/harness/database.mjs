import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import pg from 'pg'
import { marketplace } from './paths.mjs'

/** A database of its own with the sample marketplace in it. */
export const createMarketplace = () => createDatabase([`${marketplace}/schema.sql`, `${marketplace}/seed.sql`])

/** A database of its own with what these files of SQL make. */
export async function createDatabase(files) {
  const server = process.env.ROWCAST_TEST_DATABASE_URL
  if (!server) {
    throw new Error('ROWCAST_TEST_DATABASE_URL is not set; expected the URL of a superuser of a running Postgres server')
  }
  const name = `rowcast_js_${randomBytes(6).toString('hex')}`
  await asSuperuser(server, `CREATE DATABASE ${name}`)

  const url = new URL(server)
  url.pathname = `/${name}`
  const pool = new pg.Pool({ connectionString: url.href, max: 4 })
  // Dropping the database ends the pool's idle connections; that is not a failure of a test.
  pool.on('error', () => {})
  const query = async (sql, values) => (await pool.query(sql, values)).rows
  for (const file of files) await query(await readFile(file, 'utf8'))

  return {
    url: url.href,
    query,
    async drop() {
      await pool.end()
      await asSuperuser(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

async function asSuperuser(url, sql) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
