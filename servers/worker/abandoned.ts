/**
 * Messages made here that nobody sends any more. `mail.send` leaves a record open while a recipient waits for its next
 * attempt, which is up to the run or the caller: when that is gone, the record must not say 'on its way' for ever.
 */
import type { Dependencies } from '../../activities/dependencies.ts';
import { closeRecord } from '../../activities/mail/close-activity.ts';
import type { MailActivity } from '../../stores/records/port.ts';

/** After the longest wait between two attempts, a caller without a run is given this much more. */
const GRACE = 3_600_000;

/**
 * Closes the record as failed when its run is over or, without one, when no attempt was made for too long.
 * @param status of its run, null when it has none
 * @returns whether it was closed
 */
export async function closeAbandoned(
  record: MailActivity,
  status: string | null,
  dependencies: Pick<Dependencies, 'configuration' | 'records'>,
  now: number,
): Promise<boolean> {
  if (status === 'RUNNING') return false;
  const deliveries = await dependencies.records.deliveries.list(record.id);
  if (status === null) {
    const { delays } = dependencies.configuration.mail.retry;
    const last = Math.max(...[record.receivedAt, ...deliveries.map((one) => one.updatedAt)].map(Date.parse));
    if (now - last < Math.max(...delays) + GRACE) return false;
  }
  const reply = deliveries.find((one) => one.reply !== null)?.reply ?? null;
  const errorText =
    status === null
      ? 'It was not delivered, and whoever sent it did not try again.'
      : 'Its run ended before it was delivered.';
  await closeRecord(record.id, { outcome: 'failed', errorCode: 'mail.abandoned', errorText, reply }, dependencies);
  return true;
}
