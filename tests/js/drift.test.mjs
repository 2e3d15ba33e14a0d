import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createMarketplace } from './harness/database.mjs'
import { migrate } from './harness/service.mjs'

// What a tool such as `prisma migrate diff` compares: everything in the application's schema but its triggers.
const inventory = {
  tables: `SELECT table_name, table_type, is_insertable_into FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
  columns: `SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type, udt_schema, udt_name,
                   character_maximum_length, numeric_precision, numeric_scale, datetime_precision, is_identity, is_generated
            FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3`,
  constraints: `SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2`,
  indexes: `SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2`,
  functions: `SELECT routine_name, routine_type, data_type FROM information_schema.routines WHERE routine_schema = 'public' ORDER BY 1`,
  types: `SELECT typname, typtype FROM pg_type WHERE typnamespace = 'public'::regnamespace ORDER BY 1`,
  'values of enums': `SELECT enumtypid::regtype::text, enumlabel FROM pg_enum ORDER BY 1, enumsortorder`,
  sequences: `SELECT sequence_name FROM information_schema.sequences WHERE sequence_schema = 'public' ORDER BY 1`,
  views: `SELECT table_name, view_definition FROM information_schema.views WHERE table_schema = 'public' ORDER BY 1`,
  policies: `SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public' ORDER BY 1`,
  'settings of tables': `SELECT relname, relkind, relpersistence, relreplident, relrowsecurity, reloptions, relowner::regrole::text, relacl::text
                         FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1`,
  extensions: `SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1`,
  schemas: `SELECT schema_name FROM information_schema.schemata WHERE schema_name <> 'rowcast' AND schema_name !~ '^pg_' ORDER BY 1`,
}

const triggers = `SELECT tgrelid::regclass::text AS "table", tgname AS name, pronamespace::regnamespace::text AS schema
                  FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal ORDER BY 1, 2`

describe('the schema of the application', () => {
  let database
  const earlier = {}
  before(async () => {
    database = await createMarketplace()
    for (const [name, sql] of Object.entries(inventory)) earlier[name] = await database.query(sql)
    assert.deepEqual(await database.query(triggers), [])
    await migrate(database.url)
  })
  after(() => database?.drop())

  for (const [name, sql] of Object.entries(inventory)) {
    it(`has the same ${name} after rowcast migrate`, async () => {
      assert.deepEqual(await database.query(sql), earlier[name])
    })
  }

  it('has triggers of rowcast on the watched tables and no others', async () => {
    const found = await database.query(triggers)
    assert.deepEqual([...new Set(found.map(({ table }) => table))].sort(), [
      'carts', 'orders', 'products',
      'rowcast.dead_letter', 'rowcast.notification', // rowcast's own, in its schema
      'sessions', 'trade_quotations', 'user_store_memberships', 'users', // only what says who may hear what
      'wholesale_invitations', 'wholesale_orders', 'wholesale_payments',
    ])
    for (const { name, schema } of found) {
      assert.equal(schema, 'rowcast', `${name} calls a function of the schema rowcast`)
      assert.match(name, /rowcast/)
    }
  })
})
