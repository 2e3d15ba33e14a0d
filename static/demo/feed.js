// The raw events, the newest first.

import { byId, fromTemplate, setText } from './dom.js';
import { clock } from './format.js';
import { colouredJson } from './json.js';
import { Recent } from './recent.js';

const EVENTS_KEPT = 200;

export const feed = {
  list: byId('events'),
  /** Event id to what the feed knows of it. */
  entries: new Recent(EVENTS_KEPT),
  /** Drawn on the next animation frame. */
  waiting: [],
  paused: false,
  missed: 0,
  prefix: '',

  /**
   * Lists an event that a side has heard. Gives its entry, or null where the other side heard it before.
   * `latency` is in milliseconds, or null.
   */
  add(id, side, envelope, at, latency) {
    const known = this.entries.get(id);
    if (known) {
      known.heard.set(side, envelope);
      this.refill(known);
      return null;
    }
    const entry = { id, at, envelope, latency, heard: new Map([[side, envelope]]), element: null };
    this.entries.set(id, entry);
    this.show(entry);
    return entry;
  },

  show(entry) {
    if (this.paused) {
      this.missed += 1;
      this.labelPause();
      return;
    }
    if (this.waiting.push(entry) === 1) requestAnimationFrame(() => this.draw());
    if (this.waiting.length > EVENTS_KEPT) this.waiting.shift();
  },

  refill(entry) {
    if (!entry.element) return;
    fillHeard(entry);
    const details = entry.element.firstElementChild;
    if (details.open) fillBodies(details, entry);
  },

  matches(entry) {
    return entry.envelope.type.startsWith(this.prefix);
  },

  draw() {
    const shown = this.waiting.filter((entry) => this.matches(entry));
    this.waiting = [];
    this.list.prepend(...shown.reverse().map(eventElement));
    while (this.list.childElementCount > EVENTS_KEPT) this.list.lastElementChild.remove();
  },

  redraw() {
    this.waiting = [];
    const shown = [...this.entries.values()].filter((entry) => this.matches(entry)).reverse();
    this.list.replaceChildren(...shown.map(eventElement));
    setText(byId('events-none'), this.prefix ? `No event that begins with ${this.prefix} among the last ${EVENTS_KEPT}.` : 'Waiting for the first event.');
  },

  setPaused(paused) {
    this.paused = paused;
    this.missed = 0;
    this.labelPause();
    if (!paused) this.redraw();
  },

  labelPause() {
    const button = byId('pause');
    button.setAttribute('aria-pressed', String(this.paused));
    setText(button, this.paused ? `Resume ${this.missed > 999 ? '999+' : this.missed || ''}`.trim() : 'Pause');
  },
};

byId('pause').addEventListener('click', () => feed.setPaused(!feed.paused));

byId('filter').addEventListener('input', ({ target }) => {
  feed.prefix = target.value.trim().toLowerCase();
  feed.redraw();
});

function eventElement(entry) {
  const element = fromTemplate('event-template');
  entry.element = element;
  const details = element.firstElementChild;
  const time = element.querySelector('time');
  details.dataset.family = entry.envelope.type.split(':')[0];
  setText(time, clock(entry.at));
  time.dateTime = entry.at.toISOString();
  setText(element.querySelector('.type'), entry.envelope.type);
  setText(element.querySelector('.took'), entry.latency === null ? '' : `${Math.round(entry.latency)} ms`);
  fillHeard(entry);
  details.addEventListener('toggle', () => details.open && fillBodies(details, entry));
  return element;
}

function fillHeard(entry) {
  const heard = entry.element.querySelector('.heard');
  heard.replaceChildren(
    ...[...entry.heard.keys()].map((side) => {
      const mark = document.createElement('i');
      mark.textContent = side[0].toUpperCase();
      mark.title = `heard by the ${side}’s socket`;
      return mark;
    }),
  );
}

/** The envelope; one for each socket where they heard different ones. */
function fillBodies(details, entry) {
  const texts = new Map();
  for (const [side, envelope] of entry.heard) {
    const text = JSON.stringify(envelope, null, 2);
    texts.set(text, [...(texts.get(text) ?? []), side]);
  }
  details.querySelector('.bodies').replaceChildren(
    ...[...texts].flatMap(([text, heardBy]) => {
      const title = document.createElement('h4');
      title.textContent = `as the ${heardBy.join(' and the ')} heard it`;
      const body = document.createElement('pre');
      body.append(...colouredJson(text));
      return [title, body];
    }),
  );
}
