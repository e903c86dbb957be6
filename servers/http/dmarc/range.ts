/** The days that a question is about: the last so many, or from one to another. */
import { z } from 'zod';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import { PermanentError } from '../../../protocols/errors.ts';

/** A month, by default: two of every payday, and short enough to see yesterday in it. */
export const DEFAULT_DAYS = 30;
/** Ten years: a longer question is a mistake. */
const MOST_DAYS = 3_660;

export const Day = z.iso.date('write a day such as 2026-11-24');
export const Days = z.coerce.number().int().min(1).max(MOST_DAYS);

export const RangeQuery = z.object({
  from: Day.optional().describe('First day, UTC. Without it, so many days as `days` says.'),
  to: Day.optional().describe('Last day, UTC, inclusive; today without it.'),
  days: Days.default(DEFAULT_DAYS).describe('Days up to `to`, where there is no `from`.'),
});

export const today = (now = Date.now()): string => new Date(now).toISOString().slice(0, 10);

/** @throws PermanentError `input.invalid`: it ends before it begins */
export function toRange(
  domain: string,
  { from, to = today(), days }: z.output<typeof RangeQuery>,
): { domain: string; from: string; to: string } {
  const first = from ?? dayBefore(to, days - 1);
  if (first <= to) return { domain, from: first, to };
  throw new PermanentError({
    code: 'input.invalid',
    message: `from: ${first} is after ${to}`,
    fix: 'Give the earlier day as from.',
    details: { field: 'from' },
  });
}

/** The same number of days before it. */
export function rangeBefore<Of extends { from: string; to: string }>(range: Of): Of {
  return { ...range, from: dayBefore(range.from, daysIn(range)), to: dayBefore(range.from, 1) };
}

/** Both ends included. */
export const daysIn = ({ from, to }: { from: string; to: string }): number =>
  Math.round((Date.parse(to) - Date.parse(from)) / 86_400_000) + 1;
