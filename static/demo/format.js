// How names, times and amounts are written.

const camel = (key) => key.replace(/_+([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** Rows come with the database's column names, events with camelCase: one spelling from here on. */
export const camelKeys = (row) => Object.fromEntries(Object.entries(row ?? {}).map(([key, value]) => [camel(key), value]));

/** Without the keys of which nothing is known. */
export const defined = (known) => Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined));

const twoDigits = (number) => String(number).padStart(2, '0');

export const clock = (date) => [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(':');

/** Amounts are decimal strings and stay so: a float would lose digits. */
export function money(amount) {
  if (amount === null || amount === undefined || amount === '') return '';
  return `$${String(amount).replace(/^-?\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ','))}`;
}

export const words = (status) => String(status ?? '').replaceAll('_', ' ');

export const counted = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

/** Lists put their newest row on top, so rows go in from the oldest on. Rows without a date stay as they came. */
export const oldestFirst = (rows) => [...rows].sort((a, b) => String(a.createdAt ?? '').localeCompare(String(b.createdAt ?? '')));
