// What the database holds at present: events say only what changes from there on.

import { notice } from './dom.js';
import { camelKeys } from './format.js';

const RETRY_MS = 3000;

const KEYS = [
  'sellers', 'buyers', 'products', 'carts', 'orders', 'quotations', 'invitations', 'wholesale', 'figures', 'wholesaleRevenue',
];

let loading = null;
let again = false;
/** What happened while a state was under way: it may be older, so this comes after it. */
let later = [];

/** Fetches the state and hands it to `draw`. A call while one is under way has it fetched once more after that. */
export function loadState(draw) {
  if (loading) {
    again = true;
    return loading;
  }
  loading = fetchState()
    .then((state) => {
      notice('');
      draw(state);
    })
    .catch((error) => {
      notice(`The page’s start state could not be loaded (${error.message}); it is tried again.`);
      setTimeout(loadState, RETRY_MS, draw);
    })
    .finally(() => {
      loading = null;
      const held = later;
      later = [];
      for (const act of held) act();
      if (again) {
        again = false;
        loadState(draw);
      }
    });
  return loading;
}

/** Acts now, or after the state that is under way. */
export function afterState(act) {
  if (loading) later.push(act);
  else act();
}

async function fetchState() {
  const response = await fetch('demo/state', { headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`expected 200 from demo/state, found ${response.status}`);
  const body = camelKeys(await response.json());
  const rows = (list) => (Array.isArray(list) ? list.map(camelKeys) : []);
  return Object.fromEntries(KEYS.map((key) => [key, rows(body[key])]));
}
