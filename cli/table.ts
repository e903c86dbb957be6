/**
 * One aligned table for the terminal: words before colours, colours only on a terminal that wants them (NO_COLOR,
 * https://no-color.org), widths as a terminal shows them. What is wider than the terminal is cut.
 */

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

/** What a cell's colour says; the word beside it says it too. */
export type State = 'pass' | 'warn' | 'fail' | 'none';
export type Cell = string | { text: string; state: State };

/** Widths that fit: while the row is too wide, the widest column that may give way does. */
export function columnWidths(columns: readonly Column[], rows: readonly (readonly Cell[])[], width: number): number[] {
  const widths = naturalWidths(columns, rows);
  while (totalWidth(widths) > width) {
    const candidates = widths.map((one, index) => (columns[index]?.fixed ? 0 : one));
    const widest = Math.max(...candidates);
    if (widest <= NARROWEST) break;
    widths[candidates.indexOf(widest)] = widest - 1;
  }
  return widths;
}

/** The title row and the rows, a line each. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number = terminalWidth(),
): string {
  const widths = columnWidths(columns, rows, width);
  return [columns.map(({ title }) => title), ...rows].map((row) => formatRow(columns, row, widths)).join('');
}

export function formatRow(columns: readonly Column[], row: readonly Cell[], widths: readonly number[]): string {
  const cells = columns.map(({ align }, index) => {
    const cell = row[index] ?? '';
    const text = cut(textOf(cell), widths[index] ?? 0);
    const padding = ' '.repeat(Math.max(0, (widths[index] ?? 0) - displayWidth(text)));
    const shown = paint(typeof cell === 'string' ? text : { ...cell, text });
    return align === 'right' ? padding + shown : shown + padding;
  });
  return `${cells.join(' '.repeat(GAP)).trimEnd()}\n`;
}

/** Columns that the whole table takes when nothing is cut. */
export function tableWidth(columns: readonly Column[], rows: readonly (readonly Cell[])[]): number {
  return totalWidth(naturalWidths(columns, rows));
}

const COLOURS: Record<State, [string, string]> = {
  pass: ['\x1b[32m', '\x1b[39m'],
  warn: ['\x1b[33m', '\x1b[39m'],
  fail: ['\x1b[31m', '\x1b[39m'],
  none: ['\x1b[2m', '\x1b[22m'],
};

/** A cell in its colour, where standard output is a terminal that wants colours. */
export function paint(cell: Cell): string {
  const isPlain = !process.stdout.isTTY || Boolean(process.env.NO_COLOR) || process.env.TERM === 'dumb';
  if (typeof cell === 'string' || isPlain) return textOf(cell);
  const [on, off] = COLOURS[cell.state];
  return `${on}${textOf(cell)}${off}`;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
/** East Asian scripts, their punctuation and full-width forms, and emoji take two columns (UAX #11). */
const WIDE =
  /\p{Script=Han}|\p{Script=Hangul}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Emoji_Presentation}|[\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Columns that a text takes on a terminal. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

function naturalWidths(columns: readonly Column[], rows: readonly (readonly Cell[])[]): number[] {
  return columns.map(({ title }, index) =>
    Math.max(displayWidth(title), ...rows.map((row) => displayWidth(textOf(row[index] ?? '')))),
  );
}

const totalWidth = (widths: number[]): number => widths.reduce((sum, one) => sum + one, GAP * (widths.length - 1));

function cut(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let short = '';
  for (const { segment } of graphemes.segment(text)) {
    if (displayWidth(short) + displayWidth(segment) > width - 1) break;
    short += segment;
  }
  return `${short}…`;
}

/** A subject may hold control characters, which a terminal would obey. */
function textOf(cell: Cell): string {
  return (typeof cell === 'string' ? cell : cell.text).replace(/\p{Cc}/gu, ' ');
}
