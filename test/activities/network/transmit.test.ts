/** One delivery attempt against destinations that answer, refuse, hang, cut and talk nonsense at each stage. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Readable } from 'node:stream';
import { SMTPServer } from 'smtp-server';
import { afterEach, describe, expect, it } from 'vitest';
import type { Dialer } from '../../../activities/network/dialer.ts';
import type { ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { createAuthority } from '../../support/certificates.ts';
import { HOSTNAME, MESSAGE, openDialer, sendTo, socketsTo } from '../../support/dialing.ts';
import { startPeer, type Answer, type Peer, type PeerOptions } from '../../support/smtp-peer.ts';

const FAST = { connectTimeout: '2s', commandTimeout: '400ms', dataTimeout: '400ms' } as const;
const closing: (() => Promise<void>)[] = [];
const dialers: Dialer[] = [];
const ports: number[] = [];

afterEach(async () => {
  // Whatever happened, no socket of ours is left when the dialers are closed.
  await Promise.all(dialers.splice(0).map((dialer) => dialer.close()));
  await sleep(20);
  const left = socketsTo(...ports.splice(0));
  await Promise.all(closing.splice(0).map((close) => close()));
  expect(left).toBe(0);
});

async function peerWith(options: PeerOptions = {}): Promise<Peer> {
  const peer = await startPeer(options);
  closing.push(peer.close);
  ports.push(peer.port);
  return peer;
}

function dialerTo(peers: Peer[], outbound: ConfigurationInput['outbound'] = {}): Dialer {
  // Several hosts of one domain need MX; they share a port and differ in the address.
  const [first] = peers;
  const dialer = openDialer({
    outbound: { ...FAST, allow: ['127.0.0.0/8'], port: first!.port, ...outbound },
    dns: {
      zones: {
        'b.test': peers.map((_, index) => `MX ${index + 1} mx${index + 1}.b.test`),
        ...Object.fromEntries(peers.map((peer, index) => [`mx${index + 1}.b.test`, [`A ${peer.host}`]])),
      },
    },
  });
  dialers.push(dialer);
  return dialer;
}

/** Peers on one port at different addresses, the order of preference. */
async function peersWith(...options: PeerOptions[]): Promise<Peer[]> {
  const peers: Peer[] = [];
  for (const [index, one] of options.entries())
    peers.push(await peerWith({ ...one, host: `127.0.0.${index + 2}`, port: peers[0]?.port }));
  return peers;
}

const garbage: Answer = (socket) => socket.write('\0\x07hello \x1b[31mworld\r\n');

