import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { marketplace } from './harness/paths.mjs'

describe('the sample application', () => {
  it('does not know that rowcast exists', async () => {
    const files = ['package.json', 'prisma.config.ts', 'prisma/schema.prisma', ...(await readdir(`${marketplace}/app/src`)).map((name) => `src/${name}`)]
    for (const file of files) {
      assert.doesNotMatch(await readFile(`${marketplace}/app/${file}`, 'utf8'), /rowcast|socket\.on|NOTIFY|LISTEN /, file)
    }
  })

  it('passes the strict type check', async () => {
    const compiler = `${marketplace}/app/node_modules/typescript/bin/tsc`
    await promisify(execFile)(process.execPath, [compiler, '--noEmit'], { cwd: `${marketplace}/app` }).catch((error) => {
      throw new Error(error.stdout || error.message)
    })
  })
})
