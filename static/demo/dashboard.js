// The seller's lists: alerts, orders, quotations, wholesale dealings, sales.

import { byId, setText, setTone } from './dom.js';
import { clock, money, oldestFirst, words } from './format.js';
import { fillOrder, isDone, pickOrder, TONES } from './orders.js';
import { isOnSale, people } from './people.js';
import { Rows } from './rows.js';

const LOW_STOCK = 10;

function fillDeal(element, deal, id) {
  setText(element.querySelector('.title'), deal.title ?? id.slice(0, 8));
  setText(element.querySelector('.money'), money(deal.total));
  setText(element.querySelector('.note span'), deal.note ?? '');
  element.querySelector('.note').title = deal.note ?? '';
  setText(element.querySelector('.tag'), words(deal.status));
  setTone(element.querySelector('.tag'), TONES[deal.status]);
  fillPresence(element.querySelector('.presence'), deal.partner);
}

function fillPresence(dot, userId) {
  const online = userId ? people.isOnline(userId) : null;
  dot.hidden = online === null;
  dot.dataset.online = String(online);
  const text = online === null ? '' : online ? 'online' : 'offline';
  dot.title = text;
  setText(dot, text);
}

function fillAlert(element, { name, stock, at, restocked }) {
  setText(element.querySelector('.title'), name);
  element.title = name;
  setText(element.querySelector('.tag'), restocked ? `${stock} in stock` : stock > 0 ? `${stock} left` : 'sold out');
  setTone(element.querySelector('.tag'), restocked ? 'green' : stock > 0 ? 'amber' : 'red');
  setText(element.querySelector('time'), at ? clock(at) : 'before');
}

function fillSale(element, sale, id) {
  setText(element.querySelector('.title'), sale.title ?? id.slice(0, 8));
  element.title = sale.title ?? `order ${id}`;
  setText(element.querySelector('.money'), money(sale.amount));
  setText(element.querySelector('time'), sale.at ? clock(sale.at) : 'before');
}

const alerts = new Rows(byId('alerts'), 'alert-template', fillAlert);
const orders = new Rows(byId('orders'), 'order-template', fillOrder);
const quotations = new Rows(byId('quotations'), 'deal-template', fillDeal);
const wholesale = new Rows(byId('wholesale'), 'deal-template', fillDeal);
const sales = new Rows(byId('sales'), 'sale-template', fillSale);

const LISTS = [alerts, orders, quotations, wholesale, sales];

let alertNumber = 0;

const buyerName = (buyerId) => people.buyers.get(buyerId);

/** The one product of an order's items, or null; the column holds JSON as a text. */
function onlyProduct(items) {
  try {
    const ids = new Set(JSON.parse(items ?? '[]').map(({ productId }) => productId));
    return ids.size === 1 ? [...ids][0] : null;
  } catch {
    return null;
  }
}

export const dashboard = {
  /** Product id to name, of this seller's. */
  names: new Map(),

  clear() {
    for (const rows of LISTS) rows.clear();
  },

  load(state, sellerId) {
    const own = (rows) => oldestFirst(rows.filter((row) => row.sellerId === sellerId));
    const products = own(state.products);
    this.names = new Map(products.map(({ id, name }) => [id, name]));
    this.loadAlerts(products);
    orders.clear();
    quotations.clear();
    for (const order of own(state.orders)) this.loadOrder(String(order.id), order);
    for (const { id, ...invitation } of own(state.invitations)) {
      const status = invitation.status === 'pending' ? 'invited' : invitation.status;
      this.putInvitation({ ...invitation, invitationId: id }, status, { quiet: true });
    }
    for (const { id, ...order } of own(state.wholesale)) this.putWholesale({ ...order, orderId: id }, order.status, { quiet: true });
    for (const { id, ...quotation } of own(state.quotations)) {
      this.putQuotation({ ...quotation, quotationId: String(id) }, quotation.status, { quiet: true });
    }
  },

  loadOrder(id, order) {
    const buyerId = order.buyerId ?? order.userId;
    const who = buyerName(buyerId) ?? order.customerName ?? 'Guest';
    orders.put(id, { ...pickOrder(order), who }, { quiet: true });
    if (order.orderType === 'wholesale') this.putWholesale({ ...order, orderId: id, buyerId }, order.status, { quiet: true });
    if (!isDone(order) || sales.rows.has(id)) return;
    sales.put(id, { title: this.saleTitle(onlyProduct(order.items), buyerId), amount: order.total }, { quiet: true });
  },

  /** What is low or sold out already, until the first alert comes. */
  loadAlerts(products) {
    if (alerts.rows.size > 0) return;
    for (const { id, name, stock } of products.filter(isOnSale)) {
      if (stock === null || stock === undefined || stock >= LOW_STOCK) continue;
      alerts.put(`start-${id}`, { name, stock }, { quiet: true });
    }
  },

  /** What `analytics:inventory_alert` says. */
  alert({ productName, currentStock }, at) {
    alerts.put(`alert-${(alertNumber += 1)}`, { name: productName, stock: currentStock, at });
  },

  /** What `stock:restocked` says. */
  restocked({ productName, newStock }, at) {
    alerts.put(`alert-${(alertNumber += 1)}`, { name: productName, stock: newStock, at, restocked: true });
  },

  putOrder(data) {
    const buyer = buyerName(data.buyerId);
    const known = orders.rows.get(data.orderId)?.value.who;
    orders.put(data.orderId, { ...pickOrder(data), who: buyer ?? known ?? 'Guest' });
    this.buyers.set(data.orderId, data.buyerId);
  },

  /** Order id to buyer id: a sale does not say whose it was. */
  buyers: new Map(),

  saleTitle(productId, buyerId) {
    return this.names.get(productId) ?? (buyerName(buyerId) ? `${buyerName(buyerId)}’s order` : undefined);
  },

  /** What `analytics:sale_completed` says. */
  sold({ orderId, amount, productId }, at) {
    // Again at the top, should it be there already.
    sales.remove(orderId);
    sales.put(orderId, { title: this.saleTitle(productId, this.buyers.get(orderId)), amount, at });
  },

  putQuotation(data, status, options) {
    const known = quotations.rows.get(data.quotationId)?.value ?? {};
    const partner = people.buyerOf(data.buyerId, data.buyerEmail) ?? known.partner;
    const note = buyerName(partner) ?? data.buyerEmail ?? known.note;
    quotations.put(data.quotationId, { title: data.quotationNumber, note, partner, total: data.total, status }, options);
  },

  putInvitation(data, status, options) {
    const known = wholesale.rows.get(data.invitationId)?.value.title;
    const title = data.buyerName ?? known ?? buyerName(people.buyerOf(data.buyerId, data.buyerEmail)) ?? data.buyerEmail;
    wholesale.put(data.invitationId, { title, note: 'invitation', status }, options);
  },

  putWholesale(data, status, options) {
    const title = buyerName(data.buyerId) ?? data.buyerId ?? data.customerName;
    wholesale.put(data.orderId, { title, note: 'order', total: data.total, status }, options);
  },

  /** Somebody came or went. */
  refreshPresence() {
    quotations.refill();
  },
};
