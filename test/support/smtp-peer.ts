/**
 * A destination that misbehaves on purpose, on a plain socket: libraries are too polite for it. It keeps every
 * command and every byte of the messages it got.
 */
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A reply without its CRLF; or nothing at all; or the end of the connection; or anything else. */
export type Answer = string | 'hang' | 'cut' | ((socket: Socket) => void);

export interface PeerOptions {
  /** @default 127.0.0.1 */
  host?: string;
  port?: number;
  greeting?: Answer;
  /** Lines after the first of the answer to EHLO. */
  extensions?: string[];
  ehlo?: Answer;
  helo?: Answer;
  mail?: Answer;
  rcpt?: Answer;
  data?: Answer;
  /** After the final dot. */
  dot?: Answer;
  /** Is called as soon as DATA has been answered, for cuts in the middle of the message. */
  duringData?: (socket: Socket) => void;
  /** For STARTTLS, which is offered when given. */
  tls?: { key: string; cert: string };
  /** Instead of the handshake after STARTTLS. */
  starttls?: Answer;
  onConnection?: () => void;
}

export interface Peer {
  host: string;
  port: number;
  /** Every line outside messages, in order; `<dot>` for the end of a message. */
  commands: string[];
  /** Messages, dots unstuffed. */
  messages: string[];
  connections: number;
  /** Sockets that are open now. */
  open: Set<Socket>;
  close(): Promise<void>;
}

export async function startPeer(options: PeerOptions = {}): Promise<Peer> {
  const open = new Set<Socket>();
  const peer: Peer = {
    host: options.host ?? '127.0.0.1',
    port: 0,
    commands: [],
    messages: [],
    connections: 0,
    open,
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
  const server = createServer((socket) => {
    peer.connections += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    options.onConnection?.();
    say(socket, options.greeting ?? '220 peer.test ESMTP');
    converse(socket, false);
  });

  const converse = (socket: Socket, secure: boolean) => {
    let buffered = '';
    let inMessage = false;
    socket.on('error', () => socket.destroy());
    socket.on('data', function take(chunk: Buffer) {
      buffered += chunk.toString('latin1');
      for (;;) {
        if (inMessage) {
          const all = `\r\n${buffered}`;
          const end = all.indexOf('\r\n.\r\n');
          if (end === -1) return;
          peer.messages.push(Buffer.from(all.slice(2, end + 2).replace(/^\.\./gm, '.'), 'latin1').toString('utf8'));
          peer.commands.push('<dot>');
          buffered = all.slice(end + 5);
          inMessage = false;
          say(socket, options.dot ?? '250 2.0.0 Stored');
          continue;
        }
        const end = buffered.indexOf('\r\n');
        if (end === -1) return;
        const line = Buffer.from(buffered.slice(0, end), 'latin1').toString('utf8');
        buffered = buffered.slice(end + 2);
        peer.commands.push(line);
        const verb = line.split(/[ :]/)[0]!.toUpperCase();
        if (verb === 'STARTTLS') {
          say(socket, options.starttls ?? '220 2.0.0 Go ahead');
          if (options.starttls !== undefined || !options.tls) continue;
          socket.removeListener('data', take);
          const upgraded = new TLSSocket(socket, { isServer: true, ...options.tls });
          converse(upgraded, true);
          return;
        }
        if (verb === 'DATA') {
          const answer = options.data ?? '354 Go on';
          inMessage = typeof answer === 'string' && answer.startsWith('354');
          say(socket, answer);
          options.duringData?.(socket);
          continue;
        }
        say(socket, answerTo(verb, secure));
        if (verb === 'QUIT') socket.end();
      }
    });
  };

  const answerTo = (verb: string, secure: boolean): Answer => {
    switch (verb) {
      case 'EHLO':
        return (
          options.ehlo ??
          [
            'peer.test',
            ...(options.extensions ?? ['SIZE', '8BITMIME']),
            ...(options.tls && !secure ? ['STARTTLS'] : []),
          ]
            .map((line, index, lines) => `250${index === lines.length - 1 ? ' ' : '-'}${line}`)
            .join('\r\n')
        );
      case 'HELO':
        return options.helo ?? '250 peer.test';
      case 'MAIL':
        return options.mail ?? '250 2.1.0 Sender ok';
      case 'RCPT':
        return options.rcpt ?? '250 2.1.5 Recipient ok';
      case 'QUIT':
        return '221 2.0.0 Bye';
      default:
        return '500 5.5.2 What?';
    }
  };

  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(options.port ?? 0, peer.host, () => resolve()),
  );
  peer.port = (server.address() as { port: number }).port;
  return peer;
}

function say(socket: Socket, answer: Answer): void {
  if (typeof answer === 'function') answer(socket);
  else if (answer === 'cut') socket.destroy();
  else if (answer !== 'hang' && !socket.destroyed) socket.write(`${answer}\r\n`);
}
