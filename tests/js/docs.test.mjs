import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { marketplace } from './harness/paths.mjs'

describe('the documentation for frontends', () => {
  it('has an example that passes the strict type check', async () => {
    const compiler = `${marketplace}/app/node_modules/typescript/bin/tsc`
    const examples = fileURLToPath(new URL('../../docs/examples', import.meta.url))
    await promisify(execFile)(process.execPath, [compiler, '--project', examples]).catch((error) => {
      throw new Error(error.stdout || error.message)
    })
  })
})
