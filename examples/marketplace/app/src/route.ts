import { z } from 'zod'
import type { Db } from './db.ts'

export interface Request {
  db: Db
  params: Record<string, string>
  query: URLSearchParams
  body: unknown
}

export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string // '/api/products/:id'
  handle: (request: Request) => Promise<unknown>
}

/** A failure that the caller of the API can act upon. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

export function found<T>(row: T | null, what: string): T {
  if (row === null) throw new Refusal(404, `there is no ${what}`)
  return row
}

export function param(request: Request, name: string): string {
  const value = request.params[name]
  if (value === undefined) throw new Error(`the route has no parameter ${name}`)
  return value
}

export const money = z
  .string()
  .regex(/^\d{1,8}(\.\d{1,2})?$/, 'expected an amount such as "12.50"')

export const quantity = z.number().int().positive()