describe('a delivery', () => {
  it('sends the envelope and the message as they are, and tells each stage', async () => {
    const peer = await peerWith();
    const log: string[] = [];
    const dialer = dialerTo([peer]);
    const result = await sendTo(dialer, 'b.test', { log, eightBit: true });
    expect(result).toEqual({
      status: 'delivered',
      host: 'mx1.b.test',
      reply: { code: 250, enhanced: '2.0.0', text: 'Stored' },
      tls: null,
    });
    expect(peer.messages).toEqual([MESSAGE]);
    expect(peer.commands.slice(0, 5)).toEqual([
      `EHLO ${HOSTNAME}`,
      `MAIL FROM:<sender@a.test> BODY=8BITMIME SIZE=${MESSAGE.length}`,
      'RCPT TO:<rcpt@b.test>',
      'DATA',
      '<dot>',
    ]);
    await dialer.close();
    await expect.poll(() => peer.commands.at(-1)).toBe('QUIT');
    expect(log).toEqual([
      `connect mx1.b.test [127.0.0.1]:${peer.port}`,
      'ehlo',
      'mail from',
      'rcpt to',
      'data',
      'before final dot mx1.b.test',
      'final dot',
    ]);
  });

  it('takes the null sender, and says neither SIZE nor 8BITMIME to a server without them', async () => {
    const peer = await peerWith({ extensions: [] });
    await sendTo(dialerTo([peer]), 'b.test', { sender: '', eightBit: true });
    expect(peer.commands).toContain('MAIL FROM:<>');
  });

  it('falls back to HELO', async () => {
    const peer = await peerWith({ ehlo: '502 5.5.1 No' });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({ status: 'delivered' });
    expect(peer.commands).toContain(`HELO ${HOSTNAME}`);
  });

  it('pipelines where the server offers it', async () => {
    const peer = await peerWith({ extensions: ['PIPELINING'] });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({ status: 'delivered' });
    expect(peer.messages).toEqual([MESSAGE]);
  });

  it('arrives at a real SMTP server byte by byte, 300 KB with dots and long lines', async () => {
    const text = `Subject: x\r\n\r\n${`.${'x'.repeat(900)}\r\n..\r\n`.repeat(330)}`;
    let arrived = '';
    const server = new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onData(stream, _session, done) {
        stream.on('data', (chunk: Buffer) => (arrived += chunk.toString('latin1')));
        stream.on('end', () => done());
      },
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.server.address() as { port: number };
    ports.push(port);
    const dialer = openDialer({ outbound: { transport: { 'b.test': `127.0.0.1:${port}` } } });
    dialers.push(dialer);
    closing.push(() => new Promise((resolve) => server.close(() => resolve())));
    expect(await sendTo(dialer, 'b.test', { text })).toMatchObject({ status: 'delivered', tls: null });
    expect(arrived === text).toBe(true);
  });

  it('sends a domain in U-labels as A-labels, which needs no SMTPUTF8', async () => {
    const peer = await peerWith();
    await sendTo(dialerTo([peer]), 'b.test', { sender: 'x@bücher.example', recipient: 'y@BÜCHER.example' });
    // punycode of bücher, RFC 3492
    expect(peer.commands).toContain('RCPT TO:<y@xn--bcher-kva.example>');
    expect(peer.commands.some((line) => line.startsWith('MAIL FROM:<x@xn--bcher-kva.example>'))).toBe(true);
  });

  it.each(['x@b.test>\r\nRSET', 'x\0@b.test', 'a<b@b.test', ''])(
    'refuses the recipient %j, which would break the command',
    async (recipient) => {
      const peer = await peerWith();
      expect(await sendTo(dialerTo([peer]), 'b.test', { recipient })).toMatchObject({
        status: 'refused',
        code: 'address.invalid',
        reply: { code: 553 },
      });
      expect(peer.connections).toBe(0);
    },
  );
});

describe('the moment before the final dot', () => {
  it('comes after the last byte and before the dot, which waits for it', async () => {
    const peer = await peerWith();
    let seen: string[] | undefined;
    await sendTo(dialerTo([peer]), 'b.test', {
      async beforeFinalDot() {
        await sleep(100);
        seen = [...peer.commands];
      },
    });
    expect(seen?.at(-1)).toBe('DATA');
    expect(peer.messages).toHaveLength(1);
  });

  it('sends no dot when it fails, and hands on what failed', async () => {
    const peer = await peerWith();
    const failure = Object.assign(new Error('records are away'), { code: 'records.unavailable' });
    const attempt = sendTo(dialerTo([peer]), 'b.test', { beforeFinalDot: () => Promise.reject(failure) });
    await expect(attempt).rejects.toBe(failure);
    expect(failure).toMatchObject({ code: 'records.unavailable', message: 'records are away' });
    await sleep(50);
    expect(peer.messages).toEqual([]);
  });

  it('is not reached when the message cannot be read', async () => {
    const peer = await peerWith();
    const log: string[] = [];
    const failure = new Error('blob is away');
    const broken = async () =>
      Readable.from(
        (async function* () {
          yield Buffer.from('Subject: x\r\n');
          throw failure;
        })(),
      );
    await expect(sendTo(dialerTo([peer]), 'b.test', { open: broken, log })).rejects.toBe(failure);
    expect(log).not.toContain('before final dot mx1.b.test');
    await sleep(50);
    expect(peer.messages).toEqual([]);
  });

  it('sends no dot when the attempt is cancelled meanwhile, and waits for it to end', async () => {
    const peer = await peerWith();
    const cancel = new AbortController();
    const order: string[] = [];
    const result = await sendTo(dialerTo([peer]), 'b.test', {
      signal: cancel.signal,
      async beforeFinalDot() {
        cancel.abort();
        await sleep(50);
        order.push('recorded');
      },
    });
    order.push('result');
    expect(result).toMatchObject({ status: 'deferred', code: 'mail.aborted' });
    expect(order).toEqual(['recorded', 'result']);
    await sleep(50);
    expect(peer.messages).toEqual([]);
  });
});

