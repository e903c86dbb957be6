/** What a report address takes in a day. Over it the sender is told to come again later, and keeps its mail meanwhile. */
import { createHash } from 'node:crypto';
import type { OpenDependencies } from '../../activities/open.ts';
import type { RecipientRoute } from '../../activities/mail/decide.ts';
import { reportQuota } from '../../activities/dmarc/limits.ts';
import { quotaSender, quotaWords, type OverQuota } from '../../protocols/dmarc/quota.ts';
import type { SmtpReply } from '../../protocols/mail/reply.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { replyError } from './reply.ts';

export const OVER_QUOTA = 'dmarc.over_quota';

type Part = Pick<OpenDependencies, 'configuration' | 'records'>;

/** At RCPT, before any byte of a message: the refusal where nothing at all has room. */
export async function refuseFull(
  route: RecipientRoute,
  { configuration, records }: Part,
): Promise<SmtpReply | undefined> {
  if (route.kind !== 'dmarc') return undefined;
  const now = new Date().toISOString();
  const over = await records.dmarc.intake.isFull(route.about, reportQuota(configuration), now);
  return over && comeLater(over, '', route.about);
}

/** What the record of a recipient that was refused for now says. */
export const endOfFull = (reply: SmtpReply) => ({
  outcome: 'failed' as const,
  errorCode: OVER_QUOTA,
  errorText: reply.text,
  reply,
});

/**
 * Leaves a refusal at RCPT where people see the others. One for a domain that sends, an address and a day (UTC): whoever
 * is told to come again does so with every message, and many write each with a sender of its own.
 * @param record of the recipient, with its end
 */
export async function recordFull(record: MailActivity, { records }: Pick<Part, 'records'>): Promise<void> {
  const { sender, recipient, receivedAt } = record;
  const from = sender.slice(sender.lastIndexOf('@') + 1).toLowerCase();
  const line = `${OVER_QUOTA}\0${from}\0${recipient.toLowerCase()}\0${receivedAt.slice(0, 10)}`;
  const deliveryKey = createHash('sha256').update(line).digest('hex');
  if (await records.activity.byDeliveryKey(deliveryKey)) return;
  await records.activity.open([{ ...record, deliveryKey }]);
}

/**
 * Counts a mail to a report address, once however often it comes.
 * @param record of the mail, which is not open yet; a refusal leaves it, so that people see who was told to wait
 * @throws the error that makes smtp-server send 452
 */
export async function countReportMail(
  record: MailActivity,
  { domain, deliveryKey }: { domain: string; deliveryKey: string },
  { configuration, records }: Part,
): Promise<void> {
  const now = new Date().toISOString();
  const sender = quotaSender(record.authentication);
  const intake = { id: deliveryKey, domain, sender, mails: 1, bytes: record.blob?.size ?? 0, records: 0 };
  const over = await records.dmarc.intake.take(intake, reportQuota(configuration), now);
  if (!over) return;
  const reply = comeLater(over, sender, domain);
  await records.activity.open([
    { ...record, ...endOfFull(reply), closedAt: now, deliveryKey, blob: null, workflowId: null },
  ]);
  throw replyError(reply);
}

/** RFC 3463, 3.3: X.2.2, a quota of the mailbox. */
const comeLater = (over: OverQuota, sender: string, domain: string): SmtpReply => ({
  code: 452,
  enhanced: '4.2.2',
  text: quotaWords(over, sender, domain),
});
