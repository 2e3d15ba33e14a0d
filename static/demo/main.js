// The demo page: a buyer's socket feeds the storefront, a seller's socket feeds the dashboard, both feed the raw events.

import { buyerHears, loadBuyer } from './buyer.js';
import { byId, notice } from './dom.js';
import { feed } from './feed.js';
import * as figures from './figures.js';
import { Inbox } from './inbox.js';
import { joinAgain, offerListening } from './listen.js';
import * as path from './path.js';
import { people } from './people.js';
import { forgetSeller, loadSeller, sellerHears } from './seller.js';
import { Side } from './side.js';
import { afterState, loadState } from './state.js';
import { storefront } from './storefront.js';

const reload = () => loadState(draw);

const sides = {
  buyer: new Side('buyer', {
    nameOf: (id) => people.buyers.get(id),
    heard: (...event) => hear('buyer', ...event),
    async connected() {
      inboxes.buyer.load();
      const [refused] = await Promise.all([storefront.joinAll(), storefront.join()]);
      // What changed before the rooms were joined was not heard.
      await reload();
      if (refused.length > 0) notice(`Some products may not be live. ${refused.join('; ')}`);
    },
  }),
  seller: new Side('seller', {
    nameOf: (id) => people.sellers.get(id),
    heard: (...event) => hear('seller', ...event),
    connected() {
      // Who is online is told at the moment that it changes, and is not replayed.
      people.online.clear();
      inboxes.seller.load();
      joinAgain(sides.seller);
      reload();
    },
  }),
};

const inboxes = {
  buyer: new Inbox(byId('buyer-bell'), 'buyer', (...message) => sides.buyer.ask(...message)),
  seller: new Inbox(byId('seller-bell'), 'seller', (...message) => sides.seller.ask(...message)),
};

const hears = { buyer: buyerHears(reload), seller: sellerHears };

storefront.side = sides.buyer;

// ---------------------------------------------------------------------------------------- What an event does to the page

function hear(name, id, envelope, at) {
  record(name, id, envelope, at);
  if (envelope.type === 'rowcast:resync') {
    inboxes[name].load();
    reload();
    return;
  }
  // In either style of envelope.
  const data = envelope.data ?? envelope;
  const [family, kind] = envelope.type.split(':');
  if (family === 'notification') {
    act(envelope, () => inboxes[name].hear(kind, data, at));
    return;
  }
  const effect = hears[name][envelope.type];
  if (effect) afterState(() => act(envelope, () => effect(data, at)));
}

function act(envelope, effect) {
  try {
    effect();
  } catch (error) {
    console.error(`The page cannot show ${envelope.type}`, error, envelope);
  }
}

/** Counts and lists an event once, however many of the sockets hear it. */
function record(name, id, envelope, at) {
  const latency = envelope.timestamp ? Math.max(0, Date.now() - at.getTime()) : null;
  const entry = feed.add(id, name, envelope, at, latency);
  if (!entry) return;
  figures.count(latency);
  path.show(envelope, latency, () => [...entry.heard.keys()].map((side) => `${sides[side].who()} (${side})`));
}

// -------------------------------------------------------------------------------------------- What the database holds now

/** The id that was typed in, where there is no shop to pick a seller of. */
let listeningAs = null;

function draw(state) {
  people.load(state);
  fillPicker(byId('seller'), people.sellers);
  fillPicker(byId('buyer'), people.buyers);

  const marketplace = state.products.length > 0;
  for (const id of ['storefront-empty', 'dashboard-empty']) byId(id).hidden = marketplace;
  for (const id of ['shops', 'takings', 'boards']) byId(id).hidden = !marketplace;
  byId('own').hidden = people.buyers.size === 0;
  storefront.load(state.products);

  follow('buyer', byId('buyer').value);
  follow('seller', listeningAs ?? byId('seller').value);
  loadBuyer(state, sides.buyer.userId);
  loadSeller(state, sides.seller.userId);
}

function fillPicker(select, known) {
  const chosen = select.value;
  const options = [...known].map(([id, name]) => {
    const option = document.createElement('option');
    option.value = id;
    option.textContent = name;
    return option;
  });
  select.replaceChildren(...options);
  if (known.has(chosen)) select.value = chosen;
  select.parentElement.hidden = known.size === 0;
}

/** Connects a side as this user, unless it already is. */
function follow(name, userId) {
  if (!userId || sides[name].userId === userId) return;
  inboxes[name].forget();
  sides[name].become(userId);
}

// ------------------------------------------------------------------------------------------------------------- Controls

byId('buyer').addEventListener('change', ({ target }) => {
  follow('buyer', target.value);
  reload();
});

byId('seller').addEventListener('change', ({ target }) => {
  listeningAs = null;
  forgetSeller();
  follow('seller', target.value);
  reload();
});

offerListening(sides.seller, (userId) => {
  listeningAs = userId;
  follow('seller', userId);
});

const tabs = document.querySelectorAll('[data-show]');
for (const tab of tabs) {
  tab.addEventListener('click', () => {
    document.body.dataset.area = tab.dataset.show;
    for (const other of tabs) other.setAttribute('aria-pressed', String(other === tab));
  });
}

setInterval(figures.tick, 1000);
figures.drawBars();
reload();
