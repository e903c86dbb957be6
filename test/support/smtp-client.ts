/** An SMTP client that shows every reply as it came over the wire. Tests need the words, not a library's reading of them. */
import { connect, type Socket } from 'node:net';

export interface SmtpClient {
  greeting: string;
  /** Sends one command line and returns the whole reply, lines joined by a newline. */
  command(line: string): Promise<string>;
  /** Sends bytes as they are. */
  raw(bytes: Buffer | string): void;
  reply(): Promise<string>;
  close(): void;
}

export interface Sent {
  mail: string;
  rcpt: string[];
  /** Null when DATA was not reached. */
  data: string | null;
}

export interface Envelope {
  from: string;
  to: string[];
  message: Buffer | string;
  /** Address of 127/8 to connect from. */
  source?: string;
  helo?: string;
  /** Words after MAIL FROM:<>, such as SMTPUTF8. */
  parameters?: string;
}

/** Ends a client that waits for a reply which does not come. */
const REPLY_TIMEOUT_MS = 60_000;

export async function openSmtp(endpoint: { host: string; port: number }, source?: string): Promise<SmtpClient> {
  const socket: Socket = connect({ ...endpoint, localAddress: source });
  let buffered = '';
  let waiting: { resolve(reply: string): void; reject(error: Error): void } | undefined;
  const take = (): string | undefined => {
    const end = /^\d{3}(?: [^\r\n]*)?\r\n/m.exec(buffered);
    if (!end) return undefined;
    const reply = buffered.slice(0, end.index + end[0].length);
    buffered = buffered.slice(reply.length);
    return reply.trimEnd().replace(/\r\n/g, '\n');
  };
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= error;
    waiting?.reject(error);
    waiting = undefined;
  };
  socket.on('data', (chunk) => {
    buffered += chunk.toString('utf8');
    if (!waiting) return;
    const reply = take();
    if (reply === undefined) return;
    waiting.resolve(reply);
    waiting = undefined;
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the connection was closed')));
  socket.setTimeout(REPLY_TIMEOUT_MS, () => socket.destroy(new Error('no reply in time')));
  const reply = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const ready = take();
      if (ready !== undefined) resolve(ready);
      else if (failure) reject(failure);
      else waiting = { resolve, reject };
    });
  return {
    greeting: await reply(),
    raw: (bytes) => void socket.write(bytes),
    reply,
    command(line) {
      socket.write(`${line}\r\n`);
      return reply();
    },
    close: () => void socket.destroy(),
  };
}

/** One transaction. DATA is sent when at least one recipient was taken. */
export async function sendMail(endpoint: { host: string; port: number }, envelope: Envelope): Promise<Sent> {
  const client = await openSmtp(endpoint, envelope.source);
  try {
    await client.command(`EHLO ${envelope.helo ?? 'client.test'}`);
    const mail = await client.command(
      `MAIL FROM:<${envelope.from}>${envelope.parameters ? ` ${envelope.parameters}` : ''}`,
    );
    const rcpt: string[] = [];
    for (const to of envelope.to) rcpt.push(await client.command(`RCPT TO:<${to}>`));
    if (!rcpt.some((one) => one.startsWith('25'))) return { mail, rcpt, data: null };
    await client.command('DATA');
    client.raw(stuffed(envelope.message));
    const data = await client.reply();
    return { mail, rcpt, data };
  } finally {
    client.close();
  }
}

/** RFC 5321, 4.5.2, and the final dot. */
export function stuffed(message: Buffer | string): Buffer {
  const text = Buffer.isBuffer(message) ? message.toString('latin1') : Buffer.from(message).toString('latin1');
  const dotted = text.replace(/^\./gm, '..');
  return Buffer.from(`${dotted}${dotted.endsWith('\r\n') ? '' : '\r\n'}.\r\n`, 'latin1');
}
