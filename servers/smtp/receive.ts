/** DATA: store the message while it is checked, verify it, decide, and hand each recipient to its run. */
import type { SMTPServerDataStream } from 'smtp-server';
import type { Logger } from 'pino';
import type { Client } from '@temporalio/client';
import type { OpenDependencies } from '../../activities/open.ts';
import type { RecipientRoute } from '../../activities/mail/decide.ts';
import type { Verified } from '../../activities/mail/authenticator/port.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { MailActivity, Outcome, RuleAction } from '../../stores/records/port.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import type { SmtpReply } from '../../protocols/mail/reply.ts';
import { createMessageGuard, type MessageFacts } from '../../protocols/mail/limits.ts';
import { loopReply } from '../../protocols/mail/loop.ts';
import { judge } from '../../protocols/mail/policy.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { deliver, type Handover } from './handover.ts';
import { Flood, replyError, replyOf } from './reply.ts';
import type { Pending } from './verdict.ts';

export type ForwardRoute = Extract<RecipientRoute, { kind: 'forward' | 'srs' | 'drop' | 'trigger' }>;

/** One MAIL transaction, as the session knows it when DATA begins. */
export interface Transaction {
  /** Names the transaction in Received, records and logs. */
  id: string;
  sourceAddress: string;
  helo: string;
  tls: string | null;
  /** RFC 3848. */
  protocol: string;
  sender: string;
  recipients: { address: string; route: ForwardRoute }[];
}

export interface Reception {
  dependencies: OpenDependencies;
  client: Client;
  log: Logger;
  pending: Pending;
}

/**
 * Takes one message.
 * @returns the text of the 250
 * @throws the error that makes smtp-server send the refusal
 */
export async function receive(
  stream: SMTPServerDataStream,
  transaction: Transaction,
  reception: Reception,
): Promise<string> {
  const { dependencies, log } = reception;
  const { blob, facts, verified } = await read(stream, transaction, dependencies).catch(async (thrown: unknown) => {
    if (thrown instanceof PermanentError) await recordRefusal(thrown, transaction, dependencies);
    throw thrown;
  });

  const isSrsReturn = transaction.recipients.every(({ route }) => route.kind === 'srs');
  const circle = loopReply(
    transaction.recipients.map(({ address }) => address),
    verified.takenBefore,
  );
  const verdict = circle
    ? { verdict: 'reject' as const, code: 'mail.loop', reply: circle }
    : judge({ ...verified, isSrsReturn }, dependencies.configuration.mail.policy);
  if (verdict.verdict !== 'accept') {
    const end = {
      outcome: 'rejected' as const,
      errorCode: verdict.code,
      errorText: verdict.reply.text,
      reply: verdict.reply,
    };
    await dependencies.records.activity.open(
      transaction.recipients.map((one) => newRecord(transaction, one, { blob: null, verified, end })),
    );
    log.info({ message: transaction.id, code: verdict.code, reply: verdict.reply }, 'refused');
    throw replyError(verdict.reply);
  }

  const dropped = transaction.recipients.filter(({ route }) => route.kind === 'drop');
  if (dropped.length > 0) {
    const end = { outcome: 'dropped' as const, errorCode: null, errorText: null, reply: null };
    await dependencies.records.activity.open(
      dropped.map((one) => newRecord(transaction, one, { blob: null, verified, end })),
    );
  }
  const handovers: Handover[] = transaction.recipients
    .filter(({ route }) => route.kind !== 'drop')
    .map((one) => ({
      record: newRecord(transaction, one, { blob, verified, end: OPEN }),
      shape: { protocol: transaction.protocol, eightBit: facts.eightBit, utf8: facts.utf8Header },
    }));
  return deliver(handovers, dropped.length, reception);
}

async function read(stream: SMTPServerDataStream, transaction: Transaction, dependencies: OpenDependencies) {
  const stored = await store(stream, dependencies);
  const verified = await dependencies.authenticator.verify({
    key: stored.blob.key,
    sourceAddress: transaction.sourceAddress,
    helo: transaction.helo,
    sender: transaction.sender,
  });
  return { ...stored, verified };
}

/** A message over a limit, or one that no parser can read. */
async function recordRefusal(
  error: PermanentError,
  transaction: Transaction,
  { records }: OpenDependencies,
): Promise<void> {
  const end = {
    outcome: 'rejected' as const,
    errorCode: error.code,
    errorText: error.message,
    reply: replyOf(error),
  };
  await records.activity.open(
    transaction.recipients.map((one) => newRecord(transaction, one, { blob: null, verified: null, end })),
  );
}

/**
 * Streams the message through the guard into the store. Whatever goes wrong, the rest of the message is read, so that
 * the reply meets the final dot.
 * @throws Flood when there is no end to the rest
 */
async function store(
  stream: SMTPServerDataStream,
  { blobs, configuration }: OpenDependencies,
): Promise<{ blob: BlobRef; facts: MessageFacts }> {
  const { limits } = configuration.mail;
  const guard = createMessageGuard(limits);
  let facts: MessageFacts | undefined;
  async function* guarded(): AsyncGenerator<Uint8Array> {
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      guard.push(chunk);
      yield chunk;
    }
    facts = guard.end();
  }
  try {
    const blob = await blobs.write(guarded(), { prefix: 'mail', maxBytes: limits.messageSize });
    return { blob, facts: facts as MessageFacts };
  } catch (thrown) {
    await drained(stream, DRAINED * limits.messageSize);
    throw thrown;
  }
}

/** A sender that did not ask for SIZE may send all of its message before it reads a reply; twice the limit is patience enough. */
const DRAINED = 2;

function drained(stream: SMTPServerDataStream, maxBytes: number): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return Promise.resolve();
  return new Promise((resolve, reject) => {
    stream.once('end', resolve).once('close', resolve);
    stream.on('data', () => {
      if (stream.byteLength > maxBytes) reject(new Flood(maxBytes));
    });
  });
}

interface End {
  outcome: Outcome;
  errorCode: string | null;
  errorText: string | null;
  reply: SmtpReply | null;
}
const OPEN: End = { outcome: 'accepted', errorCode: null, errorText: null, reply: null };

/** The activity record of one recipient. */
export function newRecord(
  transaction: Omit<Transaction, 'recipients'>,
  { address, route }: { address: string; route: ForwardRoute | null },
  { blob, verified, end }: { blob: BlobRef | null; verified: Verified | null; end: End },
): MailActivity {
  const now = new Date().toISOString();
  return {
    id: uuidv7(),
    deliveryKey: null,
    receivedAt: now,
    messageId: transaction.id,
    sourceAddress: transaction.sourceAddress,
    helo: transaction.helo,
    tls: transaction.tls,
    sender: transaction.sender,
    recipient: address,
    headerFrom: verified?.headerFrom ?? null,
    headerMessageId: verified?.headerMessageId ?? null,
    subject: verified?.subject ?? null,
    blob,
    authentication: verified?.authentication ?? null,
    ruleId: route && 'ruleId' in route ? route.ruleId : null,
    action: route && actionOf(route),
    ...end,
    attempts: 0,
    resent: false,
    workflowId: null,
    closedAt: end.outcome === 'accepted' ? null : now,
  };
}

function actionOf(route: ForwardRoute): RuleAction {
  if (route.kind === 'drop') return { type: 'drop' };
  if (route.kind === 'trigger') return { type: 'trigger', trigger: route.trigger, name: route.name };
  return { type: 'forward', destinations: route.destinations };
}