describe('a refusal', () => {
  it.each(['mail', 'rcpt', 'data', 'dot'] as const)(
    'with 5xx at %s is passed on, and no other host is asked',
    async (stage) => {
      const peers = await peersWith({ [stage]: '550-5.7.1 First line\r\n550 5.7.1 second' }, {});
      expect(await sendTo(dialerTo(peers), 'b.test')).toEqual({
        status: 'refused',
        host: 'mx1.b.test',
        reply: { code: 550, enhanced: '5.7.1', text: 'First line second' },
        code: 'mail.refused',
        text: 'First line second',
      });
      expect(peers[1]!.connections).toBe(0);
      if (stage !== 'dot') expect(peers[0]!.messages).toEqual([]);
    },
  );

  it('of the recipient with PIPELINING is that of the recipient, not that of DATA', async () => {
    const peer = await peerWith({
      extensions: ['PIPELINING'],
      rcpt: '550 5.1.1 No such user',
      data: '554 5.5.1 No recipients',
    });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({
      status: 'refused',
      reply: { code: 550, enhanced: '5.1.1' },
    });
  });

  it('in the middle of the message counts, and the message is not ended', async () => {
    const peer = await peerWith({ duringData: (socket) => socket.write('552 5.3.4 Enough\r\n') });
    const endless = async () =>
      Readable.from(
        (async function* () {
          for (;;) {
            await sleep(5);
            yield Buffer.from('x\r\n');
          }
        })(),
      );
    expect(await sendTo(dialerTo([peer]), 'b.test', { open: endless })).toMatchObject({
      status: 'refused',
      reply: { code: 552 },
    });
    expect(peer.messages).toEqual([]);
  });

  it('is given for a message over the SIZE of the server, without sending it', async () => {
    const peer = await peerWith({ extensions: ['SIZE 100'] });
    const result = await sendTo(dialerTo([peer]), 'b.test', { size: 101 });
    expect(result).toMatchObject({
      status: 'refused',
      code: 'mail.too_large',
      reply: { code: 552, enhanced: '5.3.4' },
    });
    expect(peer.commands.some((line) => line.startsWith('MAIL'))).toBe(false);
  });

  it('keeps a long reply with control characters short and clean', async () => {
    const peer = await peerWith({ rcpt: `550 5.1.1 \x1b[2J\x07\0${'no '.repeat(5_000)}` });
    const result = await sendTo(dialerTo([peer]), 'b.test');
    expect(result.status).toBe('refused');
    if (result.status !== 'refused') return;
    expect(result.reply.text.length).toBeLessThanOrEqual(1_000);
    expect(result.reply.text).not.toMatch(/[\u0000-\u001f\u007f]/);
  });
});

