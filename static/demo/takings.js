// What a seller has taken: today's revenue, with each payment, and the store's figures, every half minute.

import { byId, flash, setText, showDelta } from './dom.js';
import { clock, money } from './format.js';

const FIGURES = {
  'metric-orders': ({ totalOrders }) => totalOrders?.toLocaleString('en'),
  'metric-revenue': ({ totalRevenue }) => money(totalRevenue),
  'metric-products': ({ totalProducts }) => totalProducts?.toLocaleString('en'),
  'metric-average': ({ averageOrderValue }) => money(averageOrderValue),
};

export const takings = {
  /** As the database holds them; a store without orders has no row. */
  load({ figures, wholesaleRevenue, products }, sellerId) {
    const own = ({ sellerId: seller }) => seller === sellerId;
    const { totalOrders, totalRevenue, averageOrderValue, revenueToday } = figures.find(own) ?? {};
    const cents = (amount) => Math.round(Number(amount ?? 0) * 100);
    const wholesale = wholesaleRevenue.find(own);
    const sum = (one, other) => ((cents(one) + cents(other)) / 100).toFixed(2);
    setText(byId('revenue-today'), money(sum(revenueToday, wholesale?.revenueToday)));
    this.setMetrics({
      totalOrders: totalOrders ?? 0,
      totalRevenue: sum(totalRevenue, wholesale?.totalRevenue),
      totalProducts: products.filter(own).length,
      averageOrderValue: averageOrderValue ?? '0.00',
    }, new Date(), { quiet: true });
  },

  /** What `analytics:revenue_updated` says. */
  addRevenue({ newRevenue, totalRevenue }) {
    if (setText(byId('revenue-today'), money(totalRevenue))) flash(byId('revenue-today'));
    showDelta(byId('revenue-delta'), `+${money(newRevenue)}`, true);
  },

  /** What `analytics:metrics_updated` says; `at` is the time that the figures are of. */
  setMetrics(metrics, at, { quiet = false } = {}) {
    for (const [id, textOf] of Object.entries(FIGURES)) {
      byId(id).title = `as of ${clock(at)}`;
      if (setText(byId(id), textOf(metrics) || '–') && !quiet) flash(byId(id));
    }
  },
};
