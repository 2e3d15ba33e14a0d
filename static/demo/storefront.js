// The products on sale, shop by shop; one of them may be open, and its room is joined as long.

import { byId, fromTemplate, setText } from './dom.js';
import { isOnSale, people } from './people.js';
import { ProductCard } from './product.js';

const HUES = 3;

export const storefront = {
  shops: new Map(),
  cards: new Map(),
  /** The open product's id. */
  open: null,
  /** The buyer's side. */
  side: null,

  /** Draws what the database holds; products that are still there keep their element, and an open one stays open. */
  load(products) {
    const onSale = products.filter(isOnSale);
    const ids = new Set(onSale.map(({ id }) => id));
    for (const id of this.cards.keys()) if (!ids.has(id)) this.remove(id);
    for (const product of onSale) this.put(product.id, product, { quiet: true });
  },

  /** What is known of a product on sale, or undefined. */
  product(id) {
    return this.cards.get(id)?.value;
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

  put(id, known, options) {
    let card = this.cards.get(id);
    if (!card) {
      const hue = Math.max(0, [...people.sellers.keys()].indexOf(known.sellerId)) % HUES;
      card = new ProductCard(id, hue, () => this.toggle(id));
      this.cards.set(id, card);
      this.shop(known.sellerId).querySelector('.products').append(card.element);
    }
    card.set(known, options);
  },

  /** Changes a product that is shown. False: it is not. */
  change(id, changes) {
    if (!this.cards.has(id)) return false;
    if (!isOnSale(changes)) this.remove(id);
    else this.put(id, changes);
    return true;
  },

  remove(id) {
    if (this.open === id) this.close();
    this.cards.get(id)?.element.remove();
    this.cards.delete(id);
  },

  toggle(id) {
    const closing = this.open;
    if (closing !== null) this.close();
    if (closing === id) return;
    this.open = id;
    this.cards.get(id).setOpen(true);
    this.join();
  },

  /** Opens a product, and brings it into view. */
  show(id) {
    if (!this.cards.has(id)) return;
    if (this.open !== id) this.toggle(id);
    const { element, button } = this.cards.get(id);
    element.scrollIntoView({ block: 'nearest' });
    button.focus();
  },

  close() {
    const id = this.open;
    this.open = null;
    this.cards.get(id).setOpen(false);
    this.side.ask('leave:product', { productId: id });
  },

  /** Joins the room of the open product: after a click, and after each connect. */
  async join() {
    const id = this.open;
    if (id === null) return;
    const card = this.cards.get(id);
    card.setRoom(`joining product:${id} …`);
    const answer = await this.side.ask('join:product', { productId: id });
    if (answer === null || this.open !== id) return;
    if (answer.success) card.setRoom(`live in room ${answer.room}, from position ${answer.position ?? 'unknown'}`);
    else card.setRoom(`join:product was refused: ${answer.error}`);
  },

  /** Hears of all products of all shops: after each connect. Gives the refusals, in words. */
  async joinAll() {
    const shops = [...people.sellers.keys()];
    const answers = await Promise.all(shops.map((sellerId) => this.side.ask('join:storefront', { sellerId })));
    const refused = (answer, n) => (answer?.success === false ? [`join:storefront for ${shops[n]}: ${answer.error}`] : []);
    return answers.flatMap(refused);
  },

  viewers(id, viewers) {
    if (this.open === id) this.cards.get(id).setViewers(viewers);
  },
};