describe('a temporary failure', () => {
  it.each([
    ['greeting', '421 4.3.2 Later'],
    ['greeting', '554 5.7.1 Not you'],
    ['mail', '451 4.3.0 Later'],
    ['rcpt', '450 4.2.0 Later'],
    ['data', '451 4.3.0 Later'],
    ['dot', '452 4.3.1 Later'],
    ['rcpt', '421 4.3.2 Later'],
    ['greeting', 'cut'],
    ['ehlo', 'cut'],
    ['mail', 'cut'],
    ['rcpt', 'cut'],
    ['data', 'cut'],
    ['greeting', 'hang'],
    ['ehlo', 'hang'],
    ['mail', 'hang'],
    ['rcpt', 'hang'],
    ['data', 'hang'],
    ['greeting', garbage],
    ['mail', garbage],
    ['rcpt', garbage],
    ['data', garbage],
  ] as const)('at %s (%s) leads to the next host', async (stage, answer) => {
    const peers = await peersWith({ [stage]: answer }, {});
    expect(await sendTo(dialerTo(peers), 'b.test')).toMatchObject({ status: 'delivered', host: 'mx2.b.test' });
    expect(peers[1]!.messages).toEqual([MESSAGE]);
  });

  it.each([
    ['450 4.2.0 Later', 'mail.deferred', { code: 450, enhanced: '4.2.0', text: 'Later' }],
    ['cut', 'mail.connection_lost', null],
    ['hang', 'mail.timeout', null],
    [garbage, 'mail.protocol_error', null],
  ] as const)('of the only host (%s) defers with %s', async (answer, code, reply) => {
    const peer = await peerWith({ rcpt: answer });
    const result = await sendTo(dialerTo([peer]), 'b.test');
    expect(result).toMatchObject({ status: 'deferred', host: 'mx1.b.test', code, reply });
    expect((result as { text: string }).text).not.toMatch(/[\u0000-\u001f\u007f]/);
  });

  it('keeps the answer of a host rather than the silence of the next', async () => {
    const peers = await peersWith({ rcpt: '450 4.2.0 Greylisted' }, { greeting: 'cut' });
    expect(await sendTo(dialerTo(peers), 'b.test')).toMatchObject({
      status: 'deferred',
      host: 'mx1.b.test',
      reply: { code: 450 },
    });
  });

  it('is a port where nobody listens', async () => {
    const peer = await startPeer();
    await peer.close();
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({
      status: 'deferred',
      code: 'mail.connection_failed',
    });
  });

  it('is a server that lets its reply drip, though it is never silent for long', async () => {
    const peer = await peerWith({
      rcpt: (socket) => {
        const timer = setInterval(() => socket.write('250-x\r\n'), 50);
        socket.on('close', () => clearInterval(timer));
      },
    });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({ status: 'deferred', code: 'mail.timeout' });
  });

  it.each([
    ['one line without an end', (): Buffer => Buffer.alloc(65_536, 'x')],
    ['lines without an end', (): Buffer => Buffer.from('250-more\r\n'.repeat(6_000))],
    ['empty lines', (): Buffer => Buffer.from('\r\n'.repeat(32_768))],
  ])('is a reply of %s, of which little is read', async (_name, chunk) => {
    let written = 0;
    const peer = await peerWith({
      rcpt: (socket) => {
        const flood = () => {
          while (!socket.destroyed && written < 100_000_000) {
            const part = chunk();
            written += part.length;
            if (!socket.write(part)) return void socket.once('drain', flood);
          }
        };
        flood();
      },
    });
    expect(await sendTo(dialerTo([peer], { commandTimeout: '20s' }), 'b.test')).toMatchObject({
      status: 'deferred',
      code: 'mail.reply_too_large',
    });
    // What the kernel buffers on both sides may have been written besides.
    expect(written).toBeLessThan(50_000_000);
  });

  it('is an acceptance before the message has ended', async () => {
    const peer = await peerWith({ duringData: (socket) => socket.write('250 2.0.0 Fine already\r\n') });
    const slow = async () =>
      Readable.from(
        (async function* () {
          yield Buffer.from('Subject: x\r\n');
          await sleep(200);
          yield Buffer.from('\r\nx\r\n');
        })(),
      );
    expect(await sendTo(dialerTo([peer]), 'b.test', { open: slow })).toMatchObject({
      status: 'deferred',
      code: 'mail.protocol_error',
    });
  });

  it('ends after a fixed number of connections, however many hosts there are', async () => {
    const peers = await peersWith(...Array.from({ length: 10 }, () => ({ greeting: '421 4.3.2 Later' })));
    expect(await sendTo(dialerTo(peers), 'b.test')).toMatchObject({ status: 'deferred' });
    expect(peers.reduce((sum, peer) => sum + peer.connections, 0)).toBe(8);
  });
});

