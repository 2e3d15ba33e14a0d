// The buyer's carts, one with each shop, shown as one.

import { byId, flash, fromTemplate, setText } from './dom.js';
import { counted, money } from './format.js';
import { people } from './people.js';
import { priceOf } from './product.js';
import { storefront } from './storefront.js';

const ACTIONS = { added: 'added', updated: 'changed', removed: 'taken out', cleared: 'emptied' };

/** Cart id to its items: `{ productId, quantity, variant? }`. */
const carts = new Map();
/** Cart id, product and variant to the element of the item. */
const chips = new Map();

const chipKey = (cartId, { productId, variant }) => JSON.stringify([cartId, productId, choices(variant)]);
const nameOf = (productId) => storefront.product(productId)?.name ?? 'no longer on sale';

export const cart = {
  /** Draws this buyer's carts as the database holds them. */
  load(rows, buyerId) {
    carts.clear();
    for (const { id, buyerId: owner, status, items } of rows) {
      if (owner === buyerId && (status ?? 'active') === 'active' && Array.isArray(items)) carts.set(id, items);
    }
    setText(byId('cart-action'), '');
    this.draw();
  },

  /** What `cart:updated` says. */
  change({ cartId, sellerId, items, action, changed }) {
    if (items.length > 0) carts.set(cartId, items);
    else carts.delete(cartId);
    const what = changed ? nameOf(changed.productId) : (people.sellers.get(sellerId) ?? sellerId);
    setText(byId('cart-action'), `${what}: ${ACTIONS[action] ?? action}`);
    flash(byId('cart-action'));
    this.draw();
    if (changed) chips.get(chipKey(cartId, changed))?.animate([{ opacity: 0.2 }, { opacity: 1 }], { duration: 500 });
  },

  /** Also where a price or a name has changed. */
  draw() {
    const shown = [...carts].flatMap(([cartId, items]) => items.map((item) => ({ key: chipKey(cartId, item), item })));
    const keys = new Set(shown.map(({ key }) => key));
    for (const [key, chip] of chips) {
      if (keys.has(key)) continue;
      chip.remove();
      chips.delete(key);
    }
    for (const { key, item } of shown) fillChip(key, item);
    setText(byId('cart-sum'), sum(shown.map(({ item }) => item)));
  },
};

function fillChip(key, { productId, quantity, variant }) {
  let chip = chips.get(key);
  if (!chip) {
    chip = fromTemplate('cart-template');
    chips.set(key, chip);
    byId('cart').append(chip);
  }
  const chosen = choices(variant).map(([, value]) => value).join(', ');
  setText(chip.querySelector('.title'), chosen ? `${nameOf(productId)} (${chosen})` : nameOf(productId));
  chip.title = chip.querySelector('.title').textContent;
  if (setText(chip.querySelector('.quantity'), `×${quantity}`)) flash(chip);
}

/** What a variant is made of, in the order of its keys: that of an object's text is nobody's promise. */
function choices(variant) {
  if (variant === null || variant === undefined) return [];
  return typeof variant === 'object' ? Object.entries(variant).sort(([a], [b]) => a.localeCompare(b)) : [['variant', variant]];
}

function sum(items) {
  if (items.length === 0) return '';
  const pieces = items.reduce((total, { quantity }) => total + Number(quantity), 0);
  const products = items.map((item) => ({ ...item, product: storefront.product(item.productId) }));
  // Of a product that is not on sale any more the price is not known.
  if (products.some(({ product }) => !product)) return counted(pieces, 'piece');
  const cents = products.reduce((total, { product, quantity }) => total + Math.round(Number(priceOf(product)) * 100) * Number(quantity), 0);
  return `${counted(pieces, 'piece')}, ${money((cents / 100).toFixed(2))}`;
}
