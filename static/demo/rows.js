import { flash, fromTemplate } from './dom.js';
import { defined } from './format.js';

const ROWS_KEPT = 40;

/** A list that shows its newest rows first and changes the others where they stand. */
export class Rows {
  /** `fill(element, value, id)` writes what is known of a row into its copy of the template. */
  constructor(list, template, fill, limit = ROWS_KEPT) {
    Object.assign(this, { list, template, fill, limit, rows: new Map() });
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Merges what is known into the row of this id, or makes it. */
  put(id, known, { quiet = false } = {}) {
    let row = this.rows.get(id);
    if (!row) {
      row = { value: {}, element: fromTemplate(this.template) };
      row.element.dataset.id = id;
      this.rows.set(id, row);
      this.list.prepend(row.element);
      this.trim();
    }
    Object.assign(row.value, defined(known));
    this.fill(row.element, row.value, id);
    if (!quiet) flash(row.element);
  }

  /** Writes every row again, where something that they show has changed elsewhere. */
  refill() {
    for (const [id, { element, value }] of this.rows) this.fill(element, value, id);
  }

  remove(id) {
    this.rows.get(id)?.element.remove();
    this.rows.delete(id);
  }

  trim() {
    while (this.rows.size > this.limit) this.remove(this.rows.keys().next().value);
  }
}
