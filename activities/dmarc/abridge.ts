/** Makes an answer small whatever a stranger wrote into it: it travels through histories and terminals. */

/** Characters of a text, and entries of a list. */
interface Cut {
  text: number;
  list: number;
}

/** What is shown of a value where nothing is in excess. */
const USUAL: Cut = { text: 200, list: 20 };
/** What is shown where it comes to too much all the same, as twenty lists of twenty lists do: less, until it fits. */
const LESS: Cut[] = [
  { text: 100, list: 5 },
  { text: 50, list: 1 },
  { text: 20, list: 0 },
];
/** Bytes of an answer. Temporal warns at 256 KiB and refuses 2 MiB, and a history may have a hundred of them. */
const ANSWER_BYTES = 65_536;

/** The same value with long texts and lists cut. */
export function abridge<Value>(value: Value): Value {
  return cut(value, USUAL) as Value;
}

/**
 * Values that were abridged, cut further where they come to more than an answer may have.
 * @returns as many as there were
 */
export function abridgeAll<Value>(values: Value[]): Value[] {
  let shown = values;
  for (const most of LESS) {
    if (Buffer.byteLength(JSON.stringify(shown)) <= ANSWER_BYTES) break;
    shown = values.map((one) => cut(one, most) as Value);
  }
  return shown;
}

function cut(value: unknown, most: Cut): unknown {
  if (typeof value === 'string') return value.length > most.text ? `${value.slice(0, most.text - 1)}…` : value;
  if (Array.isArray(value)) return value.slice(0, most.list).map((one) => cut(one, most));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, cut(one, most)]));
}
