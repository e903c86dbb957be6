/**
 * The load client, in a process of its own: sessions that send one message after another, each another message with
 * a valid signature, and the time from the final dot to the answer.
 *
 * usage: load.ts '{"port", "source", "sessions", "messages", "size", "reuse", "keyFile"}'; answers one line of JSON
 */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { dkimSignature, digest } from '../../activities/mail/authenticator/signer.ts';
import { FORWARD_DOMAIN, SELECTOR, SENDER_DOMAIN } from './world.ts';

export interface LoadOptions {
  port: number;
  source?: string;
  sessions: number;
  messages: number;
  /** Bytes of each message, about. */
  size: number;
  /** One connection a session; otherwise one a message. */
  reuse: boolean;
  /** Go on for so long instead of ending with the last of `messages`; each is then made when its turn comes. */
  seconds?: number;
  keyFile: string;
}

export interface LoadResult {
  accepted: number;
  refused: number;
  /** An example of a refusal. */
  refusal: string | null;
  /** ms from the first connection to the last answer. */
  ms: number;
  /** ms from the final dot to the answer. */
  p50: number;
  p99: number;
  longest: number;
  /** Messages that each session got an answer for. */
  perSession: number[];
}

async function createMessage(options: LoadOptions, privateKey: string, number: number): Promise<Buffer> {
  const line = `${'The quick brown fox jumps over the lazy dog, once more. '.slice(0, 56)}${number}\r\n`;
  const body = line.repeat(Math.max(1, Math.floor((options.size - 1_100) / line.length)));
  const plain = Buffer.from(
    [
      `From: Bench <bench@${SENDER_DOMAIN}>`,
      `To: <someone@${FORWARD_DOMAIN}>`,
      `Subject: Message ${number} of a bench`,
      `Message-ID: <${Date.now()}.${number}.${Math.random()}@${SENDER_DOMAIN}>`,
      `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
      'MIME-Version: 1.0',
      'Content-Type: text/plain; charset=utf-8',
      '',
      body,
    ].join('\r\n'),
  );
  const key = { domain: SENDER_DOMAIN, selector: SELECTOR, privateKey };
  return Buffer.concat([Buffer.from(dkimSignature(await digest([plain]), key)), plain, Buffer.from('.\r\n')]);
}

/** One connection: a command, then its reply. */
class Client {
  readonly #socket: Socket;
  #buffered = '';
  #waiting: { resolve(reply: string): void; reject(error: Error): void } | undefined;
  #failure: Error | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay();
    const fail = (error: Error) => {
      this.#failure ??= error;
      this.#waiting?.reject(error);
    };
    socket.on('data', (chunk) => {
      this.#buffered += chunk.toString('latin1');
      const found = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/.exec(this.#buffered);
      if (!found || !this.#waiting) return;
      this.#buffered = this.#buffered.slice(found[0].length);
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve(found[0]);
    });
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('the connection was closed')));
  }

  static async open({ port, source }: LoadOptions): Promise<Client> {
    const client = new Client(connect({ host: '127.0.0.1', port, localAddress: source }));
    await client.#reply();
    await client.command(`EHLO mx.${SENDER_DOMAIN}`);
    return client;
  }

  #reply(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      this.#waiting = { resolve, reject };
    });
  }

  command(bytes: string | Buffer): Promise<string> {
    const reply = this.#reply();
    this.#socket.write(typeof bytes === 'string' ? `${bytes}\r\n` : bytes);
    return reply;
  }

  close(): void {
    this.#socket.end('QUIT\r\n');
  }
}

async function main(options: LoadOptions): Promise<LoadResult> {
  const privateKey = readFileSync(options.keyFile, 'utf8');
  const start = performance.now();
  const next = options.seconds
    ? createUntil(start + options.seconds * 1_000, (number) => createMessage(options, privateKey, number))
    : await createAll(options.messages, (number) => createMessage(options, privateKey, number));
  const times: number[] = [];
  const perSession: number[] = [];
  let refused = 0;
  let refusal: string | null = null;
  const sending = performance.now();
  const session = async (_: unknown, number: number): Promise<void> => {
    perSession[number] = 0;
    let client: Client | undefined;
    for (let message = await next(); message; message = await next()) {
      client ??= await Client.open(options);
      let reply = await client.command(`MAIL FROM:<bench@${SENDER_DOMAIN}>`);
      if (reply.startsWith('250')) reply = await client.command(`RCPT TO:<someone@${FORWARD_DOMAIN}>`);
      if (reply.startsWith('250')) reply = await client.command('DATA');
      if (reply.startsWith('354')) {
        const sent = performance.now();
        reply = await client.command(message);
        times.push(performance.now() - sent);
      }
      if (!reply.startsWith('250')) {
        refused += 1;
        refusal ??= reply.trim();
      }
      perSession[number] += 1;
      if (!options.reuse) {
        client.close();
        client = undefined;
      }
    }
    client?.close();
  };
  await Promise.all(Array.from({ length: options.sessions }, session));
  const ms = performance.now() - sending;
  times.sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0;
  const accepted = perSession.reduce((sum, one) => sum + one, 0) - refused;
  return { accepted, refused, refusal, ms, p50: at(0.5), p99: at(0.99), longest: at(1), perSession };
}

type Next = () => Buffer | undefined | Promise<Buffer | undefined>;

/** All of them beforehand, so that the client costs little while it is measured. */
async function createAll(count: number, create: (number: number) => Promise<Buffer>): Promise<Next> {
  const messages: Buffer[] = [];
  for (let number = 0; number < count; number += 1) messages.push(await create(number));
  return () => messages.pop();
}

function createUntil(end: number, create: (number: number) => Promise<Buffer>): Next {
  let number = 0;
  return () => (performance.now() < end ? create((number += 1)) : undefined);
}

if (process.argv[1] === import.meta.filename)
  process.stdout.write(`${JSON.stringify(await main(JSON.parse(process.argv[2] ?? '{}') as LoadOptions))}\n`);
