/**
 * One attempt to bring one message to one destination as one act: sign, seal, rewrite the envelope, connect, send,
 * record. One activity instead of six: fewer events, and one place that is safe on repeat.
 */
import { z } from 'zod';
import type { Logger } from 'pino';
import { defineStep, elsewhere, ELSEWHERE, type StepContext } from '../step.ts';
import { Authentication, BlobRef, SmtpReply } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import type { Signed } from './authenticator/port.ts';
import type { TransmissionResult } from '../network/dialer.ts';
import { openComposed } from './compose.ts';
import { forwardedHeader, receivedBy } from './forwarded-header.ts';
import { rewriteForDomain } from './rewrite-sender.ts';
import { triggerOf } from '../triggers/mail-message.ts';
import { handToTrigger } from '../triggers/take.ts';
import { PermanentError, SwitchyardError, TemporaryError } from '../../protocols/errors.ts';
import { needsUtf8, parseAddress } from '../../protocols/mail/address.ts';

const Input = z.object({
  activityId: z.string().describe('Id of the activity record.'),
  kind: z
    .enum(['forward', 'srs', 'bounce', 'send'])
    .describe(
      'forward and srs carry the mail of others; bounce is a report of our own, from the null sender; send is a message of our own.',
    ),
  message: BlobRef.describe('The stored message to deliver.'),
  destination: z.string().describe('Address that it goes to.'),
  sender: z.string().describe('Envelope sender as it came.'),
  recipient: z.string().describe('Recipient as it came.'),
  domain: z.string().describe('The domain of this installation that signs and rewrites.'),
  sourceAddress: z.string().describe('IP address that the message came from.'),
  helo: z.string().describe('Name that the sending host gave in HELO or EHLO.'),
  messageId: z.string().describe('Id of the SMTP transaction that it came in.'),
  receivedAt: z.string().describe('When it came, as an ISO 8601 time.'),
  protocol: z.string().describe('Protocol that it came by, such as ESMTPS (RFC 3848).'),
  tls: z.string().nullable().optional().describe('TLS version and cipher that it came by; null for plain text.'),
  eightBit: z.boolean().describe('Whether the body has bytes over 127.'),
  utf8: z.boolean().describe('Whether the header has UTF-8 in it (RFC 6532).'),
  authentication: Authentication.nullable().describe('What its verification found; null for messages of our own.'),
});
type Input = z.output<typeof Input>;
export type RelayInput = Input;

const Output = z.object({
  status: z.enum(['delivered', 'deferred', 'refused', 'unknown']),
  host: z.string().nullable(),
  reply: SmtpReply.nullable(),
  /** Error code, null when delivered. */
  code: z.string().nullable(),
  text: z.string(),
  /** The attempt followed one whose outcome nobody knows. */
  resent: z.boolean(),
});
type Output = z.output<typeof Output>;

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records' | 'keys' | 'authenticator' | 'dialer'>;

export const relay = defineStep({
  name: 'mail.relay',
  summary: 'One delivery attempt: DKIM-sign, ARC-seal, rewrite the envelope sender, send, record.',
  input: Input,
  output: Output,
  needs: ['configuration', 'blobs', 'records', 'keys', 'authenticator', 'dialer', 'callbacks'],
  takes: 'delivery',
  repeat: 'needs-key',
  scope: 'mail:write',
  internal: true,
  errors: ['records.unavailable', 'blob.unavailable', 'blob.missing', ELSEWHERE],
  async run(input, dependencies, step) {
    const trigger = triggerOf(input.destination);
    if (trigger === undefined) return relayOnce(input, dependencies, step);
    return relayOnce(input, dependencies, step, (_input, _part, signal, { beforeFinalDot, resent }) =>
      handToTrigger({ ...input, trigger, resent }, dependencies, signal, beforeFinalDot),
    );
  },
});

/**
 * The step as a function, for `mail.send`. Trouble with the stores is thrown; every other end is a result.
 * @param send how the message gets there: by SMTP, unless another way is given
 */
export async function relayOnce(
  input: Input,
  dependencies: Part,
  step: StepContext,
  send: typeof attempt = attempt,
): Promise<Output> {
  const { records } = dependencies;
  const destinationKey = input.kind === 'bounce' ? `bounce:${input.destination}` : input.destination;
  const counts = input.kind === 'bounce' ? 'row' : 'message';
  const before = await records.deliveries.begin(input.activityId, destinationKey, counts);
  if (before?.state === 'delivered' || before?.state === 'refused') return asRecorded(before);
  const resent = before?.state === 'committing' || before?.resent === true;

  const { signal, moved, stay } = untilCommitted(step);
  const result = await send(input, dependencies, signal, {
    stage: (stage) => step.report({ stage }),
    log: step.log,
    resent,
    beforeFinalDot: (host) => {
      stay();
      return records.deliveries.set(input.activityId, destinationKey, { state: 'committing', host, resent });
    },
  });
  if (moved.aborted && result.status === 'deferred') throw elsewhere();
  // 'unknown' leaves the row at 'committing': the next attempt reads it and marks the message as sent again.
  if (result.status !== 'unknown') {
    await records.deliveries.set(input.activityId, destinationKey, {
      state: result.status,
      host: result.host ?? undefined,
      reply: result.reply ?? undefined,
      resent,
    });
  }
  return {
    status: result.status,
    host: result.host,
    reply: 'reply' in result ? result.reply : null,
    code: 'code' in result ? result.code : null,
    text: 'text' in result ? result.text : result.reply.text,
    resent,
  };
}

