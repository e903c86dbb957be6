/**
 * Destinations, domains and senders that mean harm, met by a whole Switchyard: what the sender hears, that every
 * message arrives or bounces once the trouble is over, and that others are not kept waiting.
 */
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FORWARD_DOMAIN, FORWARD_HOST, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { splitHeader } from '../../protocols/mail/header.ts';
import { eventually, openHouse, simpleMessage, type House } from '../support/house.ts';
import { startPeer, type Peer, type PeerOptions } from '../support/smtp-peer.ts';

/** Goals are tens of milliseconds and the time-outs below; other tests run beside. */
const CEILING_MS = 20_000;
const NOISE = Buffer.from('\x00\xff\xfe no SMTP at all \r\n\x1b[2J\r\n', 'latin1');
const noise = (socket: Socket) => void socket.write(NOISE);
/** 100 MB, as fast as they are taken. */
const endless = (line: string) => (socket: Socket) => {
  const chunk = Buffer.from(`${line}\r\n`.repeat(1_000));
  let left = 100_000_000;
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      left -= chunk.length;
      if (!socket.write(chunk)) return void socket.once('drain', more);
    }
  };
  more();
};

/** Where it goes wrong; `unknown` is what may have arrived. */
const troubles = (): Record<string, { peer: PeerOptions; unknown?: true | 'perhaps' }> => ({
  'hang-greeting': { peer: { greeting: 'hang' } },
  'hang-ehlo': { peer: { ehlo: 'hang' } },
  'hang-mail': { peer: { mail: 'hang' } },
  'hang-rcpt': { peer: { rcpt: 'hang' } },
  'hang-data': { peer: { data: 'hang' } },
  'hang-dot': { peer: { dot: 'hang' }, unknown: true },
  'cut-greeting': { peer: { greeting: 'cut' } },
  'cut-ehlo': { peer: { ehlo: 'cut' } },
  'cut-mail': { peer: { mail: 'cut' } },
  'cut-rcpt': { peer: { rcpt: 'cut' } },
  'cut-data': { peer: { data: 'cut' } },
  // A small message and its end may have left before the cut is seen.
  'cut-message': { peer: { duringData: (socket) => void socket.destroy() }, unknown: 'perhaps' },
  'cut-dot': { peer: { dot: 'cut' }, unknown: true },
  'noise-greeting': { peer: { greeting: noise } },
  'noise-ehlo': { peer: { ehlo: noise, helo: noise } },
  'noise-rcpt': { peer: { rcpt: noise } },
  'noise-dot': { peer: { dot: noise }, unknown: true },
  'endless-greeting': { peer: { greeting: endless('220-welcome') } },
  'endless-ehlo': { peer: { ehlo: endless('250-X-EXTENSION') } },
  'endless-rcpt': { peer: { rcpt: endless('250-go on') } },
  'endless-line': { peer: { mail: (socket) => endless('x'.repeat(1_000))(socket) } },
  'endless-dot': { peer: { dot: endless('250-stored') }, unknown: true },
});
const names = Object.keys(troubles());

