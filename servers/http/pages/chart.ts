/** Messages an hour, stacked by what became of them. */
import type { Outcome, Records } from '../../../stores/records/port.ts';
import { barsPanel, type Band } from './bars.ts';
import type { Html } from './layout.ts';
import { moment, number } from './words.ts';

const HOUR = 3_600_000;
export const HOURS = 24;

/** What the outcomes mean to who looks: delivered, under way, not delivered, turned away on purpose. */
export const BANDS: (Band & { outcomes: Outcome[] })[] = [
  { name: 'delivered', tone: 'pass', outcomes: ['delivered'] },
  { name: 'on its way', tone: 'warn', outcomes: ['accepted'] },
  { name: 'not delivered', tone: 'fail', outcomes: ['refused', 'bounced', 'failed'] },
  { name: 'turned away or dropped', tone: 'none', outcomes: ['rejected', 'dropped'] },
];

export interface Hour {
  start: string;
  /** One count a band. */
  counts: number[];
}

/** The last 24 hours, oldest first. The store counts 'since'; an hour is the difference of two. */
export async function countHours(records: Records, now: number): Promise<Hour[]> {
  const first = Math.floor(now / HOUR) * HOUR - (HOURS - 1) * HOUR;
  const starts = Array.from({ length: HOURS }, (_, index) => new Date(first + index * HOUR).toISOString());
  const since = await Promise.all(starts.map((start) => records.activity.count(start)));
  return starts.map((start, index) => ({
    start,
    counts: BANDS.map(({ outcomes }) =>
      Math.max(0, total(since[index] ?? {}, outcomes) - total(since[index + 1] ?? {}, outcomes)),
    ),
  }));
}

export function total(counts: Partial<Record<Outcome, number>>, outcomes: readonly Outcome[]): number {
  return outcomes.reduce((sum, outcome) => sum + (counts[outcome] ?? 0), 0);
}

/** Hours that have their time under them. */
const LABELLED = 4;

export function hoursPanel(hours: Hour[]): Html {
  const sums = hours.map(({ counts }) => counts.reduce((sum, count) => sum + count, 0));
  const whole = sums.reduce((sum, count) => sum + count, 0);
  return barsPanel({
    title: 'Messages an hour',
    sentence: `Messages an hour over the last 24 hours: ${number(whole)} in all, at most ${number(Math.max(...sums))} in one hour.`,
    unit: 'Hour',
    bands: BANDS,
    bars: hours.map(({ start, counts }, index) => ({
      name: moment(start),
      counts,
      label: index % LABELLED === 0 ? start.slice(11, 16) : null,
      time: start,
    })),
  });
}
