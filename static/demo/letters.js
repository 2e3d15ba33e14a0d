// What is in a user's inbox, as far as it is known here. What another device of the user does arrives as events.

import { Recent } from './recent.js';

const PAGE = 20;
const CHANGES_KEPT = 1000;

export class Letters {
  /** `ask(message, payload)` says something to the server as the user, and gives the answer, or null if it is too late. */
  constructor(ask) {
    this.ask = ask;
    this.forget();
  }

  /** Another user's come. */
  forget() {
    /** Id to what `notification:list` tells of it; `isNew` marks those that an event brought. */
    this.known = new Map();
    /** Id to "read" or "deleted": events may overtake the answer to a list that was read before. */
    this.changes = new Recent(CHANGES_KEPT);
    /** For the next page; null at the end. */
    this.next = null;
    /** In the whole inbox; null while that is not known. */
    this.unread = null;
  }

  newestFirst() {
    return [...this.known].sort(([, a], [, b]) => b.createdAt.localeCompare(a.createdAt));
  }

  /** What `notification:KIND` says; `at` is its time. */
  hear(kind, data, at) {
    const { notificationId: id, unread, ...letter } = data;
    // It lies in the inbox of the store's owner, and not in this one.
    if (unread === undefined) return;
    if (kind === 'read' || kind === 'deleted') this.become(id, kind);
    else this.known.set(id, { ...letter, kind, createdAt: at.toISOString(), readAt: null, isNew: true });
    this.unread = unread;
  }

  // What follows asks the server, and gives what went wrong, in words, or null.

  /** The newest page, instead of all that is known. */
  async load() {
    const before = this.known;
    // What an event brings until the answer comes goes in here, and stays.
    const meanwhile = new Map();
    this.known = meanwhile;
    const answer = await this.ask('notification:list', { limit: PAGE });
    if (answer?.success) {
      this.take(answer);
      this.unread = answer.unread;
      return null;
    }
    if (answer && this.known === meanwhile) this.known = new Map([...before, ...meanwhile]);
    return answer?.error ?? null;
  }

  async more() {
    if (this.next === null) return null;
    const answer = await this.ask('notification:list', { limit: PAGE, before: this.next });
    if (answer?.success) this.take(answer);
    return answer?.error ?? null;
  }

  read(id) {
    return this.change('notification:read', { notificationId: id }, [id], 'read');
  }

  readAll() {
    return this.change('notification:read', { all: true }, [...this.known.keys()], 'read');
  }

  delete(id) {
    return this.change('notification:delete', { notificationId: id }, [id], 'deleted');
  }

  async change(message, payload, ids, change) {
    const answer = await this.ask(message, payload);
    if (!answer?.success) return answer?.error ?? null;
    for (const id of ids) this.become(id, change);
    this.unread = answer.unread;
    return null;
  }

  take({ notifications, next }) {
    for (const { notificationId: id, ...letter } of notifications) {
      const change = this.changes.get(id);
      if (change === 'deleted' || this.known.has(id)) continue;
      this.known.set(id, change === 'read' ? { ...letter, readAt: letter.readAt ?? 'now' } : letter);
    }
    this.next = next;
  }

  become(id, change) {
    this.changes.set(id, change);
    const letter = this.known.get(id);
    if (change === 'deleted') this.known.delete(id);
    else if (letter) letter.readAt ??= 'now';
  }
}