describe('after the final dot', () => {
  it.each([
    ['cut', 'cut'],
    ['hang', 'hang'],
    ['garbage', garbage],
  ] as const)('a %s is an unknown outcome, and no other host gets the message', async (_name, dot) => {
    const peers = await peersWith({ dot }, {});
    const result = await sendTo(dialerTo(peers), 'b.test');
    expect(result).toMatchObject({ status: 'unknown', host: 'mx1.b.test', code: 'mail.outcome_unknown' });
    expect(peers[0]!.messages).toHaveLength(1);
    expect(peers[1]!.connections).toBe(0);
  });

  it('a cancelled attempt is an unknown outcome', async () => {
    const cancel = new AbortController();
    const peer = await peerWith({ dot: () => cancel.abort() });
    expect(await sendTo(dialerTo([peer]), 'b.test', { signal: cancel.signal })).toMatchObject({ status: 'unknown' });
  });

  it('a cut in the middle of the message is none: it was not delivered', async () => {
    const peer = await peerWith({ duringData: (socket) => socket.destroy() });
    const slow = async () =>
      Readable.from(
        (async function* () {
          for (let index = 0; index < 50; index += 1) {
            await sleep(10);
            yield Buffer.from('x\r\n');
          }
        })(),
      );
    expect(await sendTo(dialerTo([peer]), 'b.test', { open: slow })).toMatchObject({
      status: 'deferred',
      code: 'mail.connection_lost',
    });
  });
});

describe('cancelling', () => {
  it.each(['greeting', 'ehlo', 'mail', 'rcpt', 'data'] as const)('at %s closes the socket at once', async (stage) => {
    const cancel = new AbortController();
    const peer = await peerWith({ [stage]: () => void setTimeout(() => cancel.abort(), 10) });
    const dialer = dialerTo([peer], { commandTimeout: '60s' });
    expect(await sendTo(dialer, 'b.test', { signal: cancel.signal })).toMatchObject({
      status: 'deferred',
      code: 'mail.aborted',
    });
    await expect.poll(() => peer.open.size).toBe(0);
  });

  it('is what closing the dialer does to attempts under way', async () => {
    const peer = await peerWith({ rcpt: 'hang' });
    const dialer = dialerTo([peer], { commandTimeout: '60s' });
    const attempt = sendTo(dialer, 'b.test');
    await expect.poll(() => peer.commands.some((line) => line.startsWith('RCPT'))).toBe(true);
    await dialer.close();
    expect(await attempt).toMatchObject({ status: 'deferred', code: 'mail.aborted' });
  });
});

