/** DATA: store the message while it is checked, verify it, decide, and hand each recipient to its run. */
import type { SMTPServerDataStream } from 'smtp-server';
import type { Logger } from 'pino';
import type { Client } from '@temporalio/client';
import type { OpenDependencies } from '../../activities/open.ts';
import type { RecipientRoute } from '../../activities/mail/decide.ts';
import type { Verified } from '../../activities/mail/authenticator/port.ts';
import { receivedBy } from '../../activities/mail/forwarded-header.ts';
import { blobRefOf, type BlobRef } from '../../stores/blobs/port.ts';
import type { MailActivity, Outcome, RuleAction } from '../../stores/records/port.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import type { SmtpReply } from '../../protocols/mail/reply.ts';
import { createMessageGuard, type MessageFacts } from '../../protocols/mail/limits.ts';
import { loopReply } from '../../protocols/mail/loop.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { judge } from '../../protocols/mail/policy.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { deliverDirectly, directDestination, type Held, type UnderWay } from './direct.ts';
import { deliver, type Handover } from './handover.ts';
import { Flood, replyError, replyOf } from './reply.ts';
import type { Pending } from './verdict.ts';

export type ForwardRoute = Extract<RecipientRoute, { kind: 'forward' | 'srs' | 'drop' | 'trigger' | 'dmarc' }>;

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
  /** ISO 8601; when the record is made, unless it was said before. */
  receivedAt?: string;
  recipients: { address: string; route: ForwardRoute }[];
}

export interface Reception {
  dependencies: OpenDependencies;
  client: Client;
  log: Logger;
  pending: Pending;
  underWay: UnderWay;
  /** Aborts when the process is about to end: what is not delivered yet becomes a run. */
  ending: AbortSignal;
}

/**
 * Takes one message.
 * @returns the text of the 250
 * @throws the error that makes smtp-server send the refusal
 */
export async function receive(stream: SMTPServerDataStream, begun: Transaction, reception: Reception): Promise<string> {
  const { dependencies, log } = reception;
  const direct = directDestination(begun, dependencies.configuration);
  const reading = direct === undefined ? read : readForward;
  const { blob, facts, verified, held, receivedAt } = await reading(stream, begun, dependencies).catch(
    async (thrown: unknown) => {
      if (thrown instanceof PermanentError) await recordRefusal(thrown, begun, dependencies);
      throw thrown;
    },
  );
  const transaction = { ...begun, receivedAt };

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
  const [first] = handovers;
  if (direct !== undefined && first) {
    if (!held) throw new Error('the message was accepted here and not in its thread');
    return deliverDirectly(first, direct, held, reception);
  }
  return deliver(handovers, dropped.length, reception);
}

interface Read {
  blob: BlobRef;
  facts: MessageFacts;
  verified: Verified;
  held?: Held;
  /** ISO 8601, when it is written into the message already. */
  receivedAt?: string;
}

/** For the direct lane: in memory where it is small, verified and signed in one go. */
async function readForward(
  stream: SMTPServerDataStream,
  transaction: Transaction,
  dependencies: OpenDependencies,
): Promise<Read> {
  const { bytes, ...taken } = await store(
    stream,
    dependencies,
    Math.min(IN_MEMORY, dependencies.configuration.mail.limits.messageSize),
  );
  // When all of it was here: from then on counts how long a session may be at it.
  const receivedAt = new Date().toISOString();
  const { sourceAddress, helo, sender } = transaction;
  const request = { key: taken.blob.key, bytes, sourceAddress, helo, sender };
  const { authenticator, configuration, keys } = dependencies;
  const { address = '', route } = transaction.recipients[0] ?? {};
  const signer = await keys.signingKey(parseAddress(address).domain).catch((thrown: unknown) => {
    if (thrown instanceof PermanentError) return thrown;
    throw thrown;
  });
  if (signer instanceof PermanentError)
    return { ...taken, receivedAt, verified: await authenticator.verify(request), held: { bytes, signed: signer } };
  const arrival = {
    ...transaction,
    receivedAt,
    messageId: transaction.id,
    recipient: address,
    utf8: taken.facts.utf8Header,
  };
  const { domain, selector, privateKey } = signer;
  const { verified, signed } = await authenticator.forward({
    ...request,
    isSrsReturn: route?.kind === 'srs',
    received: receivedBy(arrival, configuration.hostname),
    signer: { domain, selector, privateKey },
  });
  return { ...taken, receivedAt, verified, held: signed ? { bytes, signed } : undefined };
}

async function read(
  stream: SMTPServerDataStream,
  transaction: Transaction,
  dependencies: OpenDependencies,
): Promise<Read> {
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
  inMemory = 0,
): Promise<{ blob: BlobRef; facts: MessageFacts; bytes?: Buffer }> {
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
    const source = guarded();
    const head: Uint8Array[] = [];
    let size = 0;
    while (size < inMemory) {
      const { value, done } = await source.next();
      if (done) {
        const bytes = Buffer.concat(head);
        return { blob: blobRefOf(bytes, 'mail'), facts: facts as MessageFacts, bytes };
      }
      head.push(value);
      size += value.byteLength;
    }
    const blob = await blobs.write(continued(head, source), { prefix: 'mail', maxBytes: limits.messageSize });
    return { blob, facts: facts as MessageFacts };
  } catch (thrown) {
    await drained(stream, DRAINED * limits.messageSize);
    throw thrown;
  }
}

async function* continued(head: Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}

/** Bytes of a message that a session of the direct lane holds in memory; a larger one goes through the store. */
const IN_MEMORY = 262_144;

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
    receivedAt: transaction.receivedAt ?? now,
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
  if (route.kind === 'dmarc') return { type: 'dmarc', domain: route.about };
  if (route.kind === 'trigger') return { type: 'trigger', trigger: route.trigger, name: route.name };
  return { type: 'forward', destinations: route.destinations };
}
