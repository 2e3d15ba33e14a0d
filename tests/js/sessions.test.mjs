import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { after, before, describe, it } from 'node:test'
import { createMarketplace } from './harness/database.mjs'
import { sessionTable, startExpress } from './harness/express.mjs'
import { heardSince, installMarker, settle, watchMarker } from './harness/marker.mjs'
import { migrate, startService } from './harness/service.mjs'
import { connect } from './harness/socket.mjs'

const NEW = 'the secret that signs new cookies, long enough'
const ZONE = 'America/Lima'
const OLD = 'the secret that signed the cookies of yesterday'

/** `s:<sid>.<signature>`, as cookie-signature writes it. */
const sign = (sid, secret) => {
  const signature = createHmac('sha256', secret).update(sid).digest('base64').replace(/=+$/, '')
  return `connect.sid=${encodeURIComponent(`s:${sid}.${signature}`)}`
}

for (const [kind, tableName] of [
  ['the sample\'s table, jsonb', 'sessions'],
  ["connect-pg-simple's own table, json", 'session'],
]) {
  describe(`sessions of a real Express application in ${kind}`, () => {
    let database, app, yesterday, service
    const endings = []
    before(async () => {
      database = await createMarketplace()
      endings.push(database.drop)
      if (tableName === 'session') await database.query(await readFile(sessionTable, 'utf8'))
      // Both write `expire` without a time zone, in that of the server. The service has to know which one that is.
      await database.query(`ALTER DATABASE ${new URL(database.url).pathname.slice(1)} SET timezone = '${ZONE}'`)
      await installMarker(database)
      await migrate(database.url)
      app = await startExpress(database.url, { secrets: [NEW, OLD], tableName })
      endings.push(app.stop)
      yesterday = await startExpress(database.url, { secrets: [OLD], tableName })
      endings.push(yesterday.stop)
      service = await startService(database.url, {
        auth: `[auth]
          modes = ['session']
          [auth.session]
          secret_env = ['SESSION_SECRET', 'SESSION_SECRET_OLD']
          table = '${tableName}'\n`,
        env: { SESSION_SECRET: NEW, SESSION_SECRET_OLD: OLD },
      })
      endings.push(service.stop)
    })
    after(async () => {
      for (const end of endings.reverse()) await end()
    })

    const enter = async (cookie, options = {}) => {
      const frontend = await connect(service.url, 'a browser', {
        auth: undefined, reconnection: false, extraHeaders: cookie ? { cookie } : {}, ...options,
      })
      endings.push(async () => frontend.close())
      return frontend
    }
    const refused = (cookie, message = 'the session is not valid; sign in again') => assert.rejects(enter(cookie), { message })
    const order = (buyer) =>
      database.query(
        `INSERT INTO orders (user_id, seller_id, customer_name, customer_email, customer_address, items, total, created_at)
         VALUES ($1, 'seller-1', 'x', 'x', 'x', '[]', 1, now()::text)`,
        [buyer],
      )

    for (const transports of [['polling', 'websocket'], ['websocket']]) {
      it(`who has signed in to the application hears what is for them alone, by ${transports.join(' and ')}`, async () => {
        const browser = app.browser()
        await browser.post('/login/buyer-1')
        const frontend = await enter(browser.cookie(), { transports })
        await watchMarker(frontend)
        const from = frontend.heard.length
        await order('buyer-2')
        await order('buyer-1')
        await frontend.hears('order:updated', ({ data }) => data.buyerId === 'buyer-1')
        await settle(database, [frontend])
        const heard = heardSince(frontend, from).filter(({ type }) => type === 'order:updated')
        assert.deepEqual(heard.map(({ event }) => event.data.buyerId), ['buyer-1'])
      })
    }

    it('who is signed in without Passport is found too', async () => {
      const browser = app.browser()
      await browser.post('/plain-login/seller-1')
      const frontend = await enter(browser.cookie())
      assert.equal((await frontend.ask('join:seller', {})).success, true)
    })

    it('a cookie of yesterday\'s secret signs in as well', async () => {
      const browser = yesterday.browser()
      await browser.post('/login/buyer-1')
      await enter(browser.cookie())
    })

    it('a visitor of the application has a session, and is not signed in', async () => {
      const browser = app.browser()
      assert.deepEqual(await browser.get('/'), { user: null })
      assert.notEqual(browser.cookie(), null)
      await refused(browser.cookie())
      await refused(null, 'sign in first: expected the cookie of a session (withCredentials: true)')
    })

    for (const [way, path] of [['signed out', '/logout'], ['had their session destroyed', '/destroy']]) {
      it(`who has ${way} is refused when they come again`, async () => {
        const browser = app.browser()
        await browser.post('/login/buyer-1')
        const cookie = browser.cookie()
        await enter(cookie)
        await browser.post(path)
        await refused(cookie)
      })
    }

    it('a session that has expired is refused, and one that is used again lives on', async () => {
      const brief = await startExpress(database.url, { secrets: [NEW], tableName, options: { cookie: { maxAge: 2000 } } })
      endings.push(brief.stop)
      const browser = brief.browser()
      await browser.post('/login/buyer-1')
      await enter(browser.cookie())
      // In place of waiting; connect-pg-simple rounds up to the next second.
      await database.query(`UPDATE ${tableName} SET expire = expire - interval '3 seconds' WHERE sid = $1`, [browser.sid()])
      await refused(browser.cookie())
      const lasting = app.browser()
      await lasting.post('/login/buyer-1')
      await database.query(`UPDATE ${tableName} SET expire = now() at time zone '${ZONE}' + interval '5 seconds' WHERE sid = $1`, [lasting.sid()])
      assert.deepEqual(await lasting.get('/'), { user: 'buyer-1' })
      const [{ hours }] = await database.query(
        `SELECT round(extract(epoch FROM expire - now() at time zone '${ZONE}') / 3600)::int AS hours FROM ${tableName} WHERE sid = $1`,
        [lasting.sid()],
      )
      assert.equal(hours, 1)
      await enter(lasting.cookie())
    })

    it('a forged signature is refused, and so is a session id without one', async () => {
      const browser = app.browser()
      await browser.post('/login/buyer-1')
      const sid = browser.sid()
      await enter(sign(sid, NEW)) // the way in which the others are forged is right
      for (const cookie of [
        sign(sid, 'a guess'),
        sign('another', 'a guess'),
        sign('unknown', NEW),
        sign(sid, NEW).slice(0, -1),
        `connect.sid=${sid}`,
        `connect.sid=s%3A${sid}`,
        `connect.sid=s%3A${sid}.`,
      ]) {
        await refused(cookie)
      }
    })
  })
}
