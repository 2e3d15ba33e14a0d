import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import asyncapi from '@asyncapi/parser'
import Ajv from 'ajv'
import { rowcastBinary } from './harness/paths.mjs'
import { stage } from './harness/stage.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const run = promisify(execFile)

describe('the contract', () => {
  let database, connect, end, folder
  before(async () => {
    folder = await mkdtemp(`${tmpdir()}/rowcast-contract-`)
    ;({ database, connect, end } = await stage({ app: false }))
  })
  after(async () => {
    await end?.()
    await rm(folder, { recursive: true, force: true })
  })

  const rowcast = async (...args) => {
    const env = { ...process.env, DATABASE_URL: database.url }
    return (await run(rowcastBinary(), args, { env, maxBuffer: 2 ** 24 })).stdout
  }

  /** What the compiler says of one of the files in contract/, a line for each error. */
  async function compile(file, ...args) {
    await writeFile(`${folder}/rowcast-events.ts`, await rowcast('types', ...args))
    const compilerOptions = {
      target: 'ES2022',
      lib: ['ES2023', 'DOM'],
      module: 'ESNext',
      moduleResolution: 'Bundler',
      types: [],
      strict: true,
      noUncheckedIndexedAccess: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      paths: {
        'socket.io-client': [here('node_modules/socket.io-client')],
        'rowcast-events': [`${folder}/rowcast-events.ts`],
      },
    }
    const files = [here(`contract/${file}`)]
    await writeFile(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, files }))
    const compiler = here('node_modules/typescript/bin/tsc')
    const outcome = run(process.execPath, [compiler, '--project', folder, '--pretty', 'false'])
    const output = await outcome.then(({ stdout }) => stdout, (error) => error.stdout || error.message)
    return output.split('\n').filter((line) => /error TS/.test(line))
  }

  async function refuses(file, expected) {
    const errors = await compile(file)
    assert.equal(errors.length, 1, errors.join('\n'))
    assert.match(errors[0], expected)
  }

  it('has types with which a frontend compiles under strict', async () => {
    assert.deepEqual(await compile('right.ts'), [])
  })

  it('has types for the sample that stand beside the example of a client', async () => {
    const example = await readFile(here('../../docs/examples/rowcast-events.ts'), 'utf8')
    assert.equal(example, await rowcast('types'), 'expected what `rowcast types` prints for the sample marketplace')
  })

  it('has types that refuse a field which the event lacks', () =>
    refuses('wrong-field.ts', /wrong-field\.ts\(8,70\): error TS2551: Property 'newStok' does not exist .* 'newStock'/))

  it('has types that refuse a column that may be null where a number is needed', () =>
    refuses('null.ts', /null\.ts\(8,59\): error TS\d+: .*possibly 'null'/))

  it('has types that refuse a message without what it needs', () =>
    refuses('wrong-payload.ts', /wrong-payload\.ts\(8,31\): error TS2345: .*\{ product: string; \}.*\{ productId: string \| number;/))

  it('has types that refuse an event which nobody sends', () =>
    refuses('wrong-event.ts', /wrong-event\.ts\(8,11\): error TS2345: .*"product:stock_chnaged"/))

  it('has types for the flat envelope', async () => {
    await writeFile(`${folder}/flat.toml`, '[gateway]\nenvelope = "flat"\n')
    assert.deepEqual(await compile('flat.ts', '--config', `${folder}/flat.toml`), [])
  })

  it('is an AsyncAPI document that the official parser finds valid', async () => {
    for (const args of [[], ['--config', `${folder}/flat.toml`]]) {
      const { document, diagnostics } = await new asyncapi.Parser().parse(await rowcast('asyncapi', ...args))
      const faults = diagnostics.filter(({ severity }) => severity <= asyncapi.DiagnosticSeverity.Warning)
      // 3.0 is what tools read; the parser's word that there is a newer one is a warning less than that.
      assert.deepEqual(faults.map(({ code, message, path }) => `${code} ${path.join('.')}: ${message}`), [])
      assert.equal(document.version(), '3.0.0')
    }
  })

  it('holds what the service sends', async () => {
    const document = JSON.parse(await rowcast('asyncapi'))
    const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(document, 'contract')
    const messages = Object.entries(document.components.messages)
    const seller = await connect('seller-1')
    const buyer = await connect('buyer-1')
    await buyer.joins('join:product', { productId: 'product-1' })
    await database.query("UPDATE products SET stock = 3, price = price + 1, name = 'Another', variants = '[]' WHERE id = 'product-1'")
    await database.query("UPDATE products SET stock = 0 WHERE id = 'product-1'")
    await database.query("UPDATE products SET stock = NULL, images = array['a'] WHERE id = 'product-1'")
    const [order] = await database.query("SELECT id FROM orders WHERE seller_id = 'seller-1' ORDER BY id LIMIT 1")
    await database.query("UPDATE orders SET status = 'shipped', tracking_number = 'T1' WHERE id = $1", [order.id])
    await database.query("UPDATE orders SET status = 'refunded' WHERE id = $1", [order.id])
    await database.query("DELETE FROM products WHERE id = 'product-1'")
    await seller.hears('product:deleted')
    await buyer.hears('product:deleted')

    const kinds = new Set()
    for (const { type, event } of [...seller.heard, ...buyer.heard]) {
      const [name] = messages.find(([, message]) => message.name === type) ?? []
      if (!name) continue // the test's own marker
      const valid = ajv.validate({ $ref: `contract#/components/schemas/${name}` }, event)
      assert.ok(valid, `${JSON.stringify(event)}: ${ajv.errorsText()}`)
      kinds.add(type)
    }
    for (const kind of ['product:updated', 'product:stock_changed', 'product:price_changed', 'order:updated', 'stock:out']) {
      assert.ok(kinds.has(kind), `${kind} was heard, among ${[...kinds]}`)
    }
  })

  it('names the messages that the service knows, with the answers that it gives', async () => {
    const document = JSON.parse(await rowcast('asyncapi'))
    const ajv = new Ajv({ strict: false, allErrors: true }).addSchema(document, 'contract')
    const seller = await connect('seller-1')
    const payloads = {
      join: { room: 'product:product-2' },
      leave: { room: 'product:product-2' },
      'join:product': { productId: 'product-2' },
      'join:storefront': { sellerId: 'seller-1' },
      'chat:typing': { room: 'product:product-2' },
      'notification:read': { all: true },
    }
    const receives = Object.values(document.operations).filter(({ action }) => action === 'receive')
    const named = receives.map(({ messages, reply }) => {
      const of = ({ $ref }) => $ref.split('/').at(-1)
      return { name: document.components.messages[of(messages[0])].name, answer: of(reply.messages[0]) }
    })
    // Whoever types in a room has joined it, and leaves it at the end.
    const turn = (name) => (name.startsWith('join') ? 0 : name.startsWith('leave') ? 2 : 1)
    named.sort((one, other) => turn(one.name) - turn(other.name))
    assert.ok(named.length > 10, JSON.stringify(named))
    for (const { name, answer } of named) {
      const ack = await seller.ask(name, payloads[name] ?? {})
      assert.doesNotMatch(ack.error ?? '', /unknown message/, name)
      if (payloads[name]) assert.equal(ack.success, true, `${name}: ${JSON.stringify(ack)}`)
      assert.ok(ajv.validate({ $ref: `contract#/components/schemas/${answer}` }, ack), `${name}: ${JSON.stringify(ack)}`)
      const told = Object.keys(document.components.schemas[answer].anyOf[0].properties)
      const untold = ack.success ? Object.keys(ack).filter((key) => !told.includes(key)) : []
      assert.deepEqual(untold, [], `${name}: what ${answer} does not tell of`)
    }
  })
})
