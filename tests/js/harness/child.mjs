import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { within } from './timeout.mjs'

const STOP_MS = 10_000
const running = new Set()

// The last resort, for a test process that ends before its `after` hooks ran.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/**
 * Starts a process and waits until its output holds `ready`.
 * Gives the match, the output so far, and a way to stop it.
 */
export async function startChild(command, args, { env = {}, cwd, ready }) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const ended = once(child, 'close').catch((error) => [error.message])
  ended.then(() => running.delete(child))

  let output = ''
  const seen = new Promise((resolve, reject) => {
    const read = (chunk) => {
      output += chunk
      const match = ready.exec(output)
      if (match) resolve(match)
    }
    child.stdout.setEncoding('utf8').on('data', read)
    child.stderr.setEncoding('utf8').on('data', read)
    ended.then(([code, signal]) => reject(new Error(`${command} ended (${code ?? signal}) before it was ready:\n${output}`)))
  })

  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    try {
      await within(ended, () => `${command} to end after SIGTERM; its output:\n${output}`, STOP_MS)
    } catch (error) {
      child.kill('SIGKILL')
      await ended
      throw error
    }
  }

  try {
    const match = await within(seen, () => `${command} to print ${ready}; it printed:\n${output}`, 30_000)
    return { match, stop, output: () => output }
  } catch (error) {
    child.kill('SIGKILL')
    await ended
    throw error
  }
}
