// The way of the last change: from its table to the screen.

import { byId, setText } from './dom.js';

const PACE_MS = 700;

let next = null;
let shownAt = 0;

/**
 * Shows the way of one event, no faster than can be read. `listeners` gives the names of those who heard it, when it is
 * drawn: until then more may have.
 */
export function show(envelope, latency, listeners) {
  const waits = next !== null;
  next = { envelope, latency, listeners };
  if (!waits) setTimeout(draw, Math.max(0, shownAt + PACE_MS - performance.now()));
}

function draw() {
  const { envelope, latency, listeners } = next;
  next = null;
  shownAt = performance.now();
  const { op, table } = envelope.metadata ?? {};
  setText(byId('path-sql'), op && table ? `${op} ${table.replace(/^public\./, '')}` : 'a committed row');
  setText(byId('path-type'), envelope.type);
  setText(byId('path-who'), listeners().join(', '));
  setText(byId('path-took'), latency === null ? '–' : Math.round(latency));
}
