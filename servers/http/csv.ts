/** Tables as CSV (RFC 4180), safe to open in a spreadsheet whatever strangers wrote into them. */

export interface Column<Row> {
  name: string;
  value(row: Row): string | number | boolean | null;
}

/** A header line, then a line a row; lines end with CRLF (RFC 4180, 2.1). */
export function toCsv<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  return lineOf(columns.map(({ name }) => name)) + linesOf(columns, rows);
}

const linesOf = <Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string =>
  rows.map((row) => lineOf(columns.map(({ value }) => cell(value(row))))).join('');
const lineOf = (cells: string[]): string => `${cells.join(',')}\r\n`;

/**
 * A spreadsheet takes a text that begins like a formula for one, and a formula can call out or run commands (OWASP, CSV
 * injection). An apostrophe before it makes it text again. Numbers are ours.
 */
function cell(value: string | number | boolean | null): string {
  if (typeof value !== 'string') return value === null ? '' : String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Also in their full-width forms, which some locales take for the same, and behind spaces. */
const FORMULA = /^\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

/** @param name of the file, without the extension */
export function csvResponse<Row>(columns: readonly Column<Row>[], rows: readonly Row[], name: string): Response {
  return new Response(toCsv(columns, rows), { headers: headersOf(name) });
}

/**
 * All rows of a long table, a page of the store at a time as they are taken. An error on the way breaks the download off:
 * a file that looks whole is whole.
 */
export function csvStream<Row>(columns: readonly Column<Row>[], pages: AsyncIterable<Row[]>, name: string): Response {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    const encoder = new TextEncoder();
    yield encoder.encode(toCsv(columns, []));
    for await (const rows of pages) yield encoder.encode(linesOf(columns, rows));
  }
  return new Response(ReadableStream.from(bytes()), { headers: headersOf(name) });
}

/** Every page of a list, from the first: `next` asks for the rows after one. */
export async function* everyPage<Row>(
  size: number,
  next: (last: Row | undefined) => Promise<Row[]>,
): AsyncGenerator<Row[]> {
  for (let last: Row | undefined; ;) {
    const rows = await next(last);
    yield rows;
    last = rows.at(-1);
    if (rows.length < size) return;
  }
}

const headersOf = (name: string) => ({
  'content-type': 'text/csv; charset=utf-8; header=present',
  'content-disposition': `attachment; filename="${name.replace(/[^\w.-]/g, '_')}.csv"`,
  'cache-control': 'private, no-store',
});
