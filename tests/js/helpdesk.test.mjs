import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { startChild } from './harness/child.mjs'
import { createDatabase } from './harness/database.mjs'
import { helpdesk, repository, rowcastBinary } from './harness/paths.mjs'
import { migrate, startService } from './harness/service.mjs'
import { connect } from './harness/socket.mjs'
import { until } from './harness/timeout.mjs'

const run = promisify(execFile)

describe('a help desk with rules of its own', () => {
  let database, service, agent, other, customer, stranger
  const endings = []
  before(async () => {
    database = await createDatabase([`${helpdesk}/schema.sql`, `${helpdesk}/seed.sql`])
    endings.push(database.drop)
    await migrate(database.url)
    for (const table of ['tickets', 'comments']) {
      await run(rowcastBinary(), ['watch', table], { env: { ...process.env, DATABASE_URL: database.url } })
    }
    service = await startService(database.url, { catalog: `${helpdesk}/catalog` })
    endings.push(service.stop)
    ;[agent, other, customer, stranger] = await Promise.all(
      ['ada', 'ben', 'carol', 'dave'].map((user) => connect(service.url, user)),
    )
    endings.push(async () => [agent, other, customer, stranger].forEach((frontend) => frontend.close()))
  })
  after(async () => {
    for (const end of endings.reverse()) await end()
  })

  const kinds = (frontend) => frontend.heard.map(({ type }) => type)

  it('lets agents alone into the rooms of tickets', async () => {
    const ack = await agent.ask('join:ticket', { ticketId: 1 })
    assert.equal(ack.success, true)
    assert.equal(ack.room, 'ticket:1')
    for (const room of ['ticket:1', 'agents', 'user:ada']) {
      assert.equal((await customer.ask('join', { room })).success, false, `a customer in ${room}`)
    }
    assert.equal((await customer.ask('join:ticket', { ticketId: 1 })).success, false)
  })

  it('keeps internal comments, and other people\'s tickets, from customers', async () => {
    await database.query("insert into comments (ticket_id, author_id, body, internal) values (1, 'ben', 'Again?', true)")
    await database.query("insert into comments (ticket_id, author_id, body) values (1, 'ben', 'Unplug it.')")
    const seen = await agent.hears('comment:added', ({ data }) => data.internal)
    assert.equal(seen.data.body, 'Again?')
    assert.equal(seen.userId, 'ben')
    const heard = await customer.hears('comment:added')
    assert.deepEqual(heard.data, {
      ticketId: 1, title: 'The printer is on fire', commentId: 2, authorId: 'ben', body: 'Unplug it.',
    })
    // In order, so whatever came before the second comment has been heard by now.
    assert.deepEqual(kinds(customer), ['comment:added'])
    await agent.hears('comment:added', ({ data }) => !data.internal)
    assert.deepEqual(kinds(agent), ['comment:added', 'comment:added'], 'each once, though in two rooms')

    await database.query("insert into comments (ticket_id, author_id, body) values (2, 'dave', 'Hello?')")
    const own = await stranger.hears('comment:added')
    assert.equal(own.ticketId, 2)
    assert.deepEqual(kinds(stranger), ['comment:added'], "nothing of another customer's ticket")
    assert.deepEqual(kinds(customer), ['comment:added'])
  })

  it('tells the customer and the agents of a solved ticket, with the fee to the last digit', async () => {
    await database.query("update tickets set status = 'solved', fee = 12.50 where id = 1")
    for (const frontend of [agent, other, customer]) {
      const { data } = await frontend.hears('ticket:solved')
      assert.deepEqual(data, { ticketId: 1, title: 'The printer is on fire', fee: '12.50' })
      const changed = await frontend.hears('ticket:status_changed')
      assert.deepEqual([changed.data.oldStatus, changed.data.newStatus, changed.ticketId], ['open', 'solved', 1])
    }
  })

  it('tells the agent who gets a ticket and the one who had it', async () => {
    await database.query("update tickets set agent_id = 'ben' where id = 1")
    for (const frontend of [agent, other]) assert.equal((await frontend.hears('ticket:assigned')).data.agentId, 'ben')
    await database.query("update tickets set agent_id = 'ada', status = 'pending' where id = 2")
    assert.equal((await agent.hears('ticket:assigned', ({ ticketId }) => ticketId === 2)).data.agentId, 'ada')
    await stranger.hears('ticket:status_changed')
    assert.deepEqual(kinds(stranger), ['comment:added', 'ticket:status_changed'], 'who works on it is no business of customers')
  })
})

