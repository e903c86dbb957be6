/**
 * One message to one recipient over an SMTP connection: connect to a checked address, EHLO, STARTTLS, envelope, data,
 * final dot; then the connection is kept for the next one, or left with QUIT. nodemailer speaks the protocol; the
 * time-outs, the caps and the moment before the final dot are ours.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import type SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { SmtpReply } from '../../stores/records/port.ts';
import { messageOf } from '../../protocols/errors.ts';
import { parseReply } from '../../protocols/mail/reply.ts';
import type { Transmission } from './dialer.ts';
import {
  createConnection,
  describeTls,
  destroy,
  handshake,
  leave,
  send,
  supportsUtf8,
  type ConnectionEvents,
  type ConnectionUse,
} from './smtp-connection.ts';
import { createData } from './smtp-data.ts';
import type { ConnectionPool, OpenConnection } from './smtp-pool.ts';

export interface Session {
  /** The peer's address; its name for TLS is `host`. */
  address: string;
  host: string;
  port: number;
  /** Our name for EHLO. */
  hostname: string;
  /** `opportunistic`: any certificate (RFC 7435). `verified`: a certificate for `host`, or no mail. `off`: plain text. */
  tls: 'opportunistic' | 'verified' | 'off';
  /** One more certificate authority, PEM. */
  ca: string | undefined;
  timeouts: { connect: number; command: number; data: number };
  message: Omit<Transmission, 'route'>;
}

export type SessionEnd =
  | { kind: 'accepted'; reply: SmtpReply; tls: string | null; verified: boolean }
  /** The server answered 4xx or 5xx. `session`: to the connection, not to this mail. */
  | { kind: 'answered'; to: 'session' | 'mail'; reply: SmtpReply }
  /** It cannot take what is only said in the envelope; no transaction was begun. */
  | { kind: 'unsuited'; why: 'utf8' | 'size' }
  /** Trouble before the final dot: the message was not delivered. */
  | { kind: 'failed'; code: string; text: string; tlsFailed: boolean }
  /** Trouble after the final dot. */
  | { kind: 'unknown'; text: string };

/** What is kept of an error text: enough to know it by. */
const MAX_TEXT = 500;

/**
 * One message over a connection that is kept from an earlier one, or over a new one. Never throws for what the peer or
 * the network does.
 * @throws what `open` or `beforeFinalDot` threw: trouble of our own, after which no final dot was sent
 */
export async function runSession(session: Session, signal: AbortSignal, pool?: ConnectionPool): Promise<SessionEnd> {
  const { address, port, host, tls } = session;
  const key = `${address}|${port}|${host}|${tls}`;
  for (;;) {
    const kept = pool?.take(key);
    const { end, open, stale } = await converse(session, signal, kept);
    // Servers end idle connections when they like; before DATA is accepted nothing has happened.
    if (kept && stale && !signal.aborted) continue;
    if (open) pool?.give(key, open);
    return end;
  }
}

interface Conversation {
  end: SessionEnd;
  /** The connection, where it is fit for another message. */
  open?: OpenConnection;
  /** It was of no use any more: it broke before the message began, or the server took no further MAIL on it. */
  stale: boolean;
}

