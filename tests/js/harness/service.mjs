import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { startChild } from './child.mjs'
import { rowcastBinary } from './paths.mjs'
import { until } from './timeout.mjs'

export async function migrate(databaseUrl) {
  return promisify(execFile)(rowcastBinary(), ['migrate'], { env: { ...process.env, DATABASE_URL: databaseUrl } })
}

/**
 * `rowcast serve` on a free port, ready to be connected to, also by a page that stands at `origin`; with the rules of the
 * directory `catalog` instead of the built-in ones, and with settings of the section `[gateway]`. `auth` is TOML that says
 * how clients sign in; without it, every client is believed. `env` is what the process finds in its environment.
 */
export async function startService(databaseUrl, { origin, catalog, gateway = {}, auth, env = {} } = {}) {
  const folder = await mkdtemp(`${tmpdir()}/rowcast-service-`)
  const config = `${folder}/rowcast.toml`
  const rules = catalog ? `[catalog]\ndir = ${JSON.stringify(catalog)}\n` : ''
  const settings = { ...gateway, ...(origin && { allowed_origins: [origin] }) }
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
  await writeFile(config, `${auth ?? "[auth]\nmodes = ['insecure']\n"}${rules}[gateway]\n${lines.join('')}`)
  const forget = () => rm(folder, { recursive: true, force: true })
  try {
    const service = await serve(databaseUrl, config, env)
    return { ...service, stop: () => service.stop().finally(forget) }
  } catch (error) {
    await forget()
    throw error
  }
}

async function serve(databaseUrl, config, env) {
  const addresses = { ROWCAST_LISTEN: '127.0.0.1:0', ROWCAST_ADMIN_LISTEN: '127.0.0.1:0' }
  const child = await startChild(rowcastBinary(), ['serve', '--config', config], {
    env: { ...env, ...addresses, DATABASE_URL: databaseUrl, NO_COLOR: '1' },
    ready: /listening on (http:\/\/127\.0\.0\.1:\d+)/,
  })
  const url = child.match[1]
  const ready = async () => (await fetch(`${url}/readyz`)).status === 200
  try {
    await until(ready, () => `${url}/readyz to give 200; the service said:\n${child.output()}`)
  } catch (error) {
    await child.stop()
    throw error
  }
  return { url, stop: child.stop, output: child.output }
}
