/** Makes an answer small whatever a stranger wrote into it: it travels through histories and terminals. */

/** Characters of a text. */
const TEXT = 200;
/** Entries of a list. */
const LIST = 20;

/** The same value with long texts and lists cut. */
export function abridge<Value>(value: Value): Value {
  return cut(value) as Value;
}

function cut(value: unknown): unknown {
  if (typeof value === 'string') return value.length > TEXT ? `${value.slice(0, TEXT - 1)}…` : value;
  if (Array.isArray(value)) return value.slice(0, LIST).map(cut);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, cut(one)]));
}
