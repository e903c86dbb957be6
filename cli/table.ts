/** One aligned table for the terminal, cut to its width; the same text without colours when it is no terminal. */

/** Columns are two spaces apart. */
const GAP = 2;
/** No column is cut below this. */
const NARROWEST = 8;
/** Where the output is no terminal nothing is cut: a file or a pipe has no width. */
export const terminalWidth = (): number =>
  process.stdout.isTTY ? (process.stdout.columns ?? 80) : Number.POSITIVE_INFINITY;

export interface Column {
  title: string;
  /** Numbers stand on the right. */
  align?: 'right';
  /** Keeps its whole width; others give way first. */
  fixed?: true;
}

/** Widths that fit: while the row is too wide, the widest column that may give way does. */
export function columnWidths(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): number[] {
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => row[index]?.length ?? 0)),
  );
  const total = () => widths.reduce((sum, one) => sum + one, GAP * (widths.length - 1));
  while (total() > width) {
    const candidates = widths.map((one, index) => (columns[index]?.fixed ? 0 : one));
    const widest = Math.max(...candidates);
    if (widest <= NARROWEST) break;
    widths[candidates.indexOf(widest)] = widest - 1;
  }
  return widths;
}

export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number = terminalWidth(),
): string {
  const widths = columnWidths(columns, rows, width);
  return [columns.map(({ title }) => title), ...rows].map((row) => formatRow(columns, row, widths)).join('');
}

export function formatRow(columns: readonly Column[], row: readonly string[], widths: readonly number[]): string {
  const cells = columns.map(({ align }, index) => {
    const cell = cut(plain(row[index] ?? ''), widths[index] ?? 0);
    return align === 'right' ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0);
  });
  return `${cells.join(' '.repeat(GAP)).trimEnd()}\n`;
}

const cut = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text;
/** A subject may hold control characters, which a terminal would obey. */
const plain = (text: string): string => text.replace(/\p{Cc}/gu, ' ');
