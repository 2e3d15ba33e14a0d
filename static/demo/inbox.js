// The bell of one side of the page, and the inbox that it opens.

import { fromTemplate, isCalm, setText, setTone } from './dom.js';
import { clock } from './format.js';
import { Letters } from './letters.js';

const TONES = { order: 'blue', payment: 'green', shipping: 'accent', wholesale: 'amber', quotation: 'amber', system: 'red' };

export class Inbox {
  /** Takes the place of the element `host`. `owner` says whose it is, in a word; `ask` is as in `Letters`. */
  constructor(host, owner, ask) {
    this.owner = owner;
    this.letters = new Letters(ask);
    /** Notification id to its element. */
    this.elements = new Map();
    this.element = fromTemplate('inbox-template');
    this.bell = this.part('.bell');
    this.panel = this.part('.inbox');
    this.list = this.part('.letters');
    this.label();
    this.draw();
    this.obey();
    host.replaceWith(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  label() {
    this.panel.id = `${this.owner}-inbox`;
    this.panel.setAttribute('aria-label', `The ${this.owner}’s inbox`);
    this.bell.setAttribute('aria-controls', this.panel.id);
  }

  // --------------------------------------------------------------------------------------------- What happens to it

  /** Another user's comes. */
  forget() {
    this.letters.forget();
    this.say(null);
    this.draw();
  }

  /** After each connect. */
  async load() {
    this.done(await this.letters.load());
  }

  /** What `notification:KIND` says; `at` is its time. */
  hear(kind, data, at) {
    this.letters.hear(kind, data, at);
    if (kind in TONES) this.ring();
    this.draw({ gently: true });
  }

  async delete(id) {
    const element = this.elements.get(id);
    const neighbour = element?.nextElementSibling ?? element?.previousElementSibling;
    const error = await this.letters.delete(id);
    // Whoever works with the keyboard goes on where they were.
    if (!error && element?.contains(document.activeElement)) (neighbour?.querySelector('.delete') ?? this.panel).focus();
    this.done(error);
  }

  async read(id) {
    const element = this.elements.get(id);
    const error = await this.letters.read(id);
    if (!error && element?.contains(document.activeElement)) element.querySelector('.delete').focus();
    this.done(error);
  }

  done(error) {
    this.say(error);
    this.draw();
  }

  // ------------------------------------------------------------------------------------------------ How it is shown

  isOpen() {
    return !this.panel.hidden;
  }

  open() {
    this.panel.hidden = false;
    this.bell.setAttribute('aria-expanded', 'true');
    this.draw();
    this.panel.focus();
  }

  close() {
    this.panel.hidden = true;
    this.bell.setAttribute('aria-expanded', 'false');
  }

  ring() {
    if (isCalm()) return;
    const swing = ['0deg', '14deg', '-11deg', '6deg', '0deg'].map((rotate) => ({ rotate }));
    this.part('.bell svg').animate(swing, { duration: 520, easing: 'ease-in-out' });
  }

  say(error) {
    setText(this.part('.complaint'), error ? `That did not work: ${error}.` : '');
  }

  /** Gently: what is new waits while somebody points into the list, so that nothing moves away under the pointer. */
  draw({ gently = false } = {}) {
    this.drawUnread(this.letters.unread);
    if (!this.isOpen()) return;
    const hold = gently && this.list.matches(':hover, :focus-within');
    const all = this.letters.newestFirst();
    const shown = all.filter(([id, { isNew }]) => !(hold && isNew && !this.elements.has(id)));
    for (const [id, element] of this.elements) {
      if (this.letters.known.has(id)) continue;
      element.remove();
      this.elements.delete(id);
    }
    shown.forEach(([id, letter], place) => this.place(this.elementOf(id, letter), place));

    const waiting = all.length - shown.length;
    this.part('.fresh').hidden = waiting === 0;
    setText(this.part('.fresh'), `Show ${waiting} new`);
    this.part('.inbox-none').hidden = all.length > 0;
    this.part('.more').hidden = this.letters.next === null;
  }

  drawUnread(unread) {
    const badge = this.part('.bell b');
    badge.hidden = !unread;
    setText(badge, unread > 999 ? '999+' : (unread ?? ''));
    this.bell.setAttribute('aria-label', `The ${this.owner}’s notifications${unread ? `, ${unread} unread` : ''}`);
    setText(this.part('.unread'), unread ? `${unread.toLocaleString('en')} unread` : 'all read');
    this.part('.read-all').disabled = !unread;
  }

  /** Moves an element only if it has to: one that moves loses the focus. */
  place(element, place) {
    const there = this.list.children[place];
    if (there !== element) this.list.insertBefore(element, there ?? null);
  }

  elementOf(id, letter) {
    let element = this.elements.get(id);
    if (!element) {
      element = fromTemplate('letter-template');
      element.dataset.id = id;
      this.elements.set(id, element);
      fillLetter(element, letter);
    }
    const isUnread = letter.readAt === null;
    element.toggleAttribute('data-unread', isUnread);
    element.querySelector('.read').hidden = !isUnread;
    return element;
  }

  // -------------------------------------------------------------------------------------------------- What one does

  obey() {
    const on = (selector, type, act) => this.part(selector).addEventListener(type, act);
    const leave = () => {
      this.close();
      this.bell.focus();
    };
    on('.bell', 'click', () => (this.isOpen() ? this.close() : this.open()));
    on('.close', 'click', leave);
    this.element.addEventListener('keydown', ({ key }) => key === 'Escape' && this.isOpen() && leave());
    document.addEventListener('pointerdown', ({ target }) => {
      if (this.isOpen() && !this.element.contains(target)) this.close();
    });
    on('.read-all', 'click', async () => this.done(await this.letters.readAll()));
    on('.more', 'click', async () => this.done(await this.letters.more()));
    on('.fresh', 'click', () => {
      this.draw();
      this.list.scrollTop = 0;
    });
    for (const end of ['pointerleave', 'focusout']) {
      on('.letters', end, () => requestAnimationFrame(() => this.draw({ gently: true })));
    }
    on('.letters', 'click', ({ target }) => {
      const id = target.closest('.letter')?.dataset.id;
      if (target.closest('.read')) this.read(id);
      else if (target.closest('.delete')) this.delete(id);
    });
  }
}

function fillLetter(element, { kind, title, body, createdAt }) {
  const at = new Date(createdAt);
  setText(element.querySelector('.tag'), kind);
  setTone(element.querySelector('.tag'), TONES[kind]);
  setText(element.querySelector('.title'), title);
  setText(element.querySelector('.body'), body);
  const time = element.querySelector('time');
  time.dateTime = createdAt;
  const isToday = at.toDateString() === new Date().toDateString();
  setText(time, isToday ? clock(at) : at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' }));
  element.querySelector('.read').setAttribute('aria-label', `Mark as read: ${title}`);
  element.querySelector('.delete').setAttribute('aria-label', `Delete: ${title}`);
}