/** An attempt can be broken off and begun elsewhere until its final dot; after it the destination may have the message. */
function untilCommitted({ signal, moveOn }: StepContext): { signal: AbortSignal; moved: AbortSignal; stay(): void } {
  const moving = new AbortController();
  const move = () => moving.abort();
  moveOn?.addEventListener('abort', move, { once: true });
  return {
    signal: moveOn ? AbortSignal.any([signal, moving.signal]) : signal,
    moved: moving.signal,
    stay: () => moveOn?.removeEventListener('abort', move),
  };
}

function asRecorded(row: { state: string; host: string | null; reply: Output['reply']; resent: boolean }): Output {
  const delivered = row.state === 'delivered';
  return {
    status: delivered ? 'delivered' : 'refused',
    host: row.host,
    reply: row.reply,
    code: delivered ? null : 'mail.refused',
    text: row.reply?.text ?? '',
    resent: row.resent,
  };
}

export interface AttemptHooks {
  stage(stage: string): void;
  beforeFinalDot(host: string): Promise<void>;
  log: Logger;
  /** The outcome of an earlier attempt is not known. */
  resent: boolean;
}

/** A message that is in memory and signed already. */
export interface Prepared {
  bytes: Uint8Array | undefined;
  signed: Signed | SwitchyardError;
  /** ms that it may wait for a connection to become free. */
  slotWait: number;
}

/** Trouble of ours or of the way there is an expected end of an attempt; trouble with the stores is thrown, so that Temporal retries at once. */
export async function attempt(
  input: Input,
  dependencies: Part,
  signal: AbortSignal,
  hooks: AttemptHooks,
  prepared?: Prepared,
): Promise<TransmissionResult> {
  try {
    const { domain } = parseAddress(input.destination);
    hooks.stage(`route to ${domain}`);
    const route = await dependencies.dialer.route(domain, signal);
    hooks.stage('sign');
    const signed = prepared?.signed ?? (await signMessage(input, dependencies, signal));
    if (signed instanceof SwitchyardError) throw signed;
    const sender = await envelopeSender(input, dependencies);
    return await dependencies.dialer.transmit(
      {
        route,
        sender,
        recipient: input.destination,
        open: () =>
          openComposed(dependencies.blobs, {
            key: input.message.key,
            bytes: prepared?.bytes,
            prepend: signed.header,
            authservId: dependencies.configuration.hostname,
          }),
        size: input.message.size + Buffer.byteLength(signed.header),
        utf8: input.utf8 || needsUtf8(sender) || needsUtf8(input.destination),
        eightBit: input.eightBit,
        beforeFinalDot: hooks.beforeFinalDot,
        slotWait: prepared?.slotWait,
        onStage: hooks.stage,
      },
      signal,
    );
  } catch (thrown) {
    return asResult(thrown, hooks.log);
  }
}

/** What others sent leaves under an address of ours; what we sent is ours already. */
async function envelopeSender({ kind, sender, domain, activityId }: Input, dependencies: Part): Promise<string> {
  if (kind === 'bounce') return '';
  return kind === 'send' ? sender : rewriteForDomain(sender, domain, dependencies, activityId);
}

async function signMessage(
  input: Input,
  { configuration, keys, authenticator }: Part,
  signal: AbortSignal,
): Promise<Signed> {
  const { domain, selector, privateKey } = await keys.signingKey(input.domain);
  const key = { domain, selector, privateKey };
  if (input.kind === 'bounce' || input.kind === 'send' || input.authentication === null)
    return authenticator.sign({ key: input.message.key, prepend: '', dkim: key, arc: null }, signal);
  const top = forwardedHeader(
    input.authentication,
    receivedBy(input, configuration.hostname),
    key,
    configuration.mail.signing,
  );
  return authenticator.sign({ key: input.message.key, ...top }, signal);
}

/** Codes of the stores: thrown on, for a quick retry that costs the message no attempt. */
const OURS = new Set(['records.unavailable', 'blob.unavailable', 'blob.missing']);

/** Where there is no way to a destination, the reply that a relay gives (RFC 3463, RFC 7505). */
const NO_WAY: Record<string, { code: number; enhanced: string }> = {
  'mail.null_mx': { code: 556, enhanced: '5.1.10' },
  'mail.no_host': { code: 550, enhanced: '5.1.2' },
  'mail.loop': { code: 554, enhanced: '5.4.6' },
  'network.address_refused': { code: 550, enhanced: '5.4.4' },
  'address.invalid': { code: 550, enhanced: '5.1.3' },
};

function asResult(thrown: unknown, log: Logger): TransmissionResult {
  if (!(thrown instanceof SwitchyardError) || OURS.has(thrown.code)) throw thrown;
  const noWay = thrown instanceof PermanentError ? NO_WAY[thrown.code] : undefined;
  if (noWay)
    return {
      status: 'refused',
      host: null,
      reply: { ...noWay, text: thrown.message },
      code: thrown.code,
      text: thrown.message,
    };
  // A missing or unusable key is for the operator to mend; meanwhile the message waits instead of going out unsigned.
  if (!(thrown instanceof TemporaryError)) log.error({ code: thrown.code, fix: thrown.fix }, thrown.message);
  return { status: 'deferred', host: null, reply: null, code: thrown.code, text: thrown.message };
}
