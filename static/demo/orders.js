// Orders, as a buyer and a seller see them, and the colours of every status.

import { setText, setTone } from './dom.js';
import { money, words } from './format.js';

const STEPS = { pending: 1, processing: 2, shipped: 3, delivered: 4, fulfilled: 4, completed: 4 };

export const TONES = {
  pending: '', draft: '', placed: '',
  processing: 'blue', shipped: 'blue', sent: 'blue', deposit_paid: 'blue', in_production: 'blue', ready_to_release: 'blue',
  delivered: 'green', completed: 'green', fulfilled: 'green', accepted: 'green', balance_paid: 'green', fully_paid: 'green',
  partially_refunded: 'amber', viewed: 'amber', invited: 'amber', balance_due: 'amber', awaiting_balance: 'amber',
  cancelled: 'red', refunded: 'red', rejected: 'red', expired: 'red', balance_overdue: 'red',
};

export const isDone = ({ status, fulfillmentStatus }) =>
  ['completed', 'fulfilled', 'delivered'].includes(status) || fulfillmentStatus === 'fulfilled';

export function pickOrder({ status, paymentStatus, fulfillmentStatus, total, trackingNumber }) {
  return { status, paymentStatus, fulfillmentStatus, total, trackingNumber };
}

export function fillOrder(element, order, id) {
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