describe('internationalized mail (RFC 6531)', () => {
  const utf8 = { utf8: true, recipient: 'пример@b.test' };
  it('goes with SMTPUTF8', async () => {
    const peer = await peerWith({ extensions: ['SMTPUTF8', '8BITMIME'] });
    expect(await sendTo(dialerTo([peer]), 'b.test', utf8)).toMatchObject({ status: 'delivered' });
    expect(peer.commands).toContain('RCPT TO:<пример@b.test>');
    expect(peer.commands.find((line) => line.startsWith('MAIL'))).toBe('MAIL FROM:<sender@a.test> SMTPUTF8');
  });
  it('says SMTPUTF8 for a header alone', async () => {
    const peer = await peerWith({ extensions: ['SMTPUTF8'] });
    await sendTo(dialerTo([peer]), 'b.test', { utf8: true });
    expect(peer.commands.find((line) => line.startsWith('MAIL'))).toBe('MAIL FROM:<sender@a.test> SMTPUTF8');
  });
  it('is refused when no host supports it, after all were asked', async () => {
    const peers = await peersWith({}, {});
    expect(await sendTo(dialerTo(peers), 'b.test', utf8)).toMatchObject({
      status: 'refused',
      code: 'mail.utf8_unsupported',
      reply: { code: 550, enhanced: '5.6.7' },
    });
    expect(peers.map((peer) => peer.connections)).toEqual([1, 1]);
    expect(peers[0]!.commands.some((line) => line.startsWith('MAIL'))).toBe(false);
  });
  it('goes to a second host that supports it', async () => {
    const peers = await peersWith({}, { extensions: ['SMTPUTF8'] });
    expect(await sendTo(dialerTo(peers), 'b.test', utf8)).toMatchObject({ status: 'delivered', host: 'mx2.b.test' });
  });
  it('waits when a host that may support it is away', async () => {
    const peers = await peersWith({}, { greeting: '421 4.3.2 Later' });
    expect(await sendTo(dialerTo(peers), 'b.test', utf8)).toMatchObject({ status: 'deferred' });
  });
});

describe('opportunistic TLS', () => {
  const authority = createAuthority();
  it('takes a certificate that nobody signed', async () => {
    const peer = await peerWith({ tls: authority.selfSigned('someone.else') });
    const result = await sendTo(dialerTo([peer]), 'b.test');
    expect(result).toMatchObject({ status: 'delivered', tls: expect.stringMatching(/^TLSv1\.3 TLS_/) });
    expect(peer.messages).toEqual([MESSAGE]);
  });
  it.each<[string, Answer]>([
    ['breaks', (socket: Socket) => void socket.write('220 Go\r\n', () => socket.write('no handshake at all\r\n'))],
    ['hangs', '220 Go'],
    ['is cut', (socket: Socket) => void socket.end('220 Go\r\n')],
  ])('goes in plain text, once, where the handshake %s', async (_name, starttls) => {
    const peer = await peerWith({ tls: authority.selfSigned('x'), starttls });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({ status: 'delivered', tls: null });
    expect(peer.connections).toBe(2);
    expect(peer.commands.filter((line) => line === 'STARTTLS')).toHaveLength(1);
  });
  it('goes on in plain text where STARTTLS is refused', async () => {
    const peer = await peerWith({ tls: authority.selfSigned('x'), starttls: '454 4.7.0 Not now' });
    expect(await sendTo(dialerTo([peer]), 'b.test')).toMatchObject({ status: 'delivered', tls: null });
    expect(peer.connections).toBe(1);
  });
});

