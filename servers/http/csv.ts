/** Tables as CSV (RFC 4180), safe to open in a spreadsheet whatever strangers wrote into them. */

export interface Column<Row> {
  name: string;
  value(row: Row): string | number | boolean | null;
}

/** A header line, then a line a row; lines end with CRLF (RFC 4180, 2.1). */
export function toCsv<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = [columns.map(({ name }) => name), ...rows.map((row) => columns.map(({ value }) => cell(value(row))))];
  return lines.map((line) => `${line.join(',')}\r\n`).join('');
}

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
  return new Response(toCsv(columns, rows), {
    headers: {
      'content-type': 'text/csv; charset=utf-8; header=present',
      'content-disposition': `attachment; filename="${name.replace(/[^\w.-]/g, '_')}.csv"`,
      'cache-control': 'private, no-store',
    },
  });
}
