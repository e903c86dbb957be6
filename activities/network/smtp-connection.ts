/** nodemailer's SMTP client with our caps, and the two things it lacks. */
import { isIP, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { getCACertificates, type TLSSocket } from 'node:tls';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import type { Session } from './smtp-session.ts';

/** For QUIT to leave; nobody waits for its answer. */
const QUIT_GRACE_MS = 1_000;
/** One reply; RFC 5321 knows lines of 512 octets, and EHLO lists of some dozens of lines. */
const MAX_REPLY_BYTES = 64 * 1_024;
/** All that a server may send for one message, blank lines included: replies to six commands never come near. */
const MAX_RECEIVED_BYTES = 1_048_576;

/**
 * Parts of nodemailer that are not in its types. The version is pinned, and a test covers each use: the SMTPUTF8
 * parameter (nodemailer sends it for the envelope only, RFC 6531 wants it for the header too), the extensions, and
 * the bytes that come in.
 */
interface Internals {
  _sendCommand(command: string, shown?: string): void;
  _onSocketData(chunk: Buffer): void;
  _supportedExtensions: string[];
}
const internalsOf = (connection: SMTPConnection) => connection as unknown as Internals;

export interface ConnectionEvents {
  /** The connection is of no more use. */
  error(error: unknown): void;
  /** The server sends without end; the socket is closed already. */
  tooMuch(bytes: number): void;
  /** A command goes out: `ehlo`, `starttls`, `mail from`, `rcpt to`, `data`. */
  command(verb: string): void;
}

/** What differs from message to message on one connection. */
export interface ConnectionUse {
  on: ConnectionEvents;
  /** The message needs SMTPUTF8. */
  utf8: boolean;
  /** Bytes that the server has sent. */
  received: number;
}

/** @param socket connected to `session.address` */
export function createConnection(session: Session, socket: Socket, use: ConnectionUse): SMTPConnection {
  const connection = new SMTPConnection({
    connection: socket,
    host: session.address,
    port: session.port,
    name: session.hostname,
    servername: isIP(session.host) === 0 ? session.host : undefined,
    ignoreTLS: session.tls === 'off',
    opportunisticTLS: session.tls === 'opportunistic',
    requireTLS: session.tls === 'verified',
    tls: {
      rejectUnauthorized: session.tls === 'verified',
      ...(session.ca === undefined ? {} : { ca: [...getCACertificates('default'), session.ca] }),
    },
    // Our own watch is stricter than these: it times the command and not the silence.
    connectionTimeout: session.timeouts.command,
    greetingTimeout: session.timeouts.command,
    socketTimeout: Math.max(session.timeouts.command, session.timeouts.data) + 1_000,
    socketCloseTimeout: 0,
    maxResponseSize: MAX_REPLY_BYTES,
    logger: false,
  });
  connection.on('error', (error) => use.on.error(error));

  const internals = internalsOf(connection);
  const sendCommand = internals._sendCommand.bind(connection);
  internals._sendCommand = (command, shown) => {
    const verb = /^(?:MAIL FROM|RCPT TO|\S+)/.exec(command)?.[0] ?? '';
    use.on.command(verb.toLowerCase());
    const parameter = verb === 'MAIL FROM' && use.utf8 && !/ SMTPUTF8\b/.test(command) ? ' SMTPUTF8' : '';
    sendCommand(command + parameter, shown);
  };
  const receive = internals._onSocketData;
  internals._onSocketData = (chunk) => {
    use.received += chunk.length;
    if (use.received <= MAX_RECEIVED_BYTES) return receive(chunk);
    socket.destroy();
    use.on.tooMuch(MAX_RECEIVED_BYTES);
  };
  return connection;
}

export function handshake(connection: SMTPConnection): Promise<void> {
  return new Promise((resolve, reject) =>
    connection.connect((error?: Error | null) => (error ? reject(error) : resolve())),
  );
}

export function supportsUtf8(connection: SMTPConnection): boolean {
  return internalsOf(connection)._supportedExtensions.includes('SMTPUTF8');
}

/** @returns the reply to the final dot */
export function send(connection: SMTPConnection, message: Session['message'], stream: Readable): Promise<string> {
  // Without 8BITMIME the body goes as it is: to recode it would break every signature on it, and servers take it.
  const envelope = { from: message.sender, to: [message.recipient], size: message.size, use8BitMime: message.eightBit };
  return new Promise((resolve, reject) =>
    connection.send(envelope, stream, (error, info) => (error ? reject(error) : resolve(info?.response ?? ''))),
  );
}

export function describeTls(connection: SMTPConnection): { name: string; verified: boolean } | null {
  if (!connection.secure) return null;
  const socket = connection._socket as TLSSocket;
  return { name: `${socket.getProtocol() ?? 'TLS'} ${socket.getCipher().name}`, verified: socket.authorized };
}

/** Says QUIT where that is a command and not a line of the message, then closes for good. */
export async function leave(
  connection: SMTPConnection | undefined,
  socket: Socket | undefined,
  betweenCommands: boolean,
): Promise<void> {
  const current = connection?._socket;
  if (current && betweenCommands && current.writable && !current.destroyed) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, QUIT_GRACE_MS);
      current.once('close', resolve);
      current.end('QUIT\r\n', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
  destroy(connection, socket);
}

export function destroy(connection: SMTPConnection | undefined, socket: Socket | undefined): void {
  connection?.close();
  socket?.destroy();
}
