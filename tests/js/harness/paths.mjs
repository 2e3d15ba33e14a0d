import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export const repository = here('../../..').replace(/\/$/, '')
export const marketplace = here('../../../examples/marketplace')
export const helpdesk = here('../../../examples/helpdesk')

export function rowcastBinary() {
  const path = process.env.ROWCAST_BIN ?? here('../../../target/debug/rowcast')
  return expectFile(path, 'the rowcast binary', 'run `cargo build`, or set ROWCAST_BIN')
}

export function chromiumBinary() {
  if (process.env.CHROMIUM_BIN) return expectFile(process.env.CHROMIUM_BIN, 'Chromium', 'correct CHROMIUM_BIN')
  const folders = (process.env.PATH ?? '').split(delimiter)
  const names = ['chromium', 'chromium-browser', 'google-chrome']
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
  if (!found) throw new Error(`expected one of ${names.join(', ')} on the PATH, found none; install chromium, or set CHROMIUM_BIN`)
  return found
}

/** TypeScript runs through the application's own tsx: as a loader, since its command would put a process in between. */
export function typescriptLoader() {
  const path = `${marketplace}/app/node_modules/tsx/dist/loader.mjs`
  return expectFile(path, "the sample application's dependencies", 'run `npm ci` in examples/marketplace/app')
}

function expectFile(path, what, remedy) {
  if (!existsSync(path)) throw new Error(`expected ${what} at ${path}, found nothing; ${remedy}`)
  return path
}
