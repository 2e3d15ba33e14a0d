// News that the buyer waited for: it stays for some seconds, above the page.

import { byId, fromTemplate, setText } from './dom.js';

const SHOWN_MS = 9000;
const AT_A_TIME = 2;

/** Says it; a press on its button acts, and takes it away. */
export function toast(text, label, act) {
  const list = byId('toasts');
  const element = fromTemplate('toast-template');
  setText(element.querySelector('.title'), text);
  const action = element.querySelector('.act');
  setText(action, label);
  action.addEventListener('click', () => {
    element.remove();
    act();
  });
  element.querySelector('.dismiss').addEventListener('click', () => element.remove());
  list.append(element);
  while (list.childElementCount > AT_A_TIME) list.firstElementChild.remove();
  goAfter(element, SHOWN_MS);
}

/** Not while somebody points at it or stands in it. */
function goAfter(element, milliseconds) {
  setTimeout(() => {
    if (element.matches(':hover, :focus-within')) goAfter(element, 1000);
    else element.remove();
  }, milliseconds);
}
