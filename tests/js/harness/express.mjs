import { once } from 'node:events'
import { createRequire } from 'node:module'
import express from 'express'
import session from 'express-session'
import connectPgSimple from 'connect-pg-simple'
import passport from 'passport'
import pg from 'pg'

const require = createRequire(import.meta.url)

/** What connect-pg-simple asks its users to run. */
export const sessionTable = require.resolve('connect-pg-simple/table.sql')

/**
 * An application that knows nothing of rowcast: Express keeps its sessions in Postgres, and Passport says who has signed
 * in. `secrets` sign the cookie, the first of them new ones; `options` go to express-session.
 */
export async function startExpress(databaseUrl, { secrets, tableName, options = {} }) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4 })
  pool.on('error', () => {})
  const Store = connectPgSimple(session)
  const store = new Store({ pool, tableName, pruneSessionInterval: false })

  const auth = new passport.Passport()
  auth.serializeUser((user, done) => done(null, user.id))
  auth.deserializeUser((id, done) => done(null, { id }))

  const app = express()
  app.use(session({ store, secret: secrets, resave: false, saveUninitialized: true, cookie: { maxAge: 3_600_000 }, ...options }))
  app.use(auth.session())
  app.get('/', (request, response) => response.json({ user: request.user?.id ?? null }))
  app.post('/login/:user', (request, response, next) => {
    request.login({ id: request.params.user }, (error) => (error ? next(error) : response.json({})))
  })
  // As applications without Passport do it.
  app.post('/plain-login/:user', (request, response) => {
    request.session.userId = request.params.user
    response.json({})
  })
  app.post('/logout', (request, response, next) => {
    request.logout((error) => (error ? next(error) : response.json({})))
  })
  app.post('/destroy', (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json({})))
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}`

  return {
    /** A browser, as far as cookies go. */
    browser() {
      let cookie = null
      const request = async (method, path) => {
        const response = await fetch(`${url}${path}`, { method, headers: cookie ? { cookie } : {} })
        if (!response.ok) throw new Error(`${method} ${path}: ${response.status}, ${await response.text()}`)
        const [given] = response.headers.getSetCookie()
        if (given) cookie = given.split(';')[0]
        return response.json()
      }
      return {
        get: (path) => request('GET', path),
        post: (path) => request('POST', path),
        cookie: () => cookie,
        /** The session's id: what stands between `s:` and the signature. */
        sid: () => /=s%3A([^.]+)\./.exec(cookie)[1],
      }
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
      await pool.end()
    },
  }
}
