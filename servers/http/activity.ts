/** Mail activity by several outcomes at once, which the records store filters one at a time. */
import { z } from 'zod';
import type { ActivityFilter, MailActivity, Outcome as OutcomeName, Records } from '../../stores/records/port.ts';
import { Outcome } from './schemas.ts';

/** `failed` or `bounced,failed`. */
export const Outcomes = z
  .string()
  .transform((text) => text.split(',').filter(Boolean))
  .pipe(z.array(Outcome));

const DEFAULT_LIMIT = 50;

/** A page of activity, newest first; `next` is the cursor of the following page, null at the end. */
export async function activityPage(
  records: Records,
  filter: Omit<ActivityFilter, 'outcome'>,
  outcomes: OutcomeName[] = [],
): Promise<{ items: MailActivity[]; next: string | null }> {
  const limit = filter.limit ?? DEFAULT_LIMIT;
  const lists =
    outcomes.length === 0
      ? [await records.activity.list({ ...filter, limit })]
      : await Promise.all(
          [...new Set(outcomes)].map((outcome) => records.activity.list({ ...filter, outcome, limit })),
        );
  // Ids are UUIDv7: their order is the order in time.
  const items = lists
    .flat()
    .sort((a, b) => (a.id < b.id ? 1 : -1))
    .slice(0, limit);
  return { items, next: items.length === limit ? (items.at(-1)?.id ?? null) : null };
}
