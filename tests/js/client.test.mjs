// docs/examples/client.ts, as a page has it: the official client below it, the service and a database behind.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as dial, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { marketplace } from './harness/paths.mjs'
import { stage } from './harness/stage.mjs'
import { until, within } from './harness/timeout.mjs'

/** A way to the service that can be cut, and be closed for a while. */
async function startCable(url) {
  const sockets = new Set()
  let open = true
  const server = createServer((inner) => {
    if (!open) return void inner.destroy()
    const outer = dial(new URL(url).port, '127.0.0.1')
    for (const [one, other] of [[inner, outer], [outer, inner]]) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => (sockets.delete(one), other.destroy()))
    }
  })
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  const cut = () => {
    open = false
    sockets.forEach((socket) => socket.destroy())
  }
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    mend: () => (open = true),
    stop: () => (cut(), server.close()),
  }
}

describe('the example of a client', () => {
  let Rowcast, database, service, cable, end
  const clients = []

  before(async () => {
    const auth = "[auth]\nmodes = ['insecure']\n[limits]\nmessages_per_minute = 6\n"
    let atTheEnd
    ;({ database, service, end, atTheEnd } = await stage({ app: false, auth }))
    // Beside the tests, where socket.io-client is.
    const built = await mkdtemp(fileURLToPath(new URL('./.built-', import.meta.url)))
    atTheEnd(() => rm(built, { recursive: true }))
    const examples = fileURLToPath(new URL('../../docs/examples', import.meta.url))
    const compiler = `${marketplace}/app/node_modules/typescript/bin/tsc`
    await promisify(execFile)(process.execPath, [compiler, '--project', examples, '--noEmit', 'false', '--outDir', built])
    ;({ Rowcast } = await import(`${built}/client.js`))
    cable = await startCable(service.url)
    atTheEnd(async () => cable.stop())
  })
  after(async () => {
    clients.forEach((client) => client.close())
    await end?.()
  })

  /** A client, and what it was told. */
  function page(userId) {
    const told = { reloads: [], refused: [], closed: [], stocks: [] }
    const client = new Rowcast({
      url: cable.url,
      userId,
      reload: (resync) => told.reloads.push(resync),
      refused: (room, error) => told.refused.push([room, error]),
      closed: (message) => told.closed.push(message),
    })
    clients.push(client)
    client.on('product:stock_changed', ({ data }) => told.stocks.push(`${data.productId} ${data.newStock}`))
    const joins = (room) => within(new Promise((live) => client.join(room, live)), () => `${userId} to be in ${room}; told: ${JSON.stringify(told)}; the service said:\n${service.output()}`)
    return { client, told, joins }
  }
  const restock = (product, stock) => database.query('UPDATE products SET stock = $2 WHERE id = $1', [product, stock])
  const hears = ({ told }, stock) =>
    until(() => told.stocks.includes(stock), () => `${stock}; heard ${told.stocks}, told to reload ${JSON.stringify(told.reloads)}`)

  it('enters all rooms of a page with one message, and again when the connection was cut, and hears what it missed once', async () => {
    const buyer = page('buyer-1')
    const live = []
    const products = Array.from({ length: 80 }, (_, n) => `product:product-${n + 1}`)
    for (const room of [...products, 'user:somebody-else', 'product:left']) buyer.client.join(room, () => live.push(room))
    buyer.client.leave('product:left')
    await until(() => live.length === 80, () => `80 rooms; live are ${live}`)
    assert.deepEqual(live, products)
    assert.deepEqual(buyer.told.refused, [['user:somebody-else', 'you may not join it']])
    await restock('product-2', 701)
    await hears(buyer, 'product-2 701')

    for (const stock of [702, 703, 704]) {
      cable.cut()
      await restock('product-1', stock)
      cable.mend()
      await hears(buyer, `product-1 ${stock}`)
    }
    assert.deepEqual(buyer.told.stocks, ['product-2 701', 'product-1 702', 'product-1 703', 'product-1 704'])
    assert.deepEqual([buyer.told.reloads, buyer.told.closed], [[], []])
  })

  it('reloads once when what it missed is not known, and then goes on from there', async () => {
    const buyer = page('buyer-2')
    await buyer.joins('product:product-3')
    await restock('product-3', 711)
    await hears(buyer, 'product-3 711')
    cable.cut()
    await database.query('TRUNCATE carts')
    // A position says what the server has on its disk, so one that it gives now lies behind that.
    const saved = 'SELECT bool_and(pg_visible_in_snapshot(l.xid, c.snapshot)) AS is_so FROM rowcast.change l, rowcast.cursor c'
    await until(async () => (await database.query(saved))[0].is_so, () => 'the cursor to be saved')
    cable.mend()
    const reloaded = (room) => buyer.told.reloads.filter(({ rooms }) => rooms.includes(room)).length
    await until(() => reloaded('product:product-3') > 0, () => 'the word to load anew')
    for (const product of ['product-4', 'product-5']) {
      await buyer.joins(`product:${product}`)
      await restock(product, 712)
      await hears(buyer, `${product} 712`)
    }
    assert.ok(buyer.told.reloads.every(({ reason }) => reason === 'a table was truncated'))
    const rooms = ['user:buyer-2', ...[3, 4, 5].map((n) => `product:product-${n}`)]
    assert.deepEqual(rooms.map(reloaded), [1, 1, 0, 0])
  })

  it('loads anew when the connection was cut before anything told where it stands', async () => {
    const buyer = page('buyer-3')
    await until(() => buyer.client, () => 'a client')
    await buyer.joins('product:product-6')
    cable.cut()
    await restock('product-6', 721)
    cable.mend()
    await until(() => buyer.told.stocks.length + buyer.told.reloads.length > 0, () => 'the event, or the word to load anew')
  })

  it('reloads also the rooms that it has yet to enter again, when its position is of another past', async () => {
    const buyer = page('buyer-6')
    await buyer.joins('product:product-10')
    await restock('product-10', 741)
    await hears(buyer, 'product-10 741')
    cable.cut()
    await restock('product-10', 742)
    await database.query('UPDATE rowcast.cursor SET era = era + 1')
    cable.mend()
    const concerned = ({ rooms }) => rooms === undefined || rooms.includes('product:product-10')
    await until(
      () => buyer.told.stocks.includes('product-10 742') || buyer.told.reloads.some(concerned),
      () => `the event, or the word to load that room anew; told ${JSON.stringify(buyer.told)}`,
    )
  })

  it('is heard again after a minute, whether it was refused or sent away for saying too much', async () => {
    const [hasty, flood] = [page('buyer-4'), page('buyer-5')]
    for (const { joins } of [hasty, flood]) for (let n = 1; n <= 6; n++) await joins(`product:product-${n}`)
    let live = false
    hasty.client.join('product:product-7', () => (live = true))
    for (let n = 7; n <= 9; n++) {
      flood.client.join(`product:product-${n}`)
      await new Promise((turn) => setImmediate(turn))
    }
    await until(() => live, () => 'the room that was refused to be entered', 75_000)
    assert.deepEqual([hasty.told.refused, hasty.told.closed, flood.told.refused, flood.told.closed], [[], [], [], []])
    await restock('product-7', 731)
    await hears(hasty, 'product-7 731')
    await until(
      async () => (await restock('product-9', 732 + Math.floor(Math.random() * 1000)), flood.told.stocks.some((heard) => heard.startsWith('product-9'))),
      () => 'the client that was sent away to be back',
      75_000,
    )
  })
})
