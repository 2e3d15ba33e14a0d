// What the seller's socket hears, and what that does to the dashboard.

import { attention } from './attention.js';
import { dashboard } from './dashboard.js';
import { people } from './people.js';
import { takings } from './takings.js';

/** Draws this seller's store, as the database holds it. */
export function loadSeller(state, sellerId) {
  dashboard.load(state, sellerId);
  attention.load(state.products.filter((product) => product.sellerId === sellerId));
  takings.load(state, sellerId);
}

/** Another seller's store comes. */
export function forgetSeller() {
  dashboard.clear();
  attention.clear();
}

/** Event type to what it does. */
export const sellerHears = {
  'analytics:revenue_updated': (data) => takings.addRevenue(data),
  'analytics:metrics_updated': ({ metrics }, at) => takings.setMetrics(metrics, at),
  'analytics:inventory_alert': (data, at) => dashboard.alert(data, at),
  'analytics:sale_completed': (data, at) => dashboard.sold(data, at),
  'analytics:product_viewed': (data) => attention.viewed(data),
  'presence:viewers': (data) => attention.viewers(data),
  'presence:changed': ({ userId, online }) => {
    people.online.set(userId, online);
    dashboard.refreshPresence();
  },
  'product:created': (data) => {
    dashboard.names.set(data.productId, data.name);
    attention.add(data);
  },
  'product:deleted': (data) => attention.remove(data),
  'stock:restocked': (data, at) => dashboard.restocked(data, at),
  'order:updated': (data) => dashboard.putOrder(data),
  'quotation:created': (data) => dashboard.putQuotation(data, 'draft'),
  'quotation:updated': (data) => dashboard.putQuotation(data, undefined),
  'quotation:viewed': (data) => dashboard.putQuotation(data, 'viewed'),
  'quotation:accepted': (data) => dashboard.putQuotation(data, 'accepted'),
  'quotation:rejected': (data) => dashboard.putQuotation(data, 'rejected'),
  'quotation:expired': (data) => dashboard.putQuotation(data, 'expired'),
  'wholesale:invitation_sent': (data) => dashboard.putInvitation(data, 'invited'),
  'wholesale:invitation_accepted': (data) => dashboard.putInvitation(data, 'accepted'),
  'wholesale:invitation_rejected': (data) => dashboard.putInvitation(data, 'rejected'),
  'wholesale:order_placed': (data) => dashboard.putWholesale(data, 'placed'),
  'wholesale:order_updated': (data) => dashboard.putWholesale(data, data.status),
  'wholesale:deposit_paid': (data) => dashboard.putWholesale(data, 'deposit_paid'),
  'wholesale:balance_paid': (data) => dashboard.putWholesale(data, 'balance_paid'),
};
