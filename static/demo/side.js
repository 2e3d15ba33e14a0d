// A socket of the page, and the user that it is signed in as.

import { byId, setText } from './dom.js';
import { defined } from './format.js';
import { Recent } from './recent.js';

const IDS_KEPT = 5000;
const ANSWER_TIMEOUT_MS = 5000;
const CONNECT_AGAIN_MS = 3000;

export class Side {
  /**
   * `connected()` is called after each connect, `heard(id, envelope, at)` for each event that was not heard before, `at`
   * being the time of the change, and `nameOf(userId)` says who that is.
   */
  constructor(name, { connected, heard, nameOf }) {
    Object.assign(this, { name, connected, heard, nameOf, userId: null, socket: null, position: undefined });
    this.seen = new Recent(IDS_KEPT);
    this.link = byId(`link-${name}`);
  }

  who() {
    return this.nameOf(this.userId) ?? this.userId;
  }

  /** Shows this side as another user: a new socket, which begins at the present. */
  become(userId) {
    this.socket?.disconnect();
    Object.assign(this, { userId, position: undefined });
    this.socket = io({
      // On a reconnect the server replays what this socket missed.
      auth: (send) => send(defined({ userId: this.userId, since: this.position })),
      forceNew: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: 3000,
    });
    this.listen(this.socket);
    this.setLink('waiting', 'connecting …');
  }

  /**
   * Says something to the server. Gives its answer: `{ success: true, … }`, or `{ success: false, error }`, also where
   * none came; null where this side is another user's by then.
   */
  async ask(message, payload) {
    const { socket } = this;
    if (!socket?.connected) return { success: false, error: 'there is no connection' };
    const answer = await socket
      .timeout(ANSWER_TIMEOUT_MS)
      .emitWithAck(message, payload)
      .catch(() => ({ success: false, error: `no answer within ${ANSWER_TIMEOUT_MS / 1000} s` }));
    if (this.socket !== socket) return null;
    return answer?.success ? answer : { success: false, error: answer?.error ?? 'no reason given' };
  }

  listen(socket) {
    const current = (act) => (...args) => this.socket === socket && act(...args);
    socket.on('connect', current(() => {
      this.setLink('live', `${this.who()}, live`);
      this.connected();
    }));
    socket.on('disconnect', current((reason) => {
      this.setLink('waiting', 'reconnecting …');
      // The client does not reconnect by itself after this one.
      if (reason === 'io server disconnect') setTimeout(current(() => socket.connect()), 1000);
    }));
    socket.on('connect_error', current((error) => {
      this.setLink('lost', `cannot connect: ${error.message}`);
      if (!socket.active) setTimeout(current(() => socket.connect()), CONNECT_AGAIN_MS);
    }));
    socket.onAny(current((type, payload) => this.receive(type, payload)));
  }

  setLink(state, text) {
    this.link.dataset.state = state;
    setText(this.link.querySelector('span'), text);
    this.link.title = text;
  }

  receive(type, payload) {
    const envelope = payload !== null && typeof payload === 'object' ? { type, ...payload } : { type, data: payload };
    const id = envelope.metadata?.id ?? crypto.randomUUID?.() ?? `${performance.now()}-${Math.random()}`;
    this.position = envelope.metadata?.position ?? this.position;
    // What is replayed after a reconnect may hold events that were heard before it.
    if (this.seen.has(id)) return;
    this.seen.set(id, true);
    const at = new Date(envelope.timestamp ?? Date.now());
    this.heard(id, envelope, Number.isNaN(at.getTime()) ? new Date() : at);
  }
}
