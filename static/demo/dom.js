// How the document is read and written. Rows can hold any text, so text reaches it through textContent alone.

export const byId = (id) => document.getElementById(id);

const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** Whether the visitor wants no motion. */
export const isCalm = () => calm.matches;

/** A copy of the template's only element. */
export const fromTemplate = (id) => byId(id).content.firstElementChild.cloneNode(true);

/** Sets the text only where it differs, and says whether it did. */
export function setText(element, text) {
  const next = String(text ?? '');
  if (element.textContent === next) return false;
  element.textContent = next;
  return true;
}

export function setTone(element, tone) {
  if (tone) element.dataset.tone = tone;
  else delete element.dataset.tone;
}

/** A moment of colour behind what has changed. */
export function flash(element) {
  const colour = getComputedStyle(document.documentElement).getPropertyValue('--flash');
  element.animate([{ backgroundColor: colour }, { backgroundColor: 'transparent' }], {
    duration: isCalm() ? 600 : 1400,
    easing: 'ease-out',
  });
}

/** Shows by how much something has changed, then nothing again. */
export function showDelta(element, text, rises) {
  element.dataset.sign = rises ? 'up' : 'down';
  setText(element, text);
  const end = isCalm() ? 'none' : 'translateY(-4px)';
  element.animate([{ opacity: 1, transform: 'none' }, { opacity: 1, offset: 0.6 }, { opacity: 0, transform: end }], { duration: 1800 });
}

/** The line above the page, for what the visitor should know of; hidden without a text. */
export function notice(text) {
  const bar = byId('notice');
  setText(bar, text);
  bar.hidden = !text;
}
