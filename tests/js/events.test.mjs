import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import Ajv from 'ajv'
import { analytics } from './events/analytics.mjs'
import { carts } from './events/carts.mjs'
import { BOWL, DRAFT, TEAPOT, cast } from './events/cast.mjs'
import { KINDS, kindOf } from './events/kinds.mjs'
import { notifications } from './events/notifications.mjs'
import { orders } from './events/orders.mjs'
import { presence } from './events/presence.mjs'
import { products } from './events/products.mjs'
import { quotations } from './events/quotations.mjs'
import { stock } from './events/stock.mjs'
import { wholesale } from './events/wholesale.mjs'
import { impatientCatalog } from './harness/catalog.mjs'
import { heardSince, settle, watchMarker } from './harness/marker.mjs'
import { rowcastBinary } from './harness/paths.mjs'
import { openSnapshot, settled } from './harness/snapshot.mjs'
import { stage } from './harness/stage.mjs'

// One row an event: what the application does (`given` before, `when` for it), who hears it, how many `times` (once), with
// which data. `data` gets what `given` and `when` gave, and gives a check for all, or one for each of those who hear it; of
// an event that is heard several times it is about the list. What is `awaited` comes when the clock or the gateway says so.
//
// What each of them hears is compared with events/snapshot.json too, as a whole. To take it anew:
//     ROWCAST_UPDATE_SNAPSHOT=1 node --test events.test.mjs
const modules = { products, stock, wholesale, quotations, orders, carts, analytics, notifications, presence }
const nameOf = (row) => (row.of ? `${row.event} (${row.of})` : row.event)

describe("the application's actions", () => {
  const frontends = {}
  const heardKinds = new Set()
  const hearers = new Set()
  let end, snapshot
  let on // what a row's steps get
  const everyone = () => Object.values(frontends)

  before(async () => {
    snapshot = await openSnapshot(new URL('events/snapshot.json', import.meta.url))
    const catalog = await impatientCatalog()
    let app, database, connect, atTheEnd
    ;({ app, database, connect, atTheEnd, end } = await stage({
      catalog: catalog.folder,
      gateway: { presence_grace: '0s', presence_interval: '100ms' },
    }))
    atTheEnd(catalog.remove)
    for (const productId of [BOWL, TEAPOT]) await app.put('/carts/items', { buyerId: cast.holder, productId, quantity: 1 })
    for (const [role, userId] of Object.entries(cast)) frontends[role] = await connect(userId)
    for (const productId of [BOWL, TEAPOT, DRAFT]) await frontends.viewer.joins('join:product', { productId })
    await frontends.visitor.joins('join:storefront', { sellerId: cast.seller })
    await Promise.all(everyone().map(watchMarker))
    // Told in the order in which they were seen: what the gateway saw of those who came so far is told.
    await frontends.viewer.hears('presence:viewers', ({ productId }) => productId === DRAFT)
    const settled = () => settle(database, everyone())
    on = { app, database, frontends, connect, settled }
  })
  after(async () => {
    await snapshot?.close()
    await end?.()
  })

  for (const [module, rows] of Object.entries(modules)) {
    describe(`of the module ${module}`, () => {
      for (const row of rows) {
        const name = nameOf(row)
        it(row.to.length > 0 ? `${name} is heard by ${row.to.join(', ')}` : `${name} is heard by nobody`, () => check(row))
      }
    })
  }

  it('make each of the 44 events, and the three of the gateway', () => {
    assert.deepEqual([...heardKinds].sort(), [...KINDS].sort())
    assert.equal(KINDS.length, 44 + 3)
  })

  it('are of the kinds and shapes that `rowcast asyncapi` tells', async () => {
    const env = { ...process.env, DATABASE_URL: on.database.url }
    const { stdout } = await promisify(execFile)(rowcastBinary(), ['asyncapi'], { env, maxBuffer: 2 ** 24 })
    const document = JSON.parse(stdout)
    const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(document, 'contract')
    const messages = Object.entries(document.components.messages)
    const known = JSON.parse(await readFile(new URL('events/snapshot.json', import.meta.url), 'utf8'))
    const all = Object.entries(known).flatMap(([row, heard]) => Object.values(heard).flat().map((event) => ({ row, event })))
    for (const { row, event } of all) {
      const [name] = messages.find(([, message]) => message.name === event.type) ?? []
      assert.ok(name, `${row}: the document has no ${event.type}`)
      const valid = ajv.validate({ $ref: `contract#/components/schemas/${name}` }, event)
      assert.ok(valid, `${row}: ${JSON.stringify(event)}: ${ajv.errorsText()}`)
    }
    assert.deepEqual([...new Set(all.map(({ event }) => kindOf(event)))].sort(), [...KINDS].sort())
  })

  it('are all that the snapshot holds', () => assert.deepEqual(snapshot.left(), []))

  it('are heard by each of the cast in some row, so that silence counts', () => {
    assert.deepEqual([...hearers].sort(), Object.keys(cast).sort())
  })

  async function check(row) {
    const { event: type, given = async () => undefined, when, to, times = 1, awaited = false, data } = row
    const arranged = await given(on)
    await on.settled()
    const from = new Map(everyone().map((frontend) => [frontend, frontend.heard.length]))

    const result = await when(on, arranged)
    const theirs = to.map((role) => frontends[role])
    if (awaited) await Promise.all(theirs.map((frontend) => frontend.hears(type, notTheMarker, { from: from.get(frontend) })))
    await on.settled()

    const heard = {}
    for (const [role, frontend] of Object.entries(frontends)) {
      const events = heardSince(frontend, from.get(frontend)).filter((one) => one.type === type)
      if (events.length > 0) heard[role] = events.map(({ event }) => event)
    }
    assert.deepEqual(Object.keys(heard).sort(), [...to].sort(), `who heard ${type}: ${JSON.stringify(heard, null, 1)}`)
    const expected = await data?.(arranged, result, on)
    for (const [role, events] of Object.entries(heard)) {
      assert.equal(events.length, times, `${role} heard ${type} ${times} times: ${JSON.stringify(events, null, 1)}`)
      for (const event of events) assert.equal(event.type, type)
      const holds = typeof expected === 'function' ? expected : expected[role]
      const found = events.map((event) => event.data)
      holds(times === 1 ? found[0] : found)
      hearers.add(role)
      events.forEach((event) => heardKinds.add(kindOf(event)))
    }
    // Of notifications each inbox has its own.
    const all = Object.values(heard).flat()
    const marks = new Set(all.map(({ metadata, notificationId }) => `${notificationId ?? ''} ${metadata.id}`))
    const expectedMarks = new Set(all.map(({ notificationId }) => notificationId)).size * (to.length > 0 ? times : 0)
    assert.equal(marks.size, expectedMarks, `one event, one id: ${[...marks]}`)
    snapshot.compare(nameOf(row), settled(heard))
  }
})

const notTheMarker = (event) => event.productId !== 'marker'
