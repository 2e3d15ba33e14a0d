import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { z } from 'zod'
import { carts } from './carts.ts'
import type { Db } from './db.ts'
import { Prisma } from '../generated/prisma/client.ts'
import { orders } from './orders.ts'
import { openPage } from './page.ts'
import { products } from './products.ts'
import { quotations } from './quotations.ts'
import { Refusal, type Route } from './route.ts'
import { users } from './users.ts'
import { wholesale } from './wholesale.ts'

const MAX_BODY_BYTES = 1024 * 1024

const routes: Route[] = [...users, ...products, ...carts, ...orders, ...quotations, ...wholesale]

export function createApp(db: Db): Server {
  return createServer((request, response) => {
    answer(db, request, response).catch((error: unknown) => refuse(response, error))
  })
}

async function answer(db: Db, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://app')
  for (const route of routes) {
    const params = route.method === request.method ? match(route.path, url.pathname) : null
    if (params === null) continue
    const body = await readJson(request)
    const result = await route.handle({ db, params, query: url.searchParams, body })
    return reply(response, route.method === 'POST' ? 201 : 200, result ?? null)
  }
  const file = request.method === 'GET' ? openPage(url.pathname) : null
  if (file === null) throw new Refusal(404, `nothing is at ${request.method} ${url.pathname}`)
  response.writeHead(200, { 'content-type': file.type, 'cache-control': 'no-cache' })
  file.content.on('error', () => response.destroy())
  file.content.pipe(response)
}

function match(pattern: string, path: string): Record<string, string> | null {
  const expected = pattern.split('/')
  const actual = path.split('/')
  if (expected.length !== actual.length) return null
  const params: Record<string, string> = {}
  for (const [index, part] of expected.entries()) {
    const value = actual[index] ?? ''
    if (part.startsWith(':')) params[part.slice(1)] = decodeURIComponent(value)
    else if (part !== value) return null
  }
  return params
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Refusal(413, `the body is larger than ${MAX_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  if (size === 0) return {}
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new Refusal(400, 'the body is not JSON')
  }
}

function refuse(response: ServerResponse, error: unknown): void {
  const { status, message } = explain(error)
  if (status === 500) console.error(error)
  if (response.headersSent) response.destroy()
  else reply(response, status, { error: message })
}

function explain(error: unknown): { status: number; message: string } {
  if (error instanceof Refusal) return error
  if (error instanceof URIError) return { status: 400, message: 'the address is not valid' }
  if (error instanceof z.ZodError) return { status: 400, message: z.prettifyError(error) }
  if (error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2025') {
    return { status: 404, message: 'there is no such record' }
  }
  return { status: 500, message: 'something went wrong; the log has more' }
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' })
  response.end(JSON.stringify(body))
}
