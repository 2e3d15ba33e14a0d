// The figures at the top: how many events, how fast.

import { byId, setText } from './dom.js';

const LATENCIES_KEPT = 200;
const RATE_WINDOW_S = 5;
const BARS = 30;

let total = 0;
/** Milliseconds from the change's time to the page. */
const latencies = [];
/** Events in each of the last seconds; the last one is the running second. */
const seconds = new Array(BARS).fill(0);

/** Counts an event; `latency` is null where the event says no time. */
export function count(latency) {
  total += 1;
  seconds[BARS - 1] += 1;
  if (latency === null) return;
  latencies.push(latency);
  if (latencies.length > LATENCIES_KEPT) latencies.shift();
}

/** Once a second: shows the last whole seconds, then begins a new one. */
export function tick() {
  const rate = seconds.slice(-RATE_WINDOW_S).reduce((sum, n) => sum + n, 0) / RATE_WINDOW_S;
  setText(byId('rate'), rate.toFixed(rate < 100 ? 1 : 0));
  setText(byId('latency'), latencies.length ? Math.round(median(latencies)) : '–');
  setText(byId('total'), total.toLocaleString('en'));
  drawBars();
  seconds.shift();
  seconds.push(0);
}

export function drawBars() {
  const svg = byId('rate-bars');
  while (svg.childElementCount < BARS) {
    const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    bar.setAttribute('x', svg.childElementCount * (120 / BARS));
    bar.setAttribute('width', 120 / BARS - 1);
    svg.append(bar);
  }
  const highest = Math.max(4, ...seconds);
  seconds.forEach((events, place) => {
    const height = (28 * events) / highest;
    svg.children[place].setAttribute('y', 28 - height);
    svg.children[place].setAttribute('height', height);
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
