import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startNextApp } from './harness/app.mjs'
import { heardSince, settle, watchMarker } from './harness/marker.mjs'
import { stage } from './harness/stage.mjs'
import { until } from './harness/timeout.mjs'

// The SQL is what `prisma migrate` writes for the change of the Prisma schema beside it.
const versions = {
  adds: {
    sql: `ALTER TABLE "products" ADD COLUMN "low_stock_threshold" INTEGER`,
    edit: (schema) => put(schema, '  status             String?   @default("draft")',
      '  status             String?   @default("draft")\n  lowStockThreshold  Int?      @map("low_stock_threshold")'),
  },
  renames: {
    sql: `ALTER TABLE "products" RENAME COLUMN "sku" TO "stock_code"`,
    edit: (schema) => put(schema, '  sku                String?   @db.VarChar',
      '  sku                String?   @map("stock_code") @db.VarChar'),
  },
  changesTypes: {
    sql: `ALTER TABLE "products" ALTER COLUMN "name" SET DATA TYPE VARCHAR(200), ALTER COLUMN "price" SET DATA TYPE DECIMAL(14,2)`,
    edit: (schema) => put(schema, '  name               String\n', '  name               String    @db.VarChar(200)\n'),
  },
  drops: {
    sql: `ALTER TABLE "products" DROP COLUMN "flat_shipping_rate", DROP COLUMN "deposit_amount"`,
    edit: (schema) => put(put(schema,
      '  flatShippingRate   Decimal?  @map("flat_shipping_rate") @db.Decimal(10, 2)\n', ''),
      '  depositAmount      Decimal?  @map("deposit_amount") @db.Decimal(10, 2)\n', ''),
  },
  dropsWhatRulesUse: {
    sql: `ALTER TABLE "products" RENAME COLUMN "stock" TO "stock_on_hand"`,
    edit: (schema) => put(schema, '  stock              Int?      @default(0)', '  stock              Int?      @default(0) @map("stock_on_hand")'),
  },
  bringsItBack: {
    sql: `ALTER TABLE "products" RENAME COLUMN "stock_on_hand" TO "stock"`,
    edit: (schema) => put(schema, '@default(0) @map("stock_on_hand")', '@default(0)'),
  },
}

function put(schema, from, to) {
  assert.ok(schema.includes(from), `the Prisma schema has the line ${from}`)
  return schema.replace(from, to)
}

describe("the application's own migrations, with rowcast installed", () => {
  let all, database, service, app, seller, buyer
  let edits = []

  before(async () => {
    all = await stage()
    ;({ database, service, app } = all)
    seller = await all.connect('seller-1')
    buyer = await all.connect('buyer-1')
    await Promise.all([seller, buyer].map(watchMarker))
    all.atTheEnd(() => app.stop())
  })
  after(() => all?.end())

  /** Applies a migration while the old version runs, then starts the version that goes with it. */
  async function migrateTo({ sql, edit }) {
    await database.query(sql)
    edits = [...edits, edit]
    await app.stop()
    app = await startNextApp(database.url, (schema) => edits.reduce((text, change) => change(text), schema))
  }

  const sell = (productId) => app.post('/orders', { buyerId: 'buyer-1', items: [{ productId, quantity: 1 }] })
  const about = (id) => (event) => event.productId === id

  it('a column is added: writes go on, and the new column is heard', async () => {
    await migrateTo(versions.adds)
    await database.query('UPDATE products SET low_stock_threshold = 17 WHERE id = $1', ['product-1'])
    const updated = await seller.hears('product:updated', about('product-1'))
    assert.deepEqual(updated.data.changes, { lowStockThreshold: 17 })

    const from = seller.heard.length
    await sell('product-1') // 18 to 17: not below the threshold
    await sell('product-1') // 17 to 16
    const low = await seller.hears('product:low_stock', about('product-1'), { from })
    assert.equal(low.data.currentStock, 16)
    assert.equal(low.data.threshold, 17)
  })

  it('a column is renamed: the event has the new name', async () => {
    await migrateTo(versions.renames)
    await app.patch('/products/product-2', { sku: 'JC-BOWL-2' })
    const event = await seller.hears('product:updated', about('product-2'))
    assert.deepEqual(event.data.changes, { stockCode: 'JC-BOWL-2' })
  })

  it('types are changed: events keep their values', async () => {
    await migrateTo(versions.changesTypes)
    const from = seller.heard.length
    await app.patch('/products/product-2', { price: '70.50', name: 'Serving bowl' })
    const price = await seller.hears('product:price_changed', about('product-2'), { from })
    assert.equal(price.data.oldPrice, '68.00')
    assert.equal(price.data.newPrice, '70.50')
    const updated = await seller.hears('product:updated', about('product-2'), { from })
    assert.deepEqual(updated.data.changes, { price: '70.50', name: 'Serving bowl' })
  })

  it('columns are dropped: the application sells on', async () => {
    await migrateTo(versions.drops)
    const from = seller.heard.length
    const order = await sell('product-2')
    await seller.hears('order:updated', (event) => event.orderId === order.id, { from })
    await seller.hears('product:stock_changed', about('product-2'), { from })
  })

  it('a column that rules use goes: writes and the other events go on, the service stays up', async () => {
    await migrateTo(versions.dropsWhatRulesUse)
    const from = seller.heard.length
    const order = await sell('product-2')
    await seller.hears('order:updated', (event) => event.orderId === order.id, { from })
    const updated = await seller.hears('product:updated', about('product-2'), { from })
    assert.deepEqual(Object.keys(updated.data.changes), ['stockOnHand'])
    await settle(database, [seller, buyer])
    assert.deepEqual(heardSince(seller, from).filter(({ type }) => /stock/.test(type)), [])
    assert.equal((await fetch(`${service.url}/healthz`)).status, 200)
  })

  it('the column comes back: its events are heard again', async () => {
    await migrateTo(versions.bringsItBack)
    const from = seller.heard.length
    await app.patch('/products/product-2', { stock: 30 })
    await app.patch('/products/product-2', { stock: 4 })
    const changed = await seller.hears('product:stock_changed', ({ data }) => data.newStock === 4, { from })
    assert.equal(changed.data.oldStock, 30)
    await seller.hears('stock:low', about('product-2'), { from })
  })

  it('a table is added and one that lookups read is dropped: the events go on without it', async () => {
    await database.query('CREATE TABLE "reviews" ("id" TEXT PRIMARY KEY, "stars" INTEGER NOT NULL)')
    await database.query('DROP TABLE "carts"')
    const from = seller.heard.length
    // What is written in the moment between the drop and its being noticed may go to rowcast.dead_letter instead.
    let cents = 0
    await until(async () => {
      await app.patch('/products/product-3', { price: `44.${String((cents += 1)).padStart(2, '0')}` })
      return seller.heard.slice(from).some(({ type, event }) => type === 'product:price_changed' && event.productId === 'product-3')
    }, () => 'product:price_changed to be heard by the seller without the table of carts')
    assert.equal((await fetch(`${service.url}/healthz`)).status, 200)
  })
})
