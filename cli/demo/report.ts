/** What the demo prints: the table of messages, what is not as it must be, and the same as JSON. */
import {
  columnWidths,
  formatRow,
  formatTable,
  paint,
  tableWidth,
  terminalWidth,
  type Cell,
  type Column,
  type State,
} from '../table.ts';
import { elapsedText } from '../progress.mjs';
import type { MailActivity } from '../../stores/records/port.ts';
import { recordedVerdicts } from './check.ts';
import type { Demo, DemoRow } from './run.ts';

/** Replies are cut here; their code and their first words say what matters. */
const TOLD_WIDTH = 34;
const RUN_ID_WIDTH = 13;
/** The state, the message and what verification found. */
const VERDICT_COLUMNS = 6;
const COLUMNS: Column[] = ['', 'message', 'SPF', 'DKIM', 'DMARC', 'ARC', 'the sender was told', 'arrived', 'run'].map(
  (title) => ({ title }),
);

/** @param links prints the page of each run, for an installation that goes on running */
export function demoTable(demo: Demo, links: boolean): string {
  const wrong = demo.rows.filter((row) => row.differences.length > 0);
  const sentence =
    wrong.length === 0
      ? `All ${demo.rows.length} messages are as they must be.`
      : `${wrong.length} of ${demo.rows.length} messages ${wrong.length === 1 ? 'is' : 'are'} not as ${wrong.length === 1 ? 'it' : 'they'} must be.`;
  return [
    '',
    rowsText(
      demo.rows.map((row) => tableRow(row, links)),
      links,
    ),
    ...wrong.map((row) => differencesText(row)),
    `${paint({ text: sentence, state: wrong.length === 0 ? 'pass' : 'fail' })} It took ${elapsedText(demo.tookMs)}.`,
    ...(links ? [] : ['', 'To look at the runs:  switchyard demo --keep']),
    '',
  ].join('\n');
}

/** One line a message where the terminal is wide enough; else a second line for what was said and what arrived. */
function rowsText(rows: Cell[][], links: boolean): string {
  const width = terminalWidth();
  if (tableWidth(COLUMNS, rows) <= width) return formatTable(COLUMNS, rows);
  const verdicts = COLUMNS.slice(0, VERDICT_COLUMNS);
  const widths = columnWidths(verdicts, rows, width);
  const indent = ' '.repeat((widths[0] ?? 0) + 2);
  const lines = rows.map((row) => {
    const [told, arrived, run] = row
      .slice(VERDICT_COLUMNS)
      .map((cell) => (typeof cell === 'string' ? cell : cell.text));
    // A link is of use only when it is whole; the terminal wraps it.
    const rest = links
      ? `${told} -> ${arrived}\n${indent}${run}`
      : shorten(`${told} -> ${arrived}  ${run}`, width - indent.length);
    return `${formatRow(verdicts, row, widths)}${indent}${rest}\n`;
  });
  return (
    formatRow(
      verdicts,
      verdicts.map(({ title }) => title),
      widths,
    ) + lines.join('')
  );
}

/** The same for programs. */
export function demoJson(demo: Demo): unknown {
  return {
    ok: demo.rows.every((row) => row.differences.length === 0),
    tookMs: demo.tookMs,
    messages: demo.rows.map(({ case: sent, seen, differences, runs }) => ({
      message: sent.title,
      from: sent.from,
      to: sent.to,
      verdicts: verdictsOf(seen.records),
      told: seen.told instanceof Error ? { error: seen.told.message } : seen.told,
      outcomes: Object.fromEntries(seen.records.map((one) => [one.recipient, one.outcome])),
      arrived: [...seen.arrivals, ...seen.bounces.map((one) => one.arrival)].map(
        ({ sender, recipients, tls, raw, verdicts }) => ({ sender, recipients, tls, size: raw.length, verdicts }),
      ),
      runs,
      differences,
    })),
  };
}

function tableRow({ case: sent, seen, differences, runs }: DemoRow, links: boolean): Cell[] {
  const verdicts = verdictsOf(seen.records);
  return [
    differences.length === 0 ? { text: 'ok', state: 'pass' } : { text: 'WRONG', state: 'fail' },
    sent.title,
    ...(verdicts ? [verdicts.spf, verdicts.dkim, verdicts.dmarc, verdicts.arc] : ['-', '-', '-', '-']).map(verdictCell),
    seen.told instanceof Error
      ? { text: `no reply: ${seen.told.message}`, state: 'fail' }
      : shorten(seen.told.reply, TOLD_WIDTH),
    arrivedText(seen),
    runs.map(({ id, url }) => (links && url !== null ? url : shorten(id, RUN_ID_WIDTH))).join(', ') || 'none',
  ];
}

function verdictsOf(records: MailActivity[]) {
  const [record] = records.filter((one) => one.authentication !== null);
  return record ? recordedVerdicts(record) : null;
}

function verdictCell(result: string): Cell {
  const states: Record<string, State> = {
    pass: 'pass',
    fail: 'fail',
    permerror: 'fail',
    softfail: 'warn',
    temperror: 'warn',
  };
  return { text: result, state: states[result] ?? 'none' };
}

function arrivedText({ arrivals, bounces }: DemoRow['seen']): string {
  const counts = new Map<string, number>();
  for (const to of arrivals.flatMap((one) => one.recipients)) counts.set(to, (counts.get(to) ?? 0) + 1);
  const parts = [...counts].map(([to, count]) => (count === 1 ? to : `${to} (${count} times)`));
  parts.push(...bounces.map(({ arrival, status }) => `report ${status} to ${arrival.recipients.join(', ')}`));
  return parts.join(', ') || 'nothing';
}

function differencesText({ case: sent, differences }: DemoRow): string {
  const lines = differences.map(
    ({ what, expected, actual }) => `  ${what}: must be ${expected || "''"}, is ${actual || "''"}`,
  );
  return [`${paint({ text: sent.title, state: 'fail' })}`, ...lines, ''].join('\n');
}

function shorten(text: string, width: number): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length <= width ? line : `${line.slice(0, width - 1)}…`;
}
