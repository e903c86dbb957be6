/**
 * Sends a new message: composed, DKIM-signed, one record and one delivery a recipient. The records know what became of
 * each recipient under an idempotency key, so a repeat goes on with those that are left and sends nothing twice.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { defineStep, type StepContext } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import { closeRecord } from './close-activity.ts';
import { composeMessage, composeMessageStep, recipientsOf } from './compose-message.ts';
import { ownDomain, resolveRecipients, type Addressee } from './declared.ts';
import { inTurn, inLanes } from './in-turn.ts';
import { NewMessage } from './new-message.ts';
import { relayOnce } from './relay.ts';
import {
  nextDelay,
  nobody,
  RecipientResult,
  REPLY_TEXT,
  resultOf,
  stillWaiting,
  type Waiting,
} from './send-outcome.ts';
import { guardBlob } from './verify.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import { LOCAL_SOURCE, type MailActivity } from '../../stores/records/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { mailboxAddress, parseMailbox } from '../../protocols/mail/mailbox.ts';
import { UNLIMITED, type MessageFacts } from '../../protocols/mail/limits.ts';

const Output = z.object({ messageId: z.string(), message: BlobRef, recipients: z.array(RecipientResult) });
type Output = z.output<typeof Output>;

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records' | 'keys' | 'authenticator' | 'dialer'>;

/** Recipients at once: below what one destination host may get from us at once (`outbound.connectionsPerDestination`). */
const LANES = 5;
export const send = defineStep({
  name: 'mail.send',
  summary: 'Send a new message from an own domain to declared addresses, DKIM-signed, once per idempotency key.',
  input: NewMessage,
  output: Output,
  needs: ['configuration', 'blobs', 'records', 'keys', 'authenticator', 'dialer'],
  takes: 'delivery',
  repeat: 'needs-key',
  scope: 'mail:write',
  errors: [
    ...composeMessageStep.errors,
    'key.missing',
    'key.unreadable',
    'mail.deferred',
    'mail.expired',
    'mail.key_reused',
    'mail.outcome_unknown',
    'mail.recipient_is_trigger',
    'mail.recipient_not_declared',
    'mail.refused',
    'mail.sender_not_own',
  ],
  run: (input, dependencies, step) =>
    // A caller that gave up waiting and asks again while the first call still sends waits for its end.
    inTurn(dependencies.records, step.idempotencyKey, () => sendOnce(input, dependencies, step)),
});

async function sendOnce(input: NewMessage, dependencies: Part, step: StepContext): Promise<Output> {
  const { records, blobs } = dependencies;
  const rows = (await knownRows(input, dependencies, step)) ?? (await openRows(input, dependencies, step));
  const { blob, headerMessageId } = rows[0] as MailActivity;
  if (!blob || !headerMessageId) throw new Error('a record of a sent message names no message');
  const troubles = new Map<string, Waiting['trouble']>();
  const open = rows.filter(({ outcome }) => outcome === 'accepted');
  if (open.length > 0) {
    const facts = await guardBlob(blobs, blob.key, { ...dependencies.configuration.mail.limits, ...UNLIMITED });
    await inLanes(open, LANES, async (row) => {
      const trouble = await deliverTo(row, facts, dependencies, step);
      if (trouble) troubles.set(row.id, trouble);
    });
  }

  const ends = await Promise.all(
    rows.map(async ({ id }) => ({
      row: (await records.activity.get(id)) as MailActivity,
      deliveries: await records.deliveries.list(id),
    })),
  );
  const waiting = ends.flatMap((end) => {
    const trouble = troubles.get(end.row.id);
    return trouble ? [{ ...end, trouble }] : [];
  });
  if (waiting.length > 0) throw stillWaiting(waiting, ends.length, dependencies.configuration.mail.retry.delays);
  const recipients = ends.map(resultOf);
  if (recipients.every(({ status }) => status === 'refused' || status === 'expired')) throw nobody(recipients);
  return { messageId: headerMessageId, message: blob, recipients };
}

/**
 * What an earlier call with this key left.
 * @throws PermanentError `mail.key_reused` when that was another message
 */
async function knownRows(
  input: NewMessage,
  { records }: Part,
  { idempotencyKey }: StepContext,
): Promise<MailActivity[] | undefined> {
  const first = await records.activity.byDeliveryKey(deliveryKey(idempotencyKey, 0));
  if (!first) return undefined;
  if (first.messageId !== transactionOf(input, idempotencyKey))
    throw new PermanentError({
      code: 'mail.key_reused',
      message: 'This idempotency key has sent another message before.',
      fix: 'Use a new key for a new message; the same key means the same message again.',
      details: { activity: first.id },
    });
  const others = recipientsOf(input).slice(1);
  const rows = await Promise.all(
    others.map((_, index) => records.activity.byDeliveryKey(deliveryKey(idempotencyKey, index + 1))),
  );
  return [first, ...rows.filter((row) => row !== undefined)];
}

