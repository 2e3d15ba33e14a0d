// A typed client for rowcast: joins rooms, drops repeats, and asks for what it missed when it reconnects.

import { io, type Socket } from 'socket.io-client'
// Written by `rowcast types > rowcast-events.ts`, here for the sample marketplace.
import type { ClientToServerEvents, RowcastResync, ServerToClientEvents } from './rowcast-events'

/** What comes in an envelope: all but what the server says of the connection. */
export type EventName = Exclude<keyof ServerToClientEvents, `rowcast:${string}`>

/** An event as its hearers get it. */
export type EventOf<Name extends EventName> = Parameters<ServerToClientEvents[Name]>[0]

export interface Options {
  url: string
  userId?: string
  /** Called when events were or may have been lost: load anew what the page shows. */
  reload: (resync: RowcastResync) => void
  /** Called when the server lets nobody of ours into a room. */
  refused: (room: string, error: string) => void
}

/** Repeats come soon after a reconnect, so a few thousand ids are enough. */
const IDS_KEPT = 5000

type Hear<Name extends EventName> = (event: EventOf<Name>) => void

export class Rowcast {
  readonly #socket: Socket<ServerToClientEvents, ClientToServerEvents>
  readonly #refused: Options['refused']
  readonly #rooms = new Set<string>()
  readonly #hearers = new Map<string, Set<Hear<never>>>()
  readonly #seen = new Set<string>()
  /** Of the last event, and of nothing else: see "Position and resume" in docs/frontend.md. */
  #position: string | undefined
  /** Rooms whose missed events are still to come. Until then the position stays where it is, so that nothing is skipped
   *  if the connection ends before. */
  readonly #behind = new Set<string>()

  constructor({ url, userId, reload, refused }: Options) {
    this.#refused = refused
    this.#socket = io(url, {
      // A function, so that each reconnect tells the present position.
      auth: (send) => send({ userId, since: this.#position }),
    })
    this.#socket.on('connect', () => this.#rooms.forEach((room) => this.#enter(room)))
    this.#socket.on('disconnect', () => this.#behind.clear())
    this.#socket.on('rowcast:resumed', ({ rooms }) => this.#caughtUp(rooms))
    this.#socket.on('rowcast:resync', (resync) => {
      this.#caughtUp(resync.rooms ?? [...this.#behind])
      this.#seen.clear() // of another past, the same ids may be of other events
      reload(resync)
    })
    this.#socket.onAny((name: string, event: EventOf<EventName>) => this.#receive(name, event))
  }

  /** Hears an event, each once; returns the function that stops it. */
  on<Name extends EventName>(name: Name, hear: Hear<Name>): () => void {
    const hearers = this.#hearers.get(name) ?? new Set()
    this.#hearers.set(name, hearers.add(hear))
    return () => void hearers.delete(hear)
  }

  /** Enters a room, now and after each reconnect. */
  join(room: string): void {
    this.#rooms.add(room)
    if (this.#socket.connected) this.#enter(room)
  }

  leave(room: string): void {
    if (this.#rooms.delete(room) && this.#socket.connected) this.#socket.emit('leave', { room })
  }

  close(): void {
    this.#socket.disconnect()
  }

  #enter(room: string): void {
    if (this.#position !== undefined) this.#behind.add(room)
    this.#socket.emit('join', { room, since: this.#position ?? null }, (answer) => {
      if (!answer.success) {
        this.#behind.delete(room)
        this.#refused(room, answer.error)
      } else this.#position ??= answer.position ?? undefined
    })
  }

  #caughtUp(rooms: string[]): void {
    rooms.forEach((room) => this.#behind.delete(room))
  }

  #receive(name: string, event: EventOf<EventName>): void {
    if (event.metadata === undefined) return // rowcast:resumed and rowcast:resync
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
