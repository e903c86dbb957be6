/** One delivery attempt over all hosts of a route: who is tried after whom, and what the whole came to. */
import { PermanentError } from '../../protocols/errors.ts';
import { toAsciiDomain } from '../../protocols/mail/address.ts';
import { isPermanent } from '../../protocols/mail/reply.ts';
import { matchesMx } from '../../protocols/mail/mta-sts.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { RouteHost, Transmission, TransmissionResult } from './dialer.ts';
import type { Slots } from './slots.ts';
import type { ConnectionPool } from './smtp-pool.ts';
import { runSession, type Session, type SessionEnd } from './smtp-session.ts';

export interface TransmitOptions {
  outbound: Configuration['outbound'];
  /** Our name for EHLO. */
  hostname: string;
  /** `connectionsPerDestination` */
  slots: Slots;
  pool?: ConnectionPool;
  ca?: string;
}

/** Connections of one attempt: time-outs add up, and the next attempt begins at the first host again. */
const MAX_CONNECTIONS = 8;
/** For a connection to become free. The retry comes soon enough; a session may be waiting. */
const SLOT_WAIT_MS = 2_000;

type Deferred = Extract<TransmissionResult, { status: 'deferred' }>;

/**
 * 5xx to the mail ends the attempt; 4xx, and trouble with the connection, leads to the next host (RFC 5321, 5.1).
 * @throws only what the transmission's `open` or `beforeFinalDot` threw
 */
export async function transmitOver(
  transmission: Transmission,
  options: TransmitOptions,
  signal: AbortSignal,
): Promise<TransmissionResult> {
  const envelope = asciiDomains(transmission);
  if (envelope === null)
    return refused(null, 553, '5.1.3', 'address.invalid', 'The address cannot be written in an SMTP command');
  const message = { ...transmission, ...envelope };
  const { hosts, enforce } = permittedHosts(message);
  let best: Deferred = enforce
    ? deferred(null, 'mtasts.failed', 'no mail host matches the MTA-STS policy of the domain')
    : deferred(null, 'mail.connection_failed', 'the route has no host');
  let unsuited: TransmissionResult | null = null;
  let others = hosts.length === 0;
  let connections = 0;

  for (const host of hosts) {
    for (const address of host.addresses) {
      if (connections >= MAX_CONNECTIONS) break;
      connections += 1;
      const end = await connectOnce(message, host, address, enforce, options, signal);
      if (end.kind === 'accepted') return { status: 'delivered', host: host.host, reply: end.reply, tls: end.tls };
      if (end.kind === 'unknown')
        return { status: 'unknown', host: host.host, code: 'mail.outcome_unknown', text: end.text };
      if (end.kind === 'answered' && end.to === 'mail' && isPermanent(end.reply)) {
        return { status: 'refused', host: host.host, reply: end.reply, code: 'mail.refused', text: end.reply.text };
      }
      if (end.kind === 'unsuited' && end.why === 'size') {
        return refused(
          host.host,
          552,
          '5.3.4',
          'mail.too_large',
          `${host.host} does not take a message of ${message.size} bytes`,
        );
      }
      if (end.kind === 'unsuited') {
        unsuited = refused(
          host.host,
          550,
          '5.6.7',
          'mail.utf8_unsupported',
          `${host.host} does not support internationalized mail (SMTPUTF8)`,
        );
        break;
      }
      others = true;
      best = better(best, asDeferred(host, end, enforce));
      if (end.kind === 'failed' && (end.code === 'mail.aborted' || end.code === 'mail.destination_busy'))
        return asDeferred(host, end, enforce);
      // An answer comes from the service and is the same at its other addresses.
      if (end.kind === 'answered') break;
    }
  }
  // Only when no host at all could have taken it: one that was away may support it.
  return unsuited && !others ? unsuited : best;
}

