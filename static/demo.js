// The demo page: a buyer's socket feeds the storefront, a seller's socket feeds the dashboard, both feed the raw events.
// Rows can hold any text, so text reaches the document through textContent alone.

const EVENTS_KEPT = 200;
const IDS_KEPT = 5000;
const ROWS_KEPT = 40;
const HISTORY_KEPT = 30;
const ALERT_THRESHOLD = 10;
const FULL_SHELF = 30;
const STATE_RETRY_MS = 3000;
const PATH_PACE_MS = 700;
const RATE_WINDOW_S = 5;
const BARS = 30;

const byId = (id) => document.getElementById(id);
const calm = matchMedia('(prefers-reduced-motion: reduce)');

// ---------------------------------------------------------------------------------------------------------- Small tools

/** A copy of the template's only element. */
const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

const camel = (key) => key.replace(/_+([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** Rows come with the database's column names, events with camelCase: one spelling from here on. */
const camelKeys = (row) => Object.fromEntries(Object.entries(row ?? {}).map(([key, value]) => [camel(key), value]));

const clock = (date) =>
  `${[date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')}`;

const preciseClock = (date) => `${clock(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`;

const money = (amount) => (amount === null || amount === undefined || amount === '' ? '' : `$${amount}`);

const words = (status) => String(status ?? '').replaceAll('_', ' ');

const median = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
};

/** Sets the text only where it differs, and says whether it did. */
function setText(element, text) {
  const next = String(text ?? '');
  if (element.textContent === next) return false;
  element.textContent = next;
  return true;
}

function setTone(element, tone) {
  if (tone) element.dataset.tone = tone;
  else delete element.dataset.tone;
}

function flash(element) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue('--flash');
  element.animate([{ backgroundColor: colour }, { backgroundColor: 'transparent' }], {
    duration: calm.matches ? 600 : 1400,
    easing: 'ease-out',
  });
}

/** Forgets its oldest entries beyond a limit. */
class Recent extends Map {
  constructor(limit) {
    super();
    this.limit = limit;
  }

  set(key, value) {
    super.set(key, value);
    if (this.size > this.limit) this.delete(this.keys().next().value);
    return this;
  }
}

function notice(text) {
  const bar = byId('notice');
  setText(bar, text);
  bar.hidden = !text;
}

// ---------------------------------------------------------------------------------------------------------- The figures

const figures = {
  total: 0,
  latencies: [],
  /** Events in each of the last seconds; the last one is the running second. */
  seconds: new Array(BARS).fill(0),

  count(latency) {
    this.total += 1;
    this.seconds[BARS - 1] += 1;
    if (latency === null) return;
    this.latencies.push(latency);
    if (this.latencies.length > EVENTS_KEPT) this.latencies.shift();
  },

  /** Once a second: shows the last whole seconds, then begins a new one. */
  tick() {
    const window = this.seconds.slice(-RATE_WINDOW_S);
    const rate = window.reduce((sum, n) => sum + n, 0) / RATE_WINDOW_S;
    setText(byId('rate'), rate.toFixed(rate < 100 ? 1 : 0));
    setText(byId('latency'), this.latencies.length ? Math.round(median(this.latencies)) : '–');
    setText(byId('total'), this.total.toLocaleString('en'));
    this.drawBars();
    this.seconds.shift();
    this.seconds.push(0);
  },

  drawBars() {
    const svg = byId('rate-bars');
    while (svg.childElementCount < BARS) {
      const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
      bar.setAttribute('x', svg.childElementCount * (120 / BARS));
      bar.setAttribute('width', 120 / BARS - 1);
      svg.append(bar);
    }
    const highest = Math.max(4, ...this.seconds);
    this.seconds.forEach((count, place) => {
      const height = (28 * count) / highest;
      svg.children[place].setAttribute('y', 28 - height);
      svg.children[place].setAttribute('height', height);
    });
  },
};

const path = {
  next: null,
  shownAt: 0,

  /** Shows the way of one event, no faster than can be read. */
  show(entry) {
    const waits = this.next !== null;
    this.next = entry;
    if (!waits) setTimeout(() => this.draw(), Math.max(0, this.shownAt + PATH_PACE_MS - performance.now()));
  },

  draw() {
    const { envelope, latency, heard } = this.next;
    this.next = null;
    this.shownAt = performance.now();
    const { op, table } = envelope.metadata ?? {};
    setText(byId('path-sql'), op && table ? `${op} ${table.replace(/^public\./, '')}` : 'a committed row');
    setText(byId('path-type'), envelope.type);
    setText(byId('path-who'), [...heard.keys()].map((side) => `${sides[side].who()} (${side})`).join(', '));
    setText(byId('path-took'), latency === null ? '–' : Math.round(latency));
  },
};

// ------------------------------------------------------------------------------------------------------------- The feed

const feed = {
  list: byId('events'),
  body: byId('events-body'),
  /** Event id to what the feed knows of it. */
  entries: new Recent(EVENTS_KEPT),
  /** Drawn on the next animation frame. */
  waiting: [],
  paused: false,
  missed: 0,
  prefix: '',

  add(entry) {
    this.entries.set(entry.id, entry);
    if (this.paused) {
      this.missed += 1;
      this.labelPause();
      return;
    }
    if (this.waiting.push(entry) === 1) requestAnimationFrame(() => this.draw());
    if (this.waiting.length > EVENTS_KEPT) this.waiting.shift();
  },

  /** The other socket heard the same event. */
  heardToo(entry) {
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

function eventElement(entry) {
  const element = fromTemplate('event-template');
  entry.element = element;
  const details = element.firstElementChild;
  const time = element.querySelector('time');
  details.dataset.family = entry.envelope.type.split(':')[0];
  setText(time, preciseClock(entry.at));
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
      mark.title = `heard by the ${side}'s socket`;
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

/** The text in pieces: keys, strings and other values in elements of their own. */
function colouredJson(text) {
  const token = /("(?:\\.|[^"\\])*")(\s*:)?|-?\d[\d.eE+-]*|true|false|null/g;
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(token)) {
    pieces.push(text.slice(end, match.index));
    const piece = document.createElement('span');
    piece.textContent = match[1] ?? match[0];
    piece.className = match[2] ? 'json-key' : match[1] ? 'json-text' : 'json-other';
    pieces.push(piece, match[2] ?? '');
    end = match.index + match[0].length;
  }
  return [...pieces, text.slice(end)];
}

// ------------------------------------------------------------------------------------------------------ Lists of rows

/** A list that shows its newest rows first and changes the others where they stand. */
class Rows {
  constructor(list, template, fill, limit = ROWS_KEPT) {
    Object.assign(this, { list, template, fill, limit, rows: new Map() });
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Merges what is known into the row of this id, or makes it. */
  put(id, known, { quiet = false } = {}) {
    let row = this.rows.get(id);
    if (!row) {
      row = { value: {}, element: fromTemplate(this.template) };
      this.rows.set(id, row);
      this.list.prepend(row.element);
      this.trim();
    }
    Object.assign(row.value, defined(known));
    this.fill(row.element, row.value, id);
    if (!quiet) flash(row.element);
  }

  trim() {
    while (this.rows.size > this.limit) {
      const [id, oldest] = this.rows.entries().next().value;
      oldest.element.remove();
      this.rows.delete(id);
    }
  }
}

const defined = (known) => Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined));

const STEPS = { pending: 1, processing: 2, shipped: 3, delivered: 4, fulfilled: 4, completed: 4 };
const TONES = {
  pending: '', draft: '', processing: 'blue', shipped: 'blue', delivered: 'green', completed: 'green', fulfilled: 'green',
  cancelled: 'red', refunded: 'red', rejected: 'red', expired: 'red', partially_refunded: 'amber', sent: 'blue', viewed: 'amber',
  accepted: 'green', invited: 'amber', placed: '', deposit_paid: 'blue', in_production: 'blue', balance_due: 'amber', awaiting_balance: 'amber', balance_overdue: 'red',
  ready_to_release: 'blue', balance_paid: 'green', fully_paid: 'green',
};

function fillOrder(element, order, id) {
  const refunded = /refunded/.test(order.paymentStatus ?? '');
  const status = refunded && order.status !== 'cancelled' ? order.paymentStatus : order.status;
  setText(element.querySelector('.id'), id.slice(0, 8));
  setText(element.querySelector('.who'), order.who ?? '');
  element.querySelector('.steps').dataset.at = STEPS[order.status] ?? 0;
  setText(element.querySelector('.tag'), words(status));
  setTone(element.querySelector('.tag'), TONES[status]);
  setText(element.querySelector('.money'), money(order.total));
  element.title = [`order ${id}`, order.paymentStatus && words(order.paymentStatus), order.trackingNumber && `tracking ${order.trackingNumber}`]
    .filter(Boolean)
    .join(', ');
}

function fillDeal(element, deal, id) {
  setText(element.querySelector('.title'), deal.title ?? id.slice(0, 8));
  setText(element.querySelector('.money'), money(deal.total));
  setText(element.querySelector('.note'), deal.note ?? '');
  setText(element.querySelector('.tag'), words(deal.status));
  setTone(element.querySelector('.tag'), TONES[deal.status]);
}

function fillAlert(element, alert) {
  setText(element.querySelector('.tag'), alert.label);
  setTone(element.querySelector('.tag'), alert.tone);
  setText(element.querySelector('.title'), alert.text);
  setText(element.querySelector('time'), alert.at ? clock(alert.at) : 'at the start');
}

const alerts = new Rows(byId('alerts'), 'alert-template', fillAlert);
const orders = new Rows(byId('orders'), 'order-template', fillOrder);
const quotations = new Rows(byId('quotations'), 'deal-template', fillDeal);
const wholesale = new Rows(byId('wholesale'), 'deal-template', fillDeal);
const ownOrders = new Rows(byId('own-orders'), 'order-template', fillOrder, 2);

// ------------------------------------------------------------------------------------------------------- The storefront

const people = { sellers: new Map(), buyers: new Map() };

/** A database whose products have no status sells them all. */
const isOnSale = ({ status }) => status === undefined || status === null || status === 'active';

const storefront = {
  shops: new Map(),
  products: new Map(),
  open: null,

  /** Draws what the database holds; products that are still there keep their element, and an open one stays open. */
  load(products) {
    const onSale = products.filter(isOnSale);
    const ids = new Set(onSale.map((product) => product.id));
    for (const id of this.products.keys()) if (!ids.has(id)) this.remove(id);
    for (const product of onSale) this.put(product.id, product, { quiet: true });
  },

  shop(sellerId) {
    let shop = this.shops.get(sellerId);
    if (!shop) {
      shop = fromTemplate('shop-template');
      setText(shop.querySelector('h3'), people.sellers.get(sellerId) ?? sellerId);
      this.shops.set(sellerId, shop);
      byId('shops').append(shop);
    }
    return shop;
  },

  put(id, known, { quiet = false } = {}) {
    let shown = this.products.get(id);
    if (!shown) {
      const element = fromTemplate('product-template');
      shown = { element, value: {}, history: [] };
      this.products.set(id, shown);
      element.querySelector('.product-open').addEventListener('click', () => this.toggle(id));
      this.shop(known.sellerId).querySelector('.products').append(element);
    }
    const before = { ...shown.value };
    Object.assign(shown.value, defined(known));
    fillProduct(shown, before, id, quiet);
  },

  /** Changes a product that is shown. False: it is not. */
  change(id, changes) {
    const shown = this.products.get(id);
    if (!shown) return false;
    if (!isOnSale(changes)) this.remove(id);
    else this.put(id, changes);
    return true;
  },

  remove(id) {
    const shown = this.products.get(id);
    if (!shown) return;
    if (this.open === id) this.open = null;
    shown.element.remove();
    this.products.delete(id);
  },

  toggle(id) {
    const closing = this.open;
    if (closing !== null) this.close(closing);
    if (closing === id) return;
    this.open = id;
    const { element } = this.products.get(id);
    element.dataset.open = '';
    element.querySelector('.product-open').setAttribute('aria-expanded', 'true');
    element.querySelector('.detail').hidden = false;
    this.join();
  },

  close(id) {
    this.open = null;
    const { element } = this.products.get(id);
    delete element.dataset.open;
    element.querySelector('.product-open').setAttribute('aria-expanded', 'false');
    element.querySelector('.detail').hidden = true;
    sides.buyer.socket?.emit('leave:product', { productId: id });
  },

  /** Joins the room of the open product: after a click, and after each connect. */
  join() {
    const id = this.open;
    const socket = sides.buyer.socket;
    if (id === null || !socket?.connected) return;
    const ack = this.products.get(id).element.querySelector('.ack');
    setText(ack, `joining product:${id} …`);
    socket.timeout(5000).emit('join:product', { productId: id }, (late, reply) => {
      if (late) setText(ack, `no answer to join:product within 5 s`);
      else if (reply?.success) setText(ack, `live in room ${reply.room ?? `product:${id}`}, from position ${reply.position ?? 'unknown'}`);
      else setText(ack, `join:product was refused: ${reply?.error ?? 'no reason given'}`);
    });
  },
};

function fillProduct(shown, before, id, quiet) {
  const { element, value } = shown;
  const stock = Number(value.stock ?? 0);
  const level = stock <= 0 ? 'out' : stock < ALERT_THRESHOLD ? 'low' : 'fine';
  const discounted = Number(value.promotionActive) === 1 && Number(value.discountPercentage) > 0;
  const part = (name) => element.querySelector(name);

  setText(part('.name'), value.name ?? id);
  part('.name').title = value.name ?? id;
  setText(part('.tile'), [...(value.name ?? id)][0]?.toUpperCase());
  part('.tile').dataset.hue = [...people.sellers.keys()].indexOf(value.sellerId) % 3;
  setText(part('.price small'), discounted && level !== 'out' ? `−${Number(value.discountPercentage)} %` : '');
  part('.price').title = discounted ? `${money(value.price)} before the discount` : '';
  const price = discounted ? (Number(value.price) * (100 - Number(value.discountPercentage)) / 100).toFixed(2) : value.price;
  if (setText(part('.price b'), money(price)) && !quiet) flash(part('.price'));
  if (setText(part('.stock b'), stock) && !quiet) {
    flash(part('.stock'));
    showDelta(part('.delta'), stock - Number(before.stock ?? stock));
  }
  element.dataset.level = level;
  part('.level i').style.setProperty('--fill', Math.max(0, Math.min(1, stock / FULL_SHELF)).toFixed(3));
  const badge = part('.badge');
  setText(badge, level === 'out' ? 'sold out' : level === 'low' ? 'low' : '');
  setTone(badge, level === 'out' ? 'red' : 'amber');

  if (quiet) return;
  for (const key of ['stock', 'price']) {
    if (before[key] !== undefined && String(before[key]) !== String(value[key])) remember(shown, key, before[key], value[key]);
  }
}

function remember(shown, key, from, to) {
  const line = document.createElement('li');
  const time = document.createElement('time');
  time.textContent = clock(new Date());
  line.append(time, `${key} ${from ?? 'none'} → ${to ?? 'none'}`);
  const history = shown.element.querySelector('.history');
  history.prepend(line);
  while (history.childElementCount > HISTORY_KEPT) history.lastElementChild.remove();
}

function showDelta(element, delta) {
  if (!delta) return;
  element.dataset.sign = delta > 0 ? 'up' : 'down';
  setText(element, delta > 0 ? `+${delta}` : `−${-delta}`);
  const rise = calm.matches ? 'none' : 'translateY(-4px)';
  element.animate([{ opacity: 1, transform: 'none' }, { opacity: 1, offset: 0.6 }, { opacity: 0, transform: rise }], { duration: 1800 });
}

// ---------------------------------------------------------------------------------------- What an event does to the page

/** What the event says, in either style of envelope. */
const dataOf = (envelope) => envelope.data ?? envelope;

const buyerHears = {
  'product:created': (data) => storefront.put(data.productId, { ...data, status: 'active' }),
  'product:updated': (data) => {
    const changes = camelKeys(data.changes);
    const known = storefront.change(data.productId, changes);
    // It came back on sale, and the event tells only what changed.
    if (!known && changes.status === 'active') loadState();
  },
  'product:deleted': (data) => storefront.remove(data.productId),
  'product:stock_changed': (data) => storefront.change(data.productId, { stock: data.newStock }),
  'product:price_changed': (data) => storefront.change(data.productId, { price: data.newPrice }),
  'stock:restocked': (data) => storefront.change(data.productId, { stock: data.newStock }),
  'order:updated': (data) => ownOrders.put(data.orderId, { ...pickOrder(data), who: people.sellers.get(data.sellerId) }),
};

const sellerHears = {
  'stock:low': (data, at) => addAlert('low', 'amber', `${data.productName}: ${data.currentStock} left`, at),
  'stock:out': (data, at) => addAlert('sold out', 'red', data.productName, at),
  'stock:restocked': (data, at) => addAlert('restocked', 'green', `${data.productName}: ${data.newStock} in stock`, at),
  'order:updated': (data) => orders.put(data.orderId, { ...pickOrder(data), who: people.buyers.get(data.buyerId) ?? 'Guest' }),
  'quotation:created': (data) => putQuotation(data, 'draft'),
  'quotation:updated': (data) => putQuotation(data, undefined),
  'quotation:viewed': (data) => putQuotation(data, 'viewed'),
  'quotation:accepted': (data) => putQuotation(data, 'accepted'),
  'quotation:rejected': (data) => putQuotation(data, 'rejected'),
  'quotation:expired': (data) => putQuotation(data, 'expired'),
  'wholesale:invitation_sent': (data) => putInvitation(data, 'invited'),
  'wholesale:invitation_accepted': (data) => putInvitation(data, 'accepted'),
  'wholesale:invitation_rejected': (data) => putInvitation(data, 'rejected'),
  'wholesale:order_placed': (data) => putWholesale(data, 'placed'),
  'wholesale:order_updated': (data) => putWholesale(data, data.status),
  'wholesale:deposit_paid': (data) => putWholesale(data, 'deposit_paid'),
  'wholesale:balance_paid': (data) => putWholesale(data, 'balance_paid'),
};

let alertNumber = 0;
function addAlert(label, tone, text, at) {
  alerts.put(`alert-${(alertNumber += 1)}`, { label, tone, text, at });
}

function pickOrder({ status, paymentStatus, fulfillmentStatus, total, trackingNumber }) {
  return { status, paymentStatus, fulfillmentStatus, total, trackingNumber };
}

function putQuotation(data, status) {
  quotations.put(data.quotationId, { title: data.quotationNumber, note: data.buyerEmail, total: data.total, status });
}

function putInvitation(data, status) {
  wholesale.put(data.invitationId, { title: data.buyerName, note: 'invitation', status });
}

function putWholesale(data, status) {
  wholesale.put(data.orderId, { title: people.buyers.get(data.buyerId) ?? data.buyerId, note: 'order', total: data.total, status });
}

// ------------------------------------------------------------------------------------------------------------ The sockets

class Side {
  constructor(name, hears) {
    Object.assign(this, { name, hears, socket: null, userId: null, position: undefined, seen: new Recent(IDS_KEPT), link: byId(`link-${name}`) });
  }

  who() {
    const known = this.name === 'buyer' ? people.buyers : people.sellers;
    return known.get(this.userId) ?? this.userId;
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

  listen(socket) {
    let before = false;
    const current = (act) => (...args) => this.socket === socket && act(...args);
    socket.on('connect', current(() => {
      this.setLink('live', `${this.who()}, live`);
      if (this.name === 'buyer') joinStorefronts();
      if (before) loadState();
      before = true;
    }));
    socket.on('disconnect', current((reason) => {
      this.setLink('waiting', 'reconnecting …');
      // The client does not reconnect by itself after this one.
      if (reason === 'io server disconnect') setTimeout(() => this.socket === socket && socket.connect(), 1000);
    }));
    socket.on('connect_error', current((error) => {
      this.setLink('lost', `cannot connect: ${error.message}`);
      if (!socket.active) setTimeout(() => this.socket === socket && socket.connect(), STATE_RETRY_MS);
    }));
    socket.onAny(current((type, envelope) => this.receive(type, envelope)));
  }

  setLink(state, text) {
    this.link.dataset.state = state;
    setText(this.link.querySelector('span'), text);
    this.link.title = text;
  }

  receive(type, payload) {
    const envelope = payload !== null && typeof payload === 'object' ? { type, ...payload } : { type, data: payload };
    if (type === 'rowcast:resync') loadState();
    const id = envelope.metadata?.id ?? crypto.randomUUID?.() ?? `${performance.now()}-${Math.random()}`;
    this.position = envelope.metadata?.position ?? this.position;
    // What is replayed after a reconnect may hold events that were heard before it.
    if (this.seen.has(id)) return;
    this.seen.set(id, true);

    const at = new Date(envelope.timestamp ?? Date.now());
    record(id, this.name, envelope, Number.isNaN(at.getTime()) ? new Date() : at);
    const act = this.hears[type];
    if (!act) return;
    try {
      act(dataOf(envelope), at);
    } catch (error) {
      console.error(`The page cannot show ${type}`, error, envelope);
    }
  }
}

const sides = {
  buyer: new Side('buyer', buyerHears),
  seller: new Side('seller', sellerHears),
};

/** Counts and lists an event once, however many of the sockets hear it. */
function record(id, side, envelope, at) {
  const known = feed.entries.get(id);
  if (known) {
    known.heard.set(side, envelope);
    feed.heardToo(known);
    return;
  }
  const latency = envelope.timestamp ? Math.max(0, Date.now() - at.getTime()) : null;
  const entry = { id, at, envelope, latency, heard: new Map([[side, envelope]]), element: null };
  figures.count(latency);
  feed.add(entry);
  path.show(entry);
}

function joinStorefronts() {
  const { socket } = sides.buyer;
  for (const sellerId of people.sellers.keys()) {
    socket.timeout(5000).emit('join:storefront', { sellerId }, (late, reply) => {
      if (sides.buyer.socket !== socket) return;
      if (late) notice(`No answer to join:storefront for ${sellerId} within 5 s; its products may not be live.`);
      else if (!reply?.success) notice(`join:storefront for ${sellerId} was refused: ${reply?.error ?? 'no reason given'}`);
    });
  }
  storefront.join();
}

// -------------------------------------------------------------------------------------------------- The state at the start

const emptyState = { sellers: [], buyers: [], products: [], orders: [], quotations: [] };
let state = emptyState;
let loading = null;

/** Fetches what the database holds now, and draws it. Calls while one is under way share it. */
function loadState() {
  loading ??= fetchState()
    .then(draw)
    .catch((error) => {
      notice(`The page's start state could not be loaded (${error.message}); it is tried again.`);
      setTimeout(loadState, STATE_RETRY_MS);
    })
    .finally(() => (loading = null));
  return loading;
}

async function fetchState() {
  const response = await fetch('demo/state', { headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(`expected 200 from demo/state, found ${response.status}`);
  const body = await response.json();
  const rows = (list) => (Array.isArray(list) ? list.map(camelKeys) : []);
  return Object.fromEntries(Object.keys(emptyState).map((key) => [key, rows(body[key])]));
}

function draw(fetched) {
  state = fetched;
  notice('');
  people.sellers = shopkeepers(state);
  people.buyers = names(state.buyers);
  fillPicker(byId('seller'), people.sellers);
  fillPicker(byId('buyer'), people.buyers);

  const marketplace = state.products.length > 0;
  for (const id of ['storefront-empty', 'dashboard-empty']) byId(id).hidden = marketplace;
  for (const id of ['shops', 'boards']) byId(id).hidden = !marketplace;
  byId('own').hidden = people.buyers.size === 0;
  storefront.load(state.products);

  follow('buyer', byId('buyer').value);
  follow('seller', byId('seller').value);
  drawBuyer();
  drawSeller();
}

/** Those who have something on sale; all sellers where nobody has. */
function shopkeepers({ sellers, products }) {
  const known = names(sellers);
  const ids = new Set(products.filter(isOnSale).map((product) => String(product.sellerId)));
  return ids.size ? new Map([...ids].sort().map((id) => [id, known.get(id) ?? id])) : known;
}

const names = (list) => new Map(list.map(({ id, name }) => [String(id), name ?? String(id)]));

function fillPicker(select, known) {
  const chosen = select.value;
  select.replaceChildren(
    ...[...known].map(([id, name]) => {
      const option = document.createElement('option');
      option.value = id;
      option.textContent = name;
      return option;
    }),
  );
  if (known.has(chosen)) select.value = chosen;
  select.parentElement.hidden = known.size === 0;
}

/** Connects a side as the user that is chosen for it, unless it already is. */
function follow(side, userId) {
  if (userId && sides[side].userId !== userId) sides[side].become(userId);
}

function drawBuyer() {
  ownOrders.clear();
  const mine = state.orders.filter((order) => (order.buyerId ?? order.userId) === sides.buyer.userId);
  for (const order of oldestFirst(mine)) {
    ownOrders.put(String(order.id), { ...pickOrder(order), who: people.sellers.get(order.sellerId) }, { quiet: true });
  }
}

function drawSeller() {
  const { userId } = sides.seller;
  const own = (rows) => oldestFirst(rows.filter((row) => row.sellerId === userId));
  drawStartingAlerts(state.products.filter((product) => product.sellerId === userId));
  orders.clear();
  quotations.clear();
  for (const order of own(state.orders)) {
    const who = people.buyers.get(order.buyerId ?? order.userId) ?? order.customerName ?? 'Guest';
    orders.put(String(order.id), { ...pickOrder(order), who }, { quiet: true });
    if (order.orderType !== 'wholesale') continue;
    wholesale.put(String(order.id), { title: who, note: 'order', total: order.total, status: order.status }, { quiet: true });
  }
  for (const quotation of own(state.quotations)) {
    const { quotationNumber: title, buyerEmail: note, total, status } = quotation;
    quotations.put(String(quotation.id), { title, note, total, status }, { quiet: true });
  }
}

/** What is low or sold out already, until the first alert comes. */
function drawStartingAlerts(products) {
  if (alerts.rows.size > 0) return;
  for (const { id, name, stock } of products.filter(isOnSale)) {
    if (stock === null || stock === undefined || stock >= ALERT_THRESHOLD) continue;
    const alert = stock > 0 ? { label: 'low', tone: 'amber', text: `${name}: ${stock} left` } : { label: 'sold out', tone: 'red', text: name };
    alerts.put(`start-${id}`, alert, { quiet: true });
  }
}

/** Lists put their newest row on top, so rows go in from the oldest on. Rows without a date stay as they came. */
const oldestFirst = (rows) => [...rows].sort((a, b) => String(a.createdAt ?? '').localeCompare(String(b.createdAt ?? '')));

// ------------------------------------------------------------------------------------------------------------- Controls

byId('buyer').addEventListener('change', ({ target }) => {
  follow('buyer', target.value);
  ownOrders.clear();
  loadState();
});

byId('seller').addEventListener('change', ({ target }) => {
  follow('seller', target.value);
  for (const rows of [alerts, orders, quotations, wholesale]) rows.clear();
  loadState();
});

byId('pause').addEventListener('click', () => feed.setPaused(!feed.paused));

byId('filter').addEventListener('input', ({ target }) => {
  feed.prefix = target.value.trim().toLowerCase();
  feed.redraw();
});

byId('listen').addEventListener('submit', (submit) => {
  submit.preventDefault();
  sides.seller.become(new FormData(submit.target).get('user').trim());
});

byId('join').addEventListener('submit', (submit) => {
  submit.preventDefault();
  const room = new FormData(submit.target).get('room').trim();
  const ack = byId('join-ack');
  const { socket } = sides.seller;
  if (!socket?.connected) {
    setText(ack, 'Connect as a user first.');
    return;
  }
  socket.timeout(5000).emit('join', { room }, (late, reply) => {
    if (late) setText(ack, 'No answer within 5 s.');
    else if (reply?.success) setText(ack, `Live in room ${reply.room ?? room}.`);
    else setText(ack, `Refused: ${reply?.error ?? 'no reason given'}`);
  });
});

for (const tab of document.querySelectorAll('[data-show]')) {
  tab.addEventListener('click', () => {
    document.body.dataset.area = tab.dataset.show;
    for (const other of document.querySelectorAll('[data-show]')) other.setAttribute('aria-pressed', String(other === tab));
  });
}

setInterval(() => figures.tick(), 1000);
figures.drawBars();
loadState();
