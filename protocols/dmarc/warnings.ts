/** What is odd about a report that is taken all the same. Bounded: one entry a code and field, with a count. */
export const WARNING_CODES = [
  /** Bytes that are no UTF-8 (or not of the declared encoding); they read as U+FFFD. */
  'invalid_encoding',
  /** The XML declaration names an encoding that nobody knows; it was read as UTF-8. */
  'unknown_encoding',
  /** Text after the end of the report was ignored. */
  'trailing_data',
  /** Text between elements, where none belongs. */
  'stray_text',
  /** An element of neither form; it is kept as an extension. */
  'unknown_element',
  /** More extensions than are kept. */
  'extensions_cut',
  /** An element that must be there is not, or is empty. */
  'missing_field',
  /** An element that may be there once; the first counts. */
  'repeated_element',
  /** A value that is none of those that the standards list; it reads as null. */
  'unknown_value',
  /** A value in upper or mixed case. */
  'letter_case',
  /** Another word for a value of the standards, such as hardfail for fail. */
  'other_word',
  /** A longer text than is kept. */
  'text_cut',
  /** More DKIM or SPF results, reasons or errors than are kept. */
  'results_cut',
  /** An address in another form than RFC 5952 writes it; it was normalised. */
  'address_form',
  /** A record of no messages. */
  'zero_count',
  /** A report without records. */
  'no_records',
  /** A time that is not written in whole seconds since 1970. */
  'date_form',
  /** The interval has no length. */
  'empty_interval',
  /** Line ends after the compressed data. */
  'trailing_bytes',
  /** A policy of a TLS report that is about another domain than the rest; it was left out. */
  'foreign_policy',
] as const;

export type WarningCode = (typeof WARNING_CODES)[number];

export interface ReportWarning {
  code: WarningCode;
  /** Path of the element, such as `record/row/source_ip`; empty for the whole report. */
  field: string;
  /** How often. */
  count: number;
  /** The first of them, at most 80 characters. */
  example: string | null;
}

const EXAMPLE_CHARACTERS = 80;

/** Collects warnings; `field` is always one of a fixed set, so that memory stays constant. */
export class Warnings {
  readonly #all = new Map<string, ReportWarning>();

  add(code: WarningCode, field = '', example: string | null = null): void {
    const key = `${code} ${field}`;
    const known = this.#all.get(key);
    if (known) known.count++;
    else this.#all.set(key, { code, field, count: 1, example: example?.slice(0, EXAMPLE_CHARACTERS) ?? null });
  }

  list(): ReportWarning[] {
    return [...this.#all.values()];
  }
}
