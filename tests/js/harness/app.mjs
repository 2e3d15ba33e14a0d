import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { execFile } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { startChild } from './child.mjs'
import { marketplace, typescriptLoader } from './paths.mjs'

/** The sample application as it stands. */
export const startApp = (databaseUrl) => run(`${marketplace}/app`, databaseUrl)

/** A later version of the application: the same code, with the Prisma schema that `edit` makes of the present one. */
export async function startNextApp(databaseUrl, edit) {
  const root = await mkdtemp(`${tmpdir()}/marketplace-`)
  const forget = () => rm(root, { recursive: true, force: true })
  try {
    const present = `${marketplace}/app`
    for (const part of ['src', 'prisma', 'package.json', 'prisma.config.ts', 'tsconfig.json']) {
      await cp(`${present}/${part}`, `${root}/${part}`, { recursive: true })
    }
    await symlink(`${present}/node_modules`, `${root}/node_modules`)
    const schema = `${root}/prisma/schema.prisma`
    await writeFile(schema, edit(await readFile(schema, 'utf8')))
    await promisify(execFile)(process.execPath, [`${root}/prisma/generate.mjs`])
    const app = await run(root, databaseUrl)
    return { ...app, stop: () => app.stop().finally(forget) }
  } catch (error) {
    await forget()
    throw error
  }
}

async function run(root, databaseUrl) {
  const child = await startChild(process.execPath, ['--import', pathToFileURL(typescriptLoader()).href, `${root}/src/main.ts`], {
    cwd: root,
    env: { DATABASE_URL: databaseUrl, APP_PORT: '0' },
    ready: /the marketplace is at (http:\/\/localhost:\d+)/,
  })
  const url = child.match[1]
  const call = (method) => async (path, body = {}) => {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: method === 'GET' ? undefined : JSON.stringify(body),
    })
    const answer = await response.json()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status}, ${answer.error}\n${child.output()}`)
    return answer
  }
  return {
    url,
    stop: child.stop,
    get: call('GET'),
    post: call('POST'),
    put: call('PUT'),
    patch: call('PATCH'),
    delete: call('DELETE'),
  }
}
