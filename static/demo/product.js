// A product's card in the storefront.

import { flash, fromTemplate, setText, setTone, showDelta } from './dom.js';
import { clock, counted, defined, money } from './format.js';

const LOW_STOCK = 10;
const FULL_SHELF = 30;
const HISTORY_KEPT = 30;

/** What the buyer pays, as a decimal string. */
export function priceOf({ price, discountPercentage, promotionActive }) {
  const discounted = Number(promotionActive) === 1 && Number(discountPercentage) > 0;
  return discounted ? ((Number(price) * (100 - Number(discountPercentage))) / 100).toFixed(2) : price;
}

export class ProductCard {
  /** `hue` is 0, 1 or 2: the shop's colour. */
  constructor(id, hue, toggle) {
    this.id = id;
    this.value = {};
    this.element = fromTemplate('product-template');
    this.element.dataset.id = id;
    this.part('.tile').dataset.hue = hue;
    this.button = this.part('.product-open');
    this.button.addEventListener('click', toggle);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  /** Merges what is known. `quiet` is for what is no news. */
  set(known, { quiet = false } = {}) {
    const before = { ...this.value };
    Object.assign(this.value, defined(known));
    this.fill(before, quiet);
    if (quiet) return;
    for (const key of ['stock', 'price']) {
      const [from, to] = [before[key], this.value[key]];
      if (from !== undefined && String(from) !== String(to)) this.remember(`${key} ${from ?? 'none'} → ${to ?? 'none'}`);
    }
  }

  fill(before, quiet) {
    const { value } = this;
    const name = value.name ?? this.id;
    const stock = Number(value.stock ?? 0);
    const level = stock <= 0 ? 'out' : stock < LOW_STOCK ? 'low' : 'fine';
    const price = priceOf(value);
    const discounted = price !== value.price;

    setText(this.part('.name'), name);
    this.part('.name').title = name;
    setText(this.part('.tile'), [...name][0]?.toUpperCase());
    setText(this.part('.price small'), discounted && level !== 'out' ? `−${Number(value.discountPercentage)} %` : '');
    this.part('.price').title = discounted ? `${money(value.price)} before the discount` : '';
    if (setText(this.part('.price b'), money(price)) && !quiet) flash(this.part('.price'));
    if (setText(this.part('.stock b'), stock) && !quiet) {
      flash(this.part('.stock'));
      const delta = stock - Number(before.stock ?? stock);
      if (delta !== 0) showDelta(this.part('.delta'), delta > 0 ? `+${delta}` : `−${-delta}`, delta > 0);
    }
    this.element.dataset.level = level;
    this.part('.level i').style.setProperty('--fill', Math.max(0, Math.min(1, stock / FULL_SHELF)).toFixed(3));
    const badge = this.part('.badge');
    setText(badge, { out: 'sold out', low: 'low', fine: '' }[level]);
    setTone(badge, level === 'out' ? 'red' : 'amber');
  }

  remember(text) {
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = clock(new Date());
    line.append(time, text);
    const history = this.part('.history');
    history.prepend(line);
    while (history.childElementCount > HISTORY_KEPT) history.lastElementChild.remove();
  }

  setOpen(open) {
    this.element.toggleAttribute('data-open', open);
    this.button.setAttribute('aria-expanded', String(open));
    this.part('.detail').hidden = !open;
    this.setViewers(null);
  }

  /** How many people look at it, the buyer included; null while that is not known: only another number is told. */
  setViewers(viewers) {
    const eye = this.part('.eye');
    eye.hidden = viewers === null || viewers < 1;
    setText(eye.querySelector('b'), viewers ?? '');
    const others = viewers === 1 ? 'Nobody else looks at it.' : `${counted(viewers ?? 0, 'person', 'people')} look at it now.`;
    setText(this.part('.looking'), viewers > 0 ? others : 'You look at it.');
  }

  setRoom(text) {
    setText(this.part('.ack'), text);
  }
}
