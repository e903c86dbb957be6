/** The months and days of a range: a month that lies in it whole has one sum instead of thirty. */
import type { Range } from './queries-port.ts';

export interface Span {
  from: string;
  to: string;
}

/** `YYYY-MM` of a day. */
export const monthOf = (day: string): string => day.slice(0, 7);

/** Whole months, and the days before and after them; all days where no month is whole. */
export function monthsIn({ from, to }: Pick<Range, 'from' | 'to'>): { days: Span[]; months: Span | undefined } {
  const first = from.endsWith('-01') ? monthOf(from) : monthAfter(monthOf(from));
  const last = lastDayOf(monthOf(to)) === to ? monthOf(to) : monthBefore(monthOf(to));
  if (first > last) return { days: [{ from, to }], months: undefined };
  const days = [
    { from, to: lastDayOf(monthBefore(first)) },
    { from: `${monthAfter(last)}-01`, to },
  ].filter((span) => span.from <= span.to);
  return { days, months: { from: first, to: last } };
}

const monthAfter = (month: string): string => monthOf(isoDay(month, 1, 1));
const monthBefore = (month: string): string => monthOf(isoDay(month, -1, 1));
const lastDayOf = (month: string): string => isoDay(month, 1, 0);

/** @param day of the month so many months later; 0 is the last of the one before that */
function isoDay(month: string, after: number, day: number): string {
  const [year = 0, number = 0] = month.split('-').map(Number);
  const date = new Date(0);
  // Years below 100 are years too: a stranger may have written one.
  date.setUTCFullYear(year, number - 1 + after, day);
  return date.toISOString().slice(0, 10);
}
