// Who looks at a seller's products: how often since the page was opened, and how many people at this moment.

import { byId, flash, setText } from './dom.js';
import { counted } from './format.js';
import { isOnSale } from './people.js';
import { Rows } from './rows.js';

function fillAttention(element, { name, views = 0, viewers = 0 }, id) {
  setText(element.querySelector('.title'), name ?? id.slice(0, 8));
  element.title = name ?? id;
  setText(element.querySelector('.views'), views === 0 ? '' : counted(views, 'view'));
  const eye = element.querySelector('.eye');
  setText(eye.querySelector('b'), viewers);
  eye.toggleAttribute('data-some', viewers > 0);
  eye.title = `${counted(viewers, 'person', 'people')} looking now`;
}

const rows = new Rows(byId('attention'), 'attention-template', fillAttention);

export const attention = {
  clear: () => rows.clear(),

  load(products) {
    const onSale = products.filter(isOnSale);
    const ids = new Set(onSale.map(({ id }) => id));
    for (const id of [...rows.rows.keys()]) if (!ids.has(id)) rows.remove(id);
    for (const { id, name } of onSale.reverse()) rows.put(id, { name }, { quiet: true });
  },

  add: ({ productId, name }) => rows.put(productId, { name }),
  remove: ({ productId }) => rows.remove(productId),

  /** What `analytics:product_viewed` says: so many more came. */
  viewed({ productId, viewCount, viewersNow }) {
    const known = rows.rows.get(productId)?.value.views ?? 0;
    rows.put(productId, { views: known + viewCount, viewers: viewersNow }, { quiet: true });
    flash(rows.rows.get(productId).element.querySelector('.views'));
  },

  /** What `presence:viewers` says. */
  viewers({ productId, viewers }) {
    rows.put(productId, { viewers }, { quiet: true });
    flash(rows.rows.get(productId).element.querySelector('.eye'));
  },
};