async function openRows(input: NewMessage, dependencies: Part, step: StepContext): Promise<MailActivity[]> {
  const { configuration, records, blobs, keys } = dependencies;
  const domain = await ownDomain(mailboxAddress(parseMailbox(input.from)), dependencies);
  const addressees = await resolveRecipients(recipientsOf(input), dependencies);
  // Asked for here: a missing key is to be told now and not after five days of attempts.
  await keys.signingKey(domain);
  const now = new Date();
  const composed = await composeMessage(input, now, dependencies, step);
  const toRow = ({ recipient, ruleId, action }: Addressee, index: number): MailActivity => ({
    id: uuidv7(),
    deliveryKey: deliveryKey(step.idempotencyKey, index),
    receivedAt: now.toISOString(),
    messageId: transactionOf(input, step.idempotencyKey),
    sourceAddress: LOCAL_SOURCE,
    helo: configuration.hostname,
    tls: null,
    sender: composed.sender,
    recipient,
    headerFrom: input.from,
    headerMessageId: composed.messageId,
    subject: input.subject,
    blob: composed.message,
    authentication: null,
    ruleId,
    action,
    outcome: action.type === 'drop' ? 'dropped' : 'accepted',
    errorCode: null,
    errorText: null,
    reply: null,
    attempts: 0,
    resent: false,
    workflowId: step.run ?? null,
    closedAt: action.type === 'drop' ? now.toISOString() : null,
  });
  const rows = addressees.map(toRow);
  // Longer than any attempts: closing a record shortens it.
  const { retry, keepActivity } = configuration.mail;
  const until = new Date(now.getTime() + retry.giveUpAfter * 2 + keepActivity).toISOString();
  for (const { id } of rows) await keepBlob({ blobs, records }, composed.message, `activity:${id}`, until);
  await records.activity.open(rows);
  return rows;
}

/**
 * One attempt at every destination of a recipient, and the end of its record when none is left to try.
 * @returns what it met, where one is left
 */
async function deliverTo(
  row: MailActivity,
  facts: MessageFacts,
  dependencies: Part,
  step: StepContext,
): Promise<Waiting['trouble'] | undefined> {
  step.signal.throwIfAborted();
  const destinations = row.action?.type === 'forward' ? row.action.destinations : [];
  const results = [];
  for (const destination of destinations) {
    const attempt = {
      activityId: row.id,
      kind: 'send' as const,
      message: row.blob as z.output<typeof BlobRef>,
      destination,
      sender: row.sender,
      recipient: row.recipient,
      domain: row.sender.slice(row.sender.lastIndexOf('@') + 1),
      sourceAddress: row.sourceAddress,
      helo: row.helo,
      messageId: row.messageId,
      receivedAt: row.receivedAt,
      protocol: 'local',
      eightBit: facts.eightBit,
      utf8: facts.utf8Header,
      authentication: null,
    };
    results.push(await relayOnce(attempt, dependencies, step));
  }
  const pending = results.find(({ status }) => status === 'deferred' || status === 'unknown');
  const bad = pending ?? results.find(({ status }) => status === 'refused');
  if (pending && !(await isExpired(row, dependencies))) return pending;
  await closeRecord(
    row.id,
    {
      outcome: pending ? 'failed' : bad ? 'refused' : 'delivered',
      errorCode: pending ? 'mail.expired' : (bad?.code ?? null),
      errorText: bad?.text.slice(0, REPLY_TEXT) ?? null,
      reply: bad?.reply ?? null,
    },
    dependencies,
  );
  return undefined;
}

/** Whether the next attempt would come after `mail.retry.giveUpAfter`. */
async function isExpired({ id, receivedAt }: MailActivity, { configuration, records }: Part): Promise<boolean> {
  const wait = nextDelay(await records.deliveries.list(id), configuration.mail.retry.delays);
  return Date.now() + wait > Date.parse(receivedAt) + configuration.mail.retry.giveUpAfter;
}

/** By position: the first one always exists, whatever the recipients of a wrong repeat are. */
function deliveryKey(key: string, index: number): string {
  return createHash('sha256').update(`mail.send\0${key}\0${index}`).digest('hex');
}

/** Names the act, and tells another message under the same key. Fields that come later are added at the end. */
function transactionOf(input: NewMessage, key: string): string {
  const { from, to, cc, bcc, replyTo, subject, text, html, attachments, headers } = input;
  const files = attachments?.map(({ content, filename, contentType, cid }) => [
    content.key,
    filename,
    contentType,
    cid,
  ]);
  const content = JSON.stringify({ from, to, cc, bcc, replyTo, subject, text, html, files, headers });
  return createHash('sha256').update(`${key}\0${content}`).digest('hex').slice(0, 16);
}
