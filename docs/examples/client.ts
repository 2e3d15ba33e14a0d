// A typed client for rowcast: joins rooms, drops repeats, asks for what it missed when it reconnects, and comes back when
// it was sent away for saying too much. It tells the server a user id, as `--auth insecure` takes it; hand over your token in
// `auth` instead.

import { io, type Socket } from 'socket.io-client'
// Written by `rowcast types > rowcast-events.ts`, here for the sample marketplace.
import type { ClientToServerEvents, Refused, RoomAnswer, RowcastResync, ServerToClientEvents } from './rowcast-events'

/** What comes in an envelope: all but what the server says of the connection. */
export type EventName = Exclude<keyof ServerToClientEvents, `rowcast:${string}`>

/** An event as its hearers get it. */
export type EventOf<Name extends EventName> = Parameters<ServerToClientEvents[Name]>[0]

export interface Options {
  url: string
  userId?: string
  /** Called once, when the connection is there: load what you show of your own, or load it again. */
  connected?: () => void
  /** Called when events were or may have been lost: load anew what the page shows. */
  reload: (resync: RowcastResync) => void
  /** Called when the server doesn't let us into a room. */
  refused: (room: string, error: string) => void
  /** Called when the server has ended or refused the connection: sign in anew, then `connect()`. */
  closed: (message: string) => void
}

/** Repeats come soon after a reconnect, so a few thousand ids are enough. */
const IDS_KEPT = 5000
/** So many rooms are joined with one message. */
const ROOMS_AT_ONCE = 100
/** Seconds after which who was sent away for saying too much is heard again, and who is to try again in a moment may. */
const MINUTE = 60
const MOMENT = 5

type Hear<Name extends EventName> = (event: EventOf<Name>) => void

