import { createReadStream, type ReadStream } from 'node:fs'
import { fileURLToPath } from 'node:url'

const web = new URL('../../web/', import.meta.url)
const socketClient = new URL('../node_modules/socket.io-client/dist/socket.io.min.js', import.meta.url)

const files: Record<string, { location: URL; type: string }> = {
  '/': { location: new URL('index.html', web), type: 'text/html; charset=utf-8' },
  '/page.js': { location: new URL('page.js', web), type: 'text/javascript; charset=utf-8' },
  '/page.css': { location: new URL('page.css', web), type: 'text/css; charset=utf-8' },
  '/socket.io-client.js': { location: socketClient, type: 'text/javascript; charset=utf-8' },
}

export function openPage(path: string): { content: ReadStream; type: string } | null {
  const file = Object.hasOwn(files, path) ? files[path] : undefined
  if (file === undefined) return null
  return { content: createReadStream(fileURLToPath(file.location)), type: file.type }
}