describe.each(['always', 'deferred'] as const)('with runs: %s', (runs) => {
  const TROUBLES = troubles();
  let house: House;
  let injecting: Peer;
  let allowed: Peer;
  const peers = new Map<string, Peer>();
  const at = (localPart: string) => `${localPart}@${FORWARD_DOMAIN}`;
  const DOMAINS = ['private', 'metadata', 'ipv6', 'mapped', 'alias', 'number', 'self', 'circle', 'null', 'strict'];

  beforeAll(async () => {
    for (const [name, { peer }] of Object.entries(TROUBLES)) peers.set(name, await startPeer(peer));
    injecting = await startPeer({
      rcpt: '550-5.7.1 no\r\n550 5.7.1 such\rX-Evil: 1\0\u2028Bcc: x@evil.test\x1b[31m',
    });
    allowed = await startPeer();
    const transport = Object.fromEntries([...peers].map(([name, { port }]) => [`${name}.test`, `127.0.0.1:${port}`]));
    house = await openHouse({
      mail: { runs, sessionWait: '8s', retry: { delays: ['1s'] } },
      outbound: {
        connectTimeout: '2s',
        commandTimeout: '2s',
        dataTimeout: '2s',
        port: allowed.port,
        allow: ['mx.strict.test'],
        transport: { ...transport, 'injecting.test': `127.0.0.1:${injecting.port}` },
      },
      rules: [...names, ...DOMAINS, 'injecting'].map((name) => ({ address: name, forward: [`x@${name}.test`] })),
    });
  });
  afterAll(async () => {
    await house?.close();
    for (const peer of [...peers.values(), injecting, allowed]) await peer?.close();
  });

  const messages = new Map<string, string>();
  /** The same one, whenever it is sent. */
  const message = (name: string): string => {
    const known = messages.get(name) ?? simpleMessage(at(name));
    messages.set(name, known);
    return known;
  };

  describe('destinations that hang, cut, answer noise or never end', () => {
    it('leave the message with the sender or with us, and cost others nothing', { timeout: 120_000 }, async () => {
      const began = performance.now();
      const troubled = names.map((name) => house.send({ to: [at(name)], message: message(name) }));
      const others: number[] = [];
      for (let i = 0; i < 5; i++) {
        const start = performance.now();
        expect((await house.send({ to: [at('alice')] })).data).toMatch(/^250 2\.6\.0 Delivered /);
        others.push(performance.now() - start);
      }
      for (const [index, { data }] of (await Promise.all(troubled)).entries()) {
        const name = names[index]!;
        // In the direct lane the sender keeps what may be tried again, and we what may have arrived.
        const { unknown } = TROUBLES[name]!;
        const kept = runs === 'deferred' && unknown !== true;
        const ours = /^250 2\.6\.0 Queued as /;
        if (!kept || unknown === undefined) expect(data, name).toMatch(kept ? /^451 4\.4\.\d / : ours);
        else expect(data, name).toMatch(/^(?:451 4\.4\.\d |250 2\.6\.0 Queued as )/);
      }
      expect(Math.max(...others)).toBeLessThan(CEILING_MS);
      expect(performance.now() - began).toBeLessThan(CEILING_MS * 2);
    });

    it(
      'get every message once they are in order, and only what may have arrived is sent again and marked',
      { timeout: 180_000 },
      async () => {
        for (const { peer } of Object.values(TROUBLES))
          for (const stage of Object.keys(peer)) delete peer[stage as keyof PeerOptions];
        if (runs === 'deferred')
          await Promise.all(names.map((name) => house.send({ to: [at(name)], message: message(name) })));
        const records = await Promise.all(names.map((name) => house.finalRecord(at(name))));
        for (const [index, record] of records.entries()) {
          const name = names[index]!;
          const { unknown = false } = TROUBLES[name]!;
          expect(record, name).toMatchObject({
            outcome: 'delivered',
            ...(unknown === 'perhaps' ? {} : { resent: unknown }),
          });
          const { messages, open } = peers.get(name)!;
          expect(messages.length, name).toBeGreaterThanOrEqual(unknown === true ? 2 : 1);
          if (!unknown) expect(messages, name).toHaveLength(1);
          await eventually(() => open.size === 0, `no connection to ${name}`);
        }
      },
    );
  });

  describe('a domain that leads into our own network, or nowhere', () => {
    beforeAll(() => {
      const { dns } = house;
      for (const name of DOMAINS) dns.set(`${name}.test`, [`MX 10 mx.${name}.test`]);
      dns.set('mx.private.test', ['A 10.1.2.3']);
      dns.set('mx.metadata.test', ['A 169.254.169.254']);
      dns.set('mx.ipv6.test', ['AAAA ::1', 'AAAA fd00::1']);
      dns.set('mx.mapped.test', ['AAAA ::ffff:127.0.0.1', 'AAAA 64:ff9b::7f00:1']);
      dns.set('mx.alias.test', ['CNAME mx.private.test']);
      dns.set('number.test', ['MX 10 127.0.0.1']);
      dns.set('self.test', [`MX 10 ${FORWARD_HOST}`]);
      dns.set('mx.circle.test', ['CNAME mx.circle.test']);
      dns.set('null.test', ['MX 0 .', 'A 127.0.0.1']);
    });

    it.each([
      ['private', /^550 5\.4\.4 .*10\.1\.2\.3/, 'network.address_refused'],
      ['metadata', /^550 5\.4\.4 .*169\.254\.169\.254/, 'network.address_refused'],
      ['ipv6', /^550 5\.4\.4 /, 'network.address_refused'],
      ['mapped', /^550 5\.4\.4 /, 'network.address_refused'],
      ['alias', /^550 5\.4\.4 /, 'network.address_refused'],
      ['number', /^550 5\.1\.2 /, 'mail.no_host'],
      ['self', /^554 5\.4\.6 /, 'mail.loop'],
      ['circle', /^550 5\.1\.2 /, 'mail.no_host'],
      ['null', /^556 5\.1\.10 /, 'mail.null_mx'],
    ])('%s is refused, and the sender is told in the session', async (name, reply, code) => {
      const { data } = await house.send({ to: [at(name)] });
      expect(data).toMatch(reply);
      expect(await house.finalRecord(at(name))).toMatchObject({ outcome: 'refused', errorCode: code });
    });

    it('by the host of its MTA-STS policy has none, and gets its mail by the hosts that are allowed', async () => {
      house.dns.set('mx.strict.test', ['A 127.0.0.1']);
      house.dns.set('_mta-sts.strict.test', ['TXT v=STSv1; id=1']);
      house.dns.set('mta-sts.strict.test', ['A 127.0.0.1', 'AAAA ::1']);
      expect((await house.send({ to: [at('strict')] })).data).toMatch(/^250 2\.6\.0 Delivered /);
      expect(allowed.messages).toHaveLength(1);
    });
  });

  it('a message that a destination sends back is refused as a circle', async () => {
    await house.send({ to: [at('carol')], message: simpleMessage(at('carol'), 'Around') });
    const [arrival] = house.destination.received.filter((one) => one.recipients.includes(`carol@${MAILBOX_DOMAIN}`));
    const { data } = await house.send({ to: [at('carol')], message: arrival?.raw ?? '' });
    expect(data).toMatch(/^554 5\.4\.6 The message was here before for carol@forward\.test/);
    expect(house.destination.attempts(`carol@${MAILBOX_DOMAIN}`)).toBe(1);
  });

  describe('a refusal with line ends and fields in it', () => {
    it('is passed back as one reply', async () => {
      const { data } = await house.send({ to: [at('injecting')] });
      expect(data).toBe('550 5.7.1 no such X-Evil: 1 Bcc: x@evil.test [31m');
      const record = await house.finalRecord(at('injecting'));
      expect(record.outcome).toBe('refused');
      for (const text of [record.reply?.text, record.errorText])
        expect(text ?? '').not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    });

    it('begins no field in the bounce', async () => {
      const sender = `bounced@${PLAIN_DOMAIN}`;
      const { data } = await house.send({ from: sender, to: [at('bob'), at('injecting')] });
      expect(data).toMatch(/^250 /);
      const bounce = await eventually(
        () => house.destination.received.find((one) => one.sender === '' && one.recipients.includes(sender)),
        'the bounce',
      );
      const raw = bounce.raw.toString('latin1');
      expect(raw).toContain('no such X-Evil: 1 Bcc: x@evil.test');
      for (const line of raw.split('\r\n')) expect(line).not.toMatch(/^(?:X-Evil|Bcc)|[\0\x1b\r\n]/);
    });
  });

  describe('a sender who writes into what we write', () => {
    it.each([
      ['HELO', { helo: 'mail.plain.test(x;\tby' }],
      ['the local part', { from: `"a;b(c\\"d"@${PLAIN_DOMAIN}` }],
      ['a local part that looks like SRS', { from: `SRS0=aaaaaaaa=bb=bank.test=x@${PLAIN_DOMAIN}` }],
    ])('by %s adds no field and breaks none', async (_what, envelope) => {
      const before = house.destination.received.length;
      const { mail, data } = await house.send({ to: [at('dave')], ...envelope });
      if (!mail.startsWith('250')) return expect(mail).toMatch(/^5\d\d /);
      expect(data).toMatch(/^250 2\.6\.0 Delivered /);
      const arrival = house.destination.received[before];
      expect(arrival?.sender).toMatch(/^"?SRS[01]=[^\s<>]*@forward\.test$/);
      const found = splitHeader(arrival?.raw ?? Buffer.alloc(0)).fields.map(({ name }) => name.toLowerCase());
      expect(found).toEqual([
        'arc-seal',
        'arc-message-signature',
        'arc-authentication-results',
        'dkim-signature',
        'received',
        'authentication-results',
        'from',
        'to',
        'subject',
        'message-id',
        'date',
      ]);
      expect(arrival?.verdicts).toMatchObject({ arc: { result: 'pass' }, dkim: [{ result: 'pass' }] });
    });
  });
});