async function converse(
  session: Session,
  signal: AbortSignal,
  kept: OpenConnection | undefined,
): Promise<Conversation> {
  const { message, timeouts } = session;
  const stage = (name: string) => message.onStage?.(name);
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => undefined);
  const watch = createWatch((what, ms) =>
    broken.reject(new Trouble('mail.timeout', `no progress at "${what}" within ${ms} ms`)),
  );
  const giveUp = () => broken.reject(new Trouble('mail.aborted', 'the attempt was cancelled'));
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();

  const data = createData(message, session.host, {
    progress: () => watch.start('data', timeouts.command),
    committing: () => watch.stop(),
    dot() {
      watch.start('final dot', timeouts.data);
      stage('final dot');
    },
  });
  const on: ConnectionEvents = {
    error: broken.reject,
    tooMuch: (bytes) => broken.reject(new Trouble('mail.reply_too_large', `the server sent more than ${bytes} bytes`)),
    command(verb) {
      stage(verb);
      watch.start(verb, timeouts.command);
    },
  };
  let socket: Socket | undefined = kept?.socket;
  let connection: SMTPConnection | undefined = kept?.connection;
  const use: ConnectionUse = kept?.use ?? { on, utf8: false, received: 0 };
  Object.assign(use, { on, utf8: message.utf8, received: 0 });
  let fit = false;
  try {
    if (!socket || !connection) {
      stage(`connect ${session.host} [${session.address}]:${session.port}`);
      watch.start('connect', timeouts.connect);
      socket = connectTcp({ host: session.address, port: session.port, noDelay: true });
      await Promise.race([connected(socket), broken.promise]);
      watch.start('greeting', timeouts.command);
      connection = createConnection(session, socket, use);
      await Promise.race([handshake(connection), broken.promise]);
    }

    if (message.utf8 && !supportsUtf8(connection)) {
      fit = true;
      return { end: { kind: 'unsuited', why: 'utf8' }, open: { connection, socket, use }, stale: false };
    }
    const tls = describeTls(connection);
    const response = await Promise.race([send(connection, message, data.stream), broken.promise]);
    const reply = readReply(response);
    if (!data.dotSent())
      throw new Trouble('mail.protocol_error', `accepted before the message had ended: ${plainText(response)}`);
    if (reply === null) throw new Trouble('mail.protocol_error', `no reply: ${plainText(response)}`);
    fit = true;
    const end: SessionEnd = { kind: 'accepted', reply, tls: tls?.name ?? null, verified: tls?.verified ?? false };
    return { end, open: { connection, socket, use }, stale: false };
  } catch (thrown) {
    // Read before anything else can happen: what counts is whether the dot was on its way when the trouble came.
    const dotSent = data.dotSent();
    const upgrading = connection?.upgrading === true;
    // Closed at once, so that no dot follows; a refusal of the envelope leaves time for QUIT.
    const end = judge(thrown, dotSent, upgrading);
    if (data.begun() || end.kind !== 'answered') destroy(connection, socket);
    if (data.failure()) throw data.failure();
    return { end, stale: !data.begun() && isStale(end, (thrown as SmtpError).command) };
  } finally {
    watch.stop();
    signal.removeEventListener('abort', giveUp);
    if (!fit) await leave(connection, socket, !data.begun() || data.dotSent());
    data.stream.destroy();
    await data.settled();
  }
}

/** Trouble that was seen on this side. */
class Trouble extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What nodemailer puts on its errors. */
interface SmtpError extends Error {
  code?: string;
  command?: string;
  response?: string;
  timeoutType?: string;
}

function isStale(end: SessionEnd, command: string | undefined): boolean {
  if (end.kind !== 'answered') return end.kind === 'failed';
  return end.reply.code === 421 || (end.reply.code < 500 && command === 'MAIL FROM');
}

function judge(thrown: unknown, dotSent: boolean, upgrading: boolean): SessionEnd {
  const error = thrown as SmtpError;
  const reply = error.response === undefined ? null : readReply(error.response);
  if (reply && reply.code >= 400) {
    const mail = dotSent || ['MAIL FROM', 'RCPT TO', 'DATA'].includes(error.command ?? '');
    const tlsRefused = error.command === 'STARTTLS';
    if (tlsRefused) return { kind: 'failed', code: 'mail.tls_failed', text: plainText(error.message), tlsFailed: true };
    return { kind: 'answered', to: mail ? 'mail' : 'session', reply };
  }
  const text = plainText(messageOf(thrown));
  if (dotSent) return { kind: 'unknown', text };
  // nodemailer compares SIZE (RFC 1870) itself and gives no reply with it.
  if (error.code === 'EMESSAGE' && error.command === 'MAIL FROM') return { kind: 'unsuited', why: 'size' };
  const tlsFailed = (upgrading || error.code === 'ETLS') && error.code !== 'mail.aborted';
  return { kind: 'failed', code: tlsFailed ? 'mail.tls_failed' : codeOf(error), text, tlsFailed };
}

/** A server may answer anything; null is what is no reply. */
function readReply(text: string): SmtpReply | null {
  try {
    return parseReply(text);
  } catch {
    return null;
  }
}

/** One line for records and logs; the peer may have written it. */
function plainText(text: string): string {
  return text
    .slice(0, MAX_TEXT)
    .replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim();
}

function codeOf(error: SmtpError): string {
  if (error instanceof Trouble) return error.code;
  if (error.timeoutType !== undefined) return 'mail.timeout';
  if (/exceeds maximum allowed size/.test(error.message)) return 'mail.reply_too_large';
  if (error.code === 'ECONNECTION' || error.code === 'ESOCKET') return 'mail.connection_lost';
  return 'mail.protocol_error';
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    // Stays for the life of the socket: a late error has nobody else to go to.
    socket.on('error', (error) => reject(new Trouble('mail.connection_failed', messageOf(error))));
  });
}

/** One timer: each stage starts it anew. */
function createWatch(late: (what: string, ms: number) => void) {
  let timer: NodeJS.Timeout | undefined;
  return {
    start(what: string, ms: number) {
      clearTimeout(timer);
      timer = setTimeout(() => late(what, ms), ms);
    },
    stop: () => clearTimeout(timer),
  };
}