describe('the page on rules of your own', () => {
  let database, blocks, folder, shell, serviceUrl
  const running = new Map()
  before(async () => {
    database = await createDatabase([])
    folder = await mkdtemp(`${tmpdir()}/custom-rules-`)
    // A clone that has been built, and a home.
    await mkdir(`${folder}/clone/target/release`, { recursive: true })
    await symlink(rowcastBinary(), `${folder}/clone/target/release/rowcast`)
    for (const path of ['examples', 'catalog']) await symlink(`${repository}/${path}`, `${folder}/clone/${path}`)
    await mkdir(`${folder}/home`)
    const { DATABASE_URL, ROWCAST, ...environment } = process.env
    Object.assign(environment, { HOME: `${folder}/home`, ROWCAST_LISTEN: '127.0.0.1:0', ROWCAST_ADMIN_LISTEN: '127.0.0.1:0', NO_COLOR: '1' })
    shell = { folder: `${folder}/clone`, environment }
    const page = await readFile(`${repository}/docs/custom-rules.md`, 'utf8')
    blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text]) => ({ language, text }))
  })
  after(async () => {
    for (const child of [...running.values()].reverse()) await child.stop()
    await database?.drop()
    if (folder) await rm(folder, { recursive: true, force: true })
  })

  it('shows what happens, command by command', async () => {
    const { stdout: clean } = await run('git', ['status', '--porcelain', 'catalog', 'examples'], { cwd: repository })
    let ran = 0
    for (const { language, text } of blocks) {
      if (language === 'console') for (const step of steps(text)) (ran += 1), await follow(step)
      if (language === 'toml' || language === 'js') await write(text)
      if (language === 'text') await transcript(text)
    }
    assert.ok(ran > 20, `expected the page's commands, found ${ran}`)
    assert.equal(shell.folder, `${folder}/home/helpdesk`)
    const { stdout } = await run('git', ['status', '--porcelain', 'catalog', 'examples'], { cwd: repository })
    assert.equal(stdout, clean, 'the clone is as it was')
  })

  it('teaches rules that stand in the example too', async () => {
    for (const { text } of blocks.filter(({ language }) => language === 'toml')) {
      const [, path, body] = /^# catalog\/(\S+)\n(.*)$/s.exec(text)
      const example = await readFile(`${helpdesk}/catalog/${path}`, 'utf8')
      assert.ok(example.includes(body.trim()), `${path} of the page is in ${helpdesk}/catalog/${path}`)
    }
  })

  /** The commands of a block, each with what it prints; "> " goes on with the line above. */
  function steps(text) {
    const found = []
    for (const line of text.split('\n').slice(0, -1)) {
      if (line.startsWith('$ ')) found.push({ command: line.slice(2), output: [] })
      else if (line.startsWith('> ')) found.at(-1).command += `\n${line.slice(2)}`
      else found.at(-1).output.push(line)
    }
    return found
  }

  /** One command after the other, as in one terminal: where it is and what is exported stays. */
  async function follow({ command, output }) {
    if (/^(rowcast serve|node client)/.test(command)) return start(command, output)
    if (command === 'createdb helpdesk') return // the test's database is there
    const here = command.replace('postgres://localhost/helpdesk', database.url)
    const script = `${here}\npwd > ${folder}/pwd; env -0 > ${folder}/env\n`
    const { stdout, stderr } = await run('bash', ['-c', script], { cwd: shell.folder, env: shell.environment })
      .catch((error) => error)
    const exported = (await readFile(`${folder}/env`, 'utf8')).split('\0').filter(Boolean)
    shell = {
      folder: (await readFile(`${folder}/pwd`, 'utf8')).trimEnd(),
      environment: Object.fromEntries(exported.map((line) => /^([^=]*)=(.*)$/s.exec(line).slice(1))),
    }
    matches(command, output.join('\n'), `${stdout}${stderr}`)
  }

  async function start(command, output) {
    const [program, ...args] = command.split(' ')
    const serves = program === 'rowcast'
    const child = await startChild(serves ? rowcastBinary() : process.execPath, args, {
      cwd: shell.folder,
      env: shell.environment,
      ready: serves ? /listening on (http:\S+)/ : /is connected\n/,
    })
    running.set(serves ? 'service' : args[1], child)
    if (!serves) return matches(command, output.join('\n'), child.output())
    assert.match(output.join('\n'), /^…listening on http:\/\/127\.0\.0\.1:4000$/)
    serviceUrl = child.match[1]
    const ready = async () => (await fetch(`${serviceUrl}/readyz`)).status === 200
    await until(ready, () => `the service to be ready:\n${child.output()}`)
  }

  /** Files name themselves in their first line. The client is given the service's port. */
  async function write(text) {
    const [, path] = /^(?:#|\/\/) (\S+)\n/.exec(text)
    if (!existsSync(`${shell.folder}/node_modules`)) {
      await symlink(`${repository}/tests/js/node_modules`, `${shell.folder}/node_modules`)
    }
    await mkdir(dirname(`${shell.folder}/${path}`), { recursive: true })
    await writeFile(`${shell.folder}/${path}`, text.replace('http://localhost:4000', serviceUrl))
  }

  /** Everything that a client prints, from its start. */
  async function transcript(text) {
    const user = text.split(' ')[0]
    const lines = text.split('\n').length
    const child = running.get(user)
    await until(() => child.output().split('\n').length >= lines, () => `${user} to hear\n${text}\nheard:\n${child.output()}`)
    matches(user, text, child.output())
  }

  function matches(what, expected, found) {
    const any = expected.trimEnd().split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')
    assert.match(found.trimEnd(), new RegExp(`^${any}$`, 's'), `${what} printed\n${found}\nthe page says\n${expected}`)
  }
})
