/** When a sender can be called new: for pages, the API and the weekly mail. */
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import type { DmarcAnswers } from '../../stores/records/dmarc/queries-port.ts';

/** Days of 'since last week'; so many there must be before, to compare with. */
export const NEW_DAYS = 7;

/**
 * Whether there is a week of reports before the day, so that what is new since then can be told: in its first weeks
 * everything of a domain is new.
 * @param since `YYYY-MM-DD`, the first day of what may be new
 */
export async function hasWeekBefore(
  queries: Pick<DmarcAnswers, 'firstDay'>,
  domain: string,
  since: string,
): Promise<boolean> {
  const first = await queries.firstDay(domain);
  return first === undefined || first <= dayBefore(since, NEW_DAYS);
}
