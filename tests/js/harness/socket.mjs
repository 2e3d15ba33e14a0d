import { io } from 'socket.io-client'
import { PATIENCE_MS, within } from './timeout.mjs'

/** A frontend with the official client, connected as the marketplace's own frontends connect. */
export async function connect(url, userId, options = {}) {
  const socket = io(url, {
    auth: { userId },
    autoConnect: true,
    reconnection: true,
    reconnectionDelay: 1000,
    reconnectionAttempts: 5,
    forceNew: true,
    ...options,
  })
  const frontend = new Frontend(socket, userId)
  try {
    await within(frontend.connected, () => `${userId} to connect to ${url}`)
  } catch (error) {
    socket.disconnect()
    throw error
  }
  return frontend
}

/** With what the transport says of an error of its own: the status, or why there was no answer. */
function withCause(error) {
  const { status, statusText, responseText } = error.context ?? {}
  if (status !== undefined) error.message += `: ${status} ${statusText || responseText}`
  return error
}

class Frontend {
  /** Every event so far, in the order of arrival: {type, event}. */
  heard = []
  #waiting = new Set()

  constructor(socket, userId) {
    this.socket = socket
    this.userId = userId
    this.connected = new Promise((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('connect_error', (error) => reject(withCause(error)))
    })
    this.connected.catch(() => {}) // awaited by connect(), which may have given up already
    socket.onAny((type, event) => {
      this.heard.push({ type, event })
      for (const check of [...this.#waiting]) check()
    })
  }

  /** The first event of that type for which `matches` holds, among those heard since `from` or still to come. */
  async hears(type, matches = () => true, { from = 0, timeout = PATIENCE_MS } = {}) {
    const find = () => this.heard.slice(from).find((one) => one.type === type && matches(one.event))
    let check
    const arrived = new Promise((resolve) => {
      check = () => {
        const one = find()
        if (one) resolve(one.event)
      }
      this.#waiting.add(check)
      check()
    })
    const describe = () => `${type} at ${this.userId}, which heard ${JSON.stringify(this.heard.slice(from), null, 1)}`
    try {
      return await within(arrived, describe, timeout)
    } finally {
      this.#waiting.delete(check)
    }
  }

  /** Sends a message and gives its acknowledgement. */
  ask(message, ...payload) {
    const answer = new Promise((resolve) => this.socket.emit(message, ...payload, resolve))
    return within(answer, () => `the acknowledgement of ${message} to ${this.userId}`)
  }

  /** Asks, and fails unless the answer is success. */
  async joins(message, payload) {
    const ack = await this.ask(message, payload)
    if (ack.success !== true) throw new Error(`${this.userId}: ${message} ${JSON.stringify(payload)} gave ${JSON.stringify(ack)}`)
    return ack
  }

  close() {
    this.socket.disconnect()
  }
}