describe('a connection that is kept', () => {
  const authority = createAuthority();
  const twice = async (dialer: Dialer, between: () => unknown = () => undefined) => {
    const first = await sendTo(dialer, 'b.test');
    await between();
    return [first, await sendTo(dialer, 'b.test')];
  };
  const delivered = { status: 'delivered', reply: { code: 250 } };

  it('carries the next message to the same host, over TLS too, and is left with QUIT', async () => {
    const peer = await peerWith({ tls: authority.selfSigned('mx1.b.test') });
    const dialer = dialerTo([peer]);
    const results = await twice(dialer);
    expect(results).toMatchObject([delivered, delivered]);
    expect(results[1]).toMatchObject({ tls: expect.stringMatching(/^TLSv1\.3/) });
    expect([peer.connections, peer.messages.length]).toEqual([1, 2]);
    expect(peer.commands.filter((line) => line.startsWith('EHLO'))).toHaveLength(2);
    await dialer.close();
    await expect.poll(() => peer.commands.at(-1)).toBe('QUIT');
  });
  it('is replaced without a word when the server has ended it meanwhile', async () => {
    const peer = await peerWith();
    const results = await twice(dialerTo([peer]), async () => {
      for (const socket of peer.open) socket.destroy();
      await sleep(30);
    });
    expect(results).toMatchObject([delivered, delivered]);
    expect(peer.connections).toBe(2);
  });
  it.each<[string, Answer]>([
    ['cuts', 'cut'],
    ['leaves', '421 4.4.2 Idle for too long'],
    ['takes no more', '452 4.5.3 Too many messages on this connection'],
    ['stands still', 'hang'],
  ])('is replaced where the server %s at the second MAIL', async (_name, answer) => {
    let mails = 0;
    const peer = await peerWith({
      mail: (socket) => {
        mails += 1;
        if (mails !== 2) return void socket.write('250 2.1.0 Ok\r\n');
        if (answer === 'cut') socket.destroy();
        else if (answer !== 'hang') socket.write(`${answer}\r\n`);
      },
    });
    const log: string[] = [];
    const dialer = dialerTo([peer]);
    await sendTo(dialer, 'b.test');
    expect(await sendTo(dialer, 'b.test', { log })).toMatchObject(delivered);
    expect([peer.connections, peer.messages.length]).toEqual([2, 2]);
    expect(log.filter((line) => line.startsWith('before final dot'))).toHaveLength(1);
  });
  it('is not tried again where the message may have gone out on it', async () => {
    let dots = 0;
    const peer = await peerWith({
      dot: (socket) => {
        dots += 1;
        if (dots === 2) socket.destroy();
        else socket.write('250 2.0.0 Stored\r\n');
      },
    });
    expect(await twice(dialerTo([peer]))).toMatchObject([delivered, { status: 'unknown' }]);
    expect(peer.connections).toBe(1);
  });
  it('is not kept after a refusal', async () => {
    const peer = await peerWith({ rcpt: '550 5.1.1 Gone' });
    expect(await twice(dialerTo([peer]))).toMatchObject([{ status: 'refused' }, { status: 'refused' }]);
    expect(peer.connections).toBe(2);
  });
  it('asks for SMTPUTF8 with the message that needs it, and with no other', async () => {
    const peer = await peerWith({ extensions: ['SMTPUTF8', '8BITMIME'] });
    const dialer = dialerTo([peer]);
    await sendTo(dialer, 'b.test', { utf8: true });
    await sendTo(dialer, 'b.test');
    const mails = peer.commands.filter((line) => line.startsWith('MAIL'));
    expect(mails.map((line) => line.includes('SMTPUTF8'))).toEqual([true, false]);
    expect(peer.connections).toBe(1);
  });
});

describe('the cap on connections to one destination', () => {
  it('lets no more in at once, and the others follow', async () => {
    let now = 0;
    let most = 0;
    const peer = await peerWith({
      dot: (socket) => {
        most = Math.max(most, (now += 1));
        setTimeout(() => {
          now -= 1;
          socket.write('250 2.0.0 Stored\r\n');
        }, 50);
      },
    });
    const dialer = dialerTo([peer], { connectionsPerDestination: 2 });
    const results = await Promise.all(Array.from({ length: 6 }, () => sendTo(dialer, 'b.test')));
    expect(results.map((result) => result.status)).toEqual(Array(6).fill('delivered'));
    expect(most).toBe(2);
  });
  it('defers when none becomes free', async () => {
    const peer = await peerWith({ dot: 'hang' });
    const dialer = dialerTo([peer], { connectionsPerDestination: 1, dataTimeout: '6s' });
    const first = sendTo(dialer, 'b.test');
    await expect.poll(() => peer.messages.length).toBe(1);
    expect(await sendTo(dialer, 'b.test')).toMatchObject({
      status: 'deferred',
      code: 'mail.destination_busy',
      host: 'mx1.b.test',
    });
    expect(peer.connections).toBe(1);
    await dialer.close();
    await first;
  });
});
