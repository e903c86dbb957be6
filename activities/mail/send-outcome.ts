/** What became of each recipient of a message that `mail.send` made, and the errors that say so of all of them. */
import { z } from 'zod';
import { SmtpReply } from '../schemas.ts';
import type { Delivery, MailActivity } from '../../stores/records/port.ts';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import { formatReply } from '../../protocols/mail/reply.ts';

/** Characters of a reply in the output, which travels through histories. */
export const REPLY_TEXT = 300;

export const RecipientResult = z.object({
  recipient: z.string(),
  status: z.enum(['delivered', 'refused', 'dropped', 'expired']),
  /** Host that gave the last reply. */
  host: z.string().nullable(),
  reply: SmtpReply.nullable(),
  /** Sent again after an outcome that nobody knows: it may have arrived twice. */
  resent: z.boolean(),
  /** Id of the activity record. */
  activity: z.string(),
});
export type RecipientResult = z.output<typeof RecipientResult>;

/** A recipient's record and its deliveries after an attempt. */
export interface End {
  row: MailActivity;
  deliveries: Delivery[];
}

/** The result of a record that is final. */
export function resultOf({ row, deliveries }: End): RecipientResult {
  const status = STATUS[row.outcome] ?? 'refused';
  const telling = deliveries.find((one) => one.state === 'refused') ?? deliveries.find((one) => one.reply !== null);
  const reply = telling?.reply ?? row.reply;
  return {
    recipient: row.recipient,
    status,
    host: telling?.host ?? null,
    reply: reply && { ...reply, text: reply.text.slice(0, REPLY_TEXT) },
    resent: row.resent,
    activity: row.id,
  };
}

const STATUS: Partial<Record<MailActivity['outcome'], RecipientResult['status']>> = {
  delivered: 'delivered',
  dropped: 'dropped',
  failed: 'expired',
};

/** A recipient who waits for the next attempt. */
export interface Waiting extends End {
  /** What the last attempt met. */
  trouble: { status: string; host: string | null; reply: RecipientResult['reply']; text: string };
}

/** @param delays ms between attempts */
export function stillWaiting(waiting: Waiting[], all: number, delays: number[]): TemporaryError {
  const unknown = waiting.every(({ trouble }) => trouble.status === 'unknown');
  const [{ row, trouble }] = waiting as [Waiting];
  const who = waiting.length === 1 ? row.recipient : `${waiting.length} of ${all} recipients`;
  const said = trouble.reply
    ? `${trouble.host ?? 'here'} answered ${formatReply(trouble.reply)}`
    : trouble.text.replace(/\.$/, '');
  return new TemporaryError({
    code: unknown ? 'mail.outcome_unknown' : 'mail.deferred',
    message: unknown
      ? `Nobody knows whether ${who} got the message: ${said}.`
      : `The message for ${who} could not be delivered now: ${said}.`,
    fix: 'Ask again later with the same key, and only those are tried again; a run does so by itself.',
    retryAfterMs: Math.min(...waiting.map((one) => nextDelay(one.deliveries, delays))),
    details: {
      recipient: row.recipient,
      waiting: waiting.length,
      activity: row.id,
      replyCode: trouble.reply?.code ?? null,
    },
  });
}

export function nobody(recipients: RecipientResult[]): PermanentError {
  const refused = recipients.find(({ status }) => status === 'refused');
  const first = refused ?? (recipients[0] as RecipientResult);
  const who =
    recipients.length === 1 ? first.recipient : `all ${recipients.length} recipients, such as ${first.recipient}`;
  const said = first.reply ? `: ${first.host ?? 'here'} answered ${formatReply(first.reply)}` : '';
  return new PermanentError({
    code: refused ? 'mail.refused' : 'mail.expired',
    message: refused ? `The message was refused for ${who}${said}.` : `The message for ${who} was given up${said}.`,
    fix: 'The answer names the reason. To try once more, send it with a new key.',
    details: {
      recipient: first.recipient,
      activity: first.activity,
      host: first.host,
      replyCode: first.reply?.code ?? null,
    },
  });
}

/** ms until the next attempt, by how many there were. */
export function nextDelay(deliveries: Delivery[], delays: number[]): number {
  const attempts = Math.max(1, ...deliveries.map((one) => one.attempts));
  return delays[Math.min(attempts, delays.length) - 1] ?? 0;
}