export class Rowcast {
  readonly #options: Options
  readonly #socket: Socket<ServerToClientEvents, ClientToServerEvents>
  readonly #rooms = new Set<string>()
  /** Rooms that are still to be joined or left. */
  readonly #touched = new Set<string>()
  /** To be called once a room has been entered. */
  readonly #live = new Map<string, (() => void)[]>()
  /** Rooms that we have been in since `join`, and may be in. */
  readonly #entered = new Set<string>()
  /** Rooms that we had been in, and were then not let into any more. */
  readonly #barred = new Set<string>()
  /** Those of them that we are in on this connection. */
  readonly #here = new Set<string>()
  readonly #hearers = new Map<string, Set<Hear<never>>>()
  readonly #seen = new Set<string>()
  /** Of the last event, and of nothing else: see "Position and resume" in docs/frontend.md. */
  #position: string | undefined
  /** Rooms that we had been in before this connection, until what was missed in them has come, or is to be loaded anew. Until
   *  then the position stays where it is, so that nothing is skipped if the connection ends before. */
  readonly #behind = new Set<string>()
  /** A message of ours waits for its answer, or the server doesn't hear us for a while: what is touched meanwhile waits. */
  #silent = false
  /** Grows with each connection: answers to what was asked on a former one are none. */
  #connections = 0
  #closed = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: Options) {
    this.#options = options
    this.#socket = io(options.url, {
      // A function, so that each reconnect tells the present position.
      auth: (send) => send({ userId: options.userId, since: this.#position }),
    })
    this.#socket.on('connect', () => this.#connected())
    this.#socket.on('disconnect', () => {
      this.#behind.clear()
      this.#here.clear()
      this.#silent = false
      clearTimeout(this.#timer)
    })
    this.#socket.on('connect_error', ({ message }) => {
      if (this.#socket.active) return // it tries again by itself
      const wait = /try again in (a moment|(\d+) s)/.exec(message)
      if (wait) this.#later(Number(wait[2] ?? MOMENT), () => this.connect())
      else options.closed(message)
    })
    this.#socket.on('rowcast:closing', ({ reason, message }) => {
      // Once the disconnect that follows is over: before, there is nothing to connect.
      this.#socket.once('disconnect', () => {
        if (reason === 'too_many_messages') this.#later(MINUTE, () => this.connect())
        else options.closed(message)
      })
    })
    this.#socket.on('rowcast:resumed', ({ rooms }) => this.#caughtUp(rooms))
    this.#socket.on('rowcast:resync', (resync) => {
      // Rooms that we have yet to enter again are answered by themselves.
      this.#caughtUp(resync.rooms ?? [...this.#behind].filter((room) => this.#here.has(room)))
      if (this.#behind.size === 0) this.#position = resync.position ?? undefined // the former is good no more
      this.#seen.clear() // of another past, the same ids may be of other events
      options.reload(resync)
    })
    this.#socket.onAny((name: string, event: EventOf<EventName>) => this.#receive(name, event))
  }

  /** Hears an event, each once; returns the function that stops it. */
  on<Name extends EventName>(name: Name, hear: Hear<Name>): () => void {
    const hearers = this.#hearers.get(name) ?? new Set()
    this.#hearers.set(name, hearers.add(hear))
    return () => void hearers.delete(hear)
  }

  /** Enters a room, now and after each reconnect. `live` is called once it has been entered: what is loaded from then on
   *  misses nothing. */
  join(room: string, live?: () => void): void {
    this.#rooms.add(room)
    if (live) this.#live.set(room, [...(this.#live.get(room) ?? []), live])
    this.#touch(room)
  }

  leave(room: string): void {
    this.#live.delete(room)
    for (const rooms of [this.#entered, this.#barred, this.#here, this.#behind]) rooms.delete(room)
    if (this.#rooms.delete(room)) this.#touch(room)
  }

  /** Connects again, after `closed`. */
  connect(): void {
    if (!this.#closed) this.#socket.connect()
  }

  /** Ends the connection, for good. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#socket.disconnect()
  }

  #connected(): void {
    this.#connections += 1
    this.#entered.forEach((room) => this.#behind.add(room))
    this.#touched.clear() // we are in none of them
    this.#rooms.forEach((room) => this.#touched.add(room))
    this.#tell()
    if (this.#connections === 1) this.#options.connected?.()
    // The connection ended before any event told where we stand.
    else if (this.#position === undefined) this.#options.reload(unknown())
  }

  /** What a page does at once is told with one message. */
  #touch(room: string): void {
    if (this.#touched.size === 0) queueMicrotask(() => this.#tell())
    this.#touched.add(room)
  }

  /** Tells the next of what is to be told: one message at a time. */
  #tell(): void {
    if (!this.#socket.connected || this.#silent) return // then all rooms are entered, or it goes on
    const touched = [...this.#touched]
    const next = (wanted: (room: string) => boolean) => touched.filter(wanted).slice(0, ROOMS_AT_ONCE)
    const left = next((room) => !this.#rooms.has(room))
    const behind = next((room) => this.#behind.has(room))
    const fresh = next((room) => this.#rooms.has(room) && !this.#behind.has(room))
    const answered = (rooms: string[], then: (answer: RoomAnswer | Refused) => void) => {
      const connection = this.#connections
      rooms.forEach((room) => this.#touched.delete(room))
      this.#silent = true
      return (answer: RoomAnswer | Refused) => {
        if (connection !== this.#connections) return
        if (!answer.success && answer.retryAfter !== undefined) {
          rooms.forEach((room) => this.#touched.add(room))
          this.#later(answer.retryAfter, () => {
            this.#silent = false
            this.#tell()
          })
          return
        }
        this.#silent = false
        try {
          then(answer)
        } finally {
          this.#tell() // also where the page's code fails
        }
      }
    }
    if (left.length > 0) this.#socket.emit('leave', { rooms: left }, answered(left, () => {}))
    else if (behind.length > 0) {
      // What was missed of a room that we had been in comes before what is new.
      const since = this.#position ?? null
      this.#socket.emit('join', { rooms: behind, since }, answered(behind, (answer) => this.#entering(behind, answer, since !== null)))
    } else if (fresh.length > 0) {
      this.#socket.emit('join', { rooms: fresh }, answered(fresh, (answer) => this.#entering(fresh, answer, false)))
    }
  }

  #entering(rooms: string[], answer: RoomAnswer | Refused, resumed: boolean): void {
    const refused = new Set(answer.success ? answer.refused : rooms)
    const entered = rooms.filter((room) => !refused.has(room) && this.#rooms.has(room))
    // What the page shows of these is of before.
    const old = resumed ? [] : entered.filter((room) => this.#behind.has(room) || this.#barred.has(room))
    const calls: (() => void)[] = []
    for (const room of entered) {
      this.#entered.add(room)
      this.#here.add(room)
      this.#barred.delete(room)
      calls.push(...(this.#live.get(room) ?? []))
      this.#live.delete(room)
    }
    for (const room of refused) {
      if (this.#entered.delete(room)) this.#barred.add(room)
      this.#live.delete(room)
    }
    this.#caughtUp([...refused, ...old])
    if (answer.success && this.#behind.size === 0) this.#position ??= answer.position ?? undefined
    refused.forEach((room) => this.#options.refused(room, answer.success ? 'you may not join it' : answer.error))
    if (old.length > 0) this.#options.reload({ ...unknown(), rooms: old })
    calls.forEach((call) => call())
  }

  #later(seconds: number, call: () => void): void {
    clearTimeout(this.#timer)
    if (!this.#closed) this.#timer = setTimeout(call, seconds * 1000)
  }

  #caughtUp(rooms: string[]): void {
    rooms.forEach((room) => this.#behind.delete(room))
  }

  #receive(name: string, event: EventOf<EventName>): void {
    if (event.metadata === undefined) return // what the server says of the connection
    const { id, position } = event.metadata
    if (this.#behind.size === 0) this.#position = position
    if (this.#seen.has(id)) return
    this.#seen.add(id)
    for (const oldest of this.#seen) {
      if (this.#seen.size <= IDS_KEPT) break
      this.#seen.delete(oldest)
    }
    this.#hearers.get(name)?.forEach((hear) => hear(event as never))
  }
}

function unknown(): RowcastResync {
  return { reason: 'what happened while the connection was down is not known', position: null }
}
