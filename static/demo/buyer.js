// What the buyer's socket hears, and what that does to the storefront.

import { byId } from './dom.js';
import { camelKeys, oldestFirst } from './format.js';
import { cart } from './cart.js';
import { fillOrder, pickOrder } from './orders.js';
import { people } from './people.js';
import { Rows } from './rows.js';
import { storefront } from './storefront.js';
import { toast } from './toast.js';

const ownOrders = new Rows(byId('own-orders'), 'order-template', fillOrder, 2);

/** Draws what is this buyer's own, as the database holds it. */
export function loadBuyer({ orders, carts }, buyerId) {
  ownOrders.clear();
  const own = orders.filter((order) => (order.buyerId ?? order.userId) === buyerId);
  for (const order of oldestFirst(own)) {
    ownOrders.put(String(order.id), { ...pickOrder(order), who: people.sellers.get(order.sellerId) }, { quiet: true });
  }
  cart.load(carts, buyerId);
}

/** Event type to what it does; `reload` fetches anew what the database holds. */
export const buyerHears = (reload) => ({
  'product:created': (data) => {
    storefront.put(data.productId, { ...data, status: 'active' });
    cart.draw();
  },
  'product:updated': (data) => {
    const changes = camelKeys(data.changes);
    const known = storefront.change(data.productId, changes);
    // It came back on sale, and the event tells only what changed.
    if (!known && changes.status === 'active') reload();
    cart.draw();
  },
  'product:deleted': (data) => {
    storefront.remove(data.productId);
    cart.draw();
  },
  'product:stock_changed': (data) => storefront.change(data.productId, { stock: data.newStock }),
  'product:price_changed': (data) => {
    storefront.change(data.productId, { price: data.newPrice });
    cart.draw();
  },
  'stock:restocked': (data) => {
    storefront.change(data.productId, { stock: data.newStock });
    toast(`${data.productName} is there again: ${data.newStock} in stock`, 'Show', () => storefront.show(data.productId));
  },
  'order:updated': (data) => ownOrders.put(data.orderId, { ...pickOrder(data), who: people.sellers.get(data.sellerId) }),
  'cart:updated': (data) => cart.change(data),
  'presence:viewers': (data) => storefront.viewers(data.productId, data.viewers),
});