/** One address: with a slot, TLS as far as it goes, in plain text where only TLS was broken. */
async function connectOnce(
  message: Transmission,
  host: RouteHost,
  address: string,
  enforce: boolean,
  { outbound, hostname, slots, pool, ca }: TransmitOptions,
  signal: AbortSignal,
): Promise<SessionEnd> {
  const release = await slots.take(`${host.host}:${host.port}`, message.slotWait ?? SLOT_WAIT_MS, signal);
  if (!release) {
    if (signal.aborted)
      return { kind: 'failed', code: 'mail.aborted', text: 'the attempt was cancelled', tlsFailed: false };
    const text = `all ${outbound.connectionsPerDestination} connections to ${host.host} are in use`;
    return { kind: 'failed', code: 'mail.destination_busy', text, tlsFailed: false };
  }
  const session: Session = {
    address,
    host: host.host,
    port: host.port,
    hostname,
    tls: enforce ? 'verified' : 'opportunistic',
    ca,
    timeouts: { connect: outbound.connectTimeout, command: outbound.commandTimeout, data: outbound.dataTimeout },
    message,
  };
  try {
    let end = await runSession(session, signal, pool);
    if (end.kind === 'failed' && end.tlsFailed && !enforce) {
      message.onStage?.(`tls failed at ${host.host}, again without`);
      end = await runSession({ ...session, tls: 'off' }, signal, pool);
    }
    if (message.route.mtaSts?.mode === 'testing' && end.kind === 'accepted' && !end.verified) {
      message.onStage?.(`mta-sts testing: the connection to ${host.host} would fail the policy`);
    }
    return end;
  } finally {
    release();
  }
}

/** RFC 8461, 5: under `enforce` only hosts that the policy names; under `testing` the others are only spoken of. */
function permittedHosts({ route, onStage }: Transmission): { hosts: RouteHost[]; enforce: boolean } {
  const { mtaSts } = route;
  if (!mtaSts || mtaSts.mode === 'none') return { hosts: route.hosts, enforce: false };
  const matching = route.hosts.filter(({ host }) => mtaSts.mx.some((pattern) => matchesMx(pattern, host)));
  if (mtaSts.mode === 'enforce') return { hosts: matching, enforce: true };
  for (const { host } of route.hosts) {
    if (!matching.some((one) => one.host === host)) onStage?.(`mta-sts testing: ${host} is not in the policy`);
  }
  return { hosts: route.hosts, enforce: false };
}

/** A domain in U-labels goes as A-labels, which every server takes. Null for what would break out of the command. */
function asciiDomains({ sender, recipient }: Transmission): { sender: string; recipient: string } | null {
  if (
    recipient === '' ||
    [sender, recipient].some((address) => /[\u0000-\u001f\u007f<>]/.test(address) || address.length > MAX_PATH)
  )
    return null;
  try {
    return { sender: withAsciiDomain(sender), recipient: withAsciiDomain(recipient) };
  } catch (error) {
    if (error instanceof PermanentError) return null;
    throw error;
  }
}

/** RFC 5321, 4.5.3.1.3 says 256 octets and asks for no limit; what is longer is for the server to judge. */
const MAX_PATH = 512;

function withAsciiDomain(address: string): string {
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  return at === -1 || /^[\u0000-\u007f]*$/.test(domain)
    ? address
    : `${address.slice(0, at + 1)}${toAsciiDomain(domain)}`;
}

function asDeferred(
  { host }: RouteHost,
  end: Extract<SessionEnd, { kind: 'answered' | 'failed' }>,
  enforce: boolean,
): Deferred {
  if (end.kind === 'answered') return { ...deferred(host, 'mail.deferred', end.reply.text), reply: end.reply };
  return deferred(host, enforce && end.tlsFailed ? 'mtasts.failed' : end.code, `${host}: ${end.text}`);
}

/** What a person learns most from: a server's answer, else the last trouble. */
function better(before: Deferred, now: Deferred): Deferred {
  return before.reply && !now.reply ? before : now;
}

function deferred(host: string | null, code: string, text: string): Deferred {
  return { status: 'deferred', host, reply: null, code, text };
}

function refused(
  host: string | null,
  replyCode: number,
  enhanced: string,
  code: string,
  text: string,
): TransmissionResult {
  return { status: 'refused', host, reply: { code: replyCode, enhanced, text }, code, text };
}
