// Generates the Prisma client into generated/ without any download.
//
// `prisma generate` runs no schema engine (the schema is parsed by WebAssembly), yet the CLI fetches one unless it is
// pointed at an existing file. Any executable will do; node itself is one that is always there.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const cli = fileURLToPath(new URL('../node_modules/prisma/build/index.js', import.meta.url))
const { status, error } = spawnSync(process.execPath, [cli, 'generate', '--no-hints'], {
  cwd: root,
  stdio: 'inherit',
  env: {
    PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
    CHECKPOINT_DISABLE: '1',
    ...process.env,
  },
})
if (error) throw error
process.exit(status ?? 1)
