/** Destinations whose name servers lie, go in circles or never end: mail goes to a public host of theirs, or nowhere. */
import { randomBytes } from 'node:crypto';
import type { Answer } from 'dns-packet';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDnsServer, type DnsServer } from '../../../cli/demo/dns-server.ts';
import type { Dialer } from '../../../activities/network/dialer.ts';
import { openDialer } from '../../support/dialing.ts';
import { alias, liar, many, reply, type Lie } from '../../support/lying-dns.ts';

const mx = (name: string, exchange: string, preference = 10): Answer => ({
  type: 'MX',
  name,
  ttl: 1,
  data: { preference, exchange },
});
const a = (name: string, data: string): Answer => ({ type: 'A', name, ttl: 1, data });
const GOOD = 'mx.good.test';

/** What the name server of `<key>.liar.test` says about its MX; of all else it knows nothing. */
const LIES: Record<string, Lie> = {
  garbage: () => randomBytes(200),
  cut: (question, query) => reply(query, [mx(question.name, GOOD)]).subarray(0, 30),
  'other-id': (question, query) => reply({ ...query, id: ((query.id ?? 0) + 1) % 65_536 }, [mx(question.name, GOOD)]),
  'other-question': (_question, query) =>
    reply({ ...query, questions: [{ type: 'MX', name: 'good.test' }] }, [mx('good.test', 'mx.evil.test')]),
  'other-name': (_question, query) => reply(query, [mx('good.test', 'mx.evil.test')]),
  glue: (question, query) =>
    reply(query, question.type === 'MX' ? [mx(question.name, GOOD), a(GOOD, '127.0.0.1'), a(GOOD, '8.8.8.66')] : []),
  circle: (question, query) => reply(query, [alias(question.name, 'b.liar.test'), alias('b.liar.test', question.name)]),
  'many-hosts': (question, query) =>
    reply(query, question.type === 'MX' ? many(1_000, (i) => mx(question.name, `h${i}.${question.name}`, i)) : []),
  'many-addresses': (question, query) =>
    reply(
      query,
      question.type === 'MX'
        ? [mx(question.name, `mx.${question.name}`)]
        : question.type === 'A'
          ? many(1_400, (i) => a(question.name, `9.9.${i >> 8}.${i & 255}`))
          : [],
    ),
  lines: (question, query) => reply(query, [mx(question.name, 'mx\r\nRCPT TO:<x@evil.test>\r\n.evil.test')]),
  nul: (question, query) => reply(query, [mx(question.name, 'mx.good.test\0.evil.test')]),
  literal: (question, query) => reply(query, [mx(question.name, '[127.0.0.1]')]),
  number: (question, query) => reply(query, [mx(question.name, '8.8.8.8')]),
  localhost: (question, query) => reply(query, [mx(question.name, 'localhost')]),
  null: (question, query) => reply(query, [mx(question.name, '.', 0), a(question.name, '8.8.8.1')]),
};

let dns: DnsServer;
let dialer: Dialer;
const { signal } = new AbortController();
const route = (key: string) => dialer.route(`${key}.liar.test`, signal);

beforeAll(async () => {
  dns = await startDnsServer(
    {
      'good.test': [`MX 10 ${GOOD}`],
      [GOOD]: ['A 8.8.8.1'],
      'mx.evil.test': ['A 8.8.8.66'],
      localhost: ['A 127.0.0.1', 'AAAA ::1'],
      'around.test': ['MX 10 mx.around.test'],
      'mx.around.test': ['CNAME mx.around.test'],
    },
    { lie: liar('liar.test', LIES) },
  );
  dialer = openDialer({ dns: { servers: [dns.address], timeout: '250ms', keep: '5s' } });
});
afterAll(async () => {
  await dialer.close();
  await dns.close();
});

describe('the mail hosts of a domain whose name server', () => {
  it.each(['garbage', 'cut', 'other-id', 'other-question'])(
    'answers with %s are not known, and asked for later',
    async (key) => {
      await expect(route(key)).rejects.toMatchObject({ name: 'TemporaryError', code: 'dns.unavailable' });
    },
  );

  it('answers for another domain are its own alone: the mail of the other goes where it went', async () => {
    await route('other-name').catch(() => undefined);
    expect((await dialer.route('good.test', signal)).hosts).toMatchObject([{ host: GOOD, addresses: ['8.8.8.1'] }]);
  });

  it('brings addresses along are looked up all the same', async () => {
    expect((await route('glue')).hosts).toMatchObject([{ host: GOOD, addresses: ['8.8.8.1'] }]);
  });

  it.each(['circle.liar.test', 'around.test'])('goes in a circle (%s) are none', async (domain) => {
    await expect(dialer.route(domain, signal)).rejects.toMatchObject({
      code: expect.stringMatching(/^(?:mail\.no_host|dns\.unavailable)$/),
    });
  });

  it('names 1,000 are the ten that it prefers, and no more are asked for', async () => {
    const before = dns.queries.length;
    // None of them has an address.
    await expect(route('many-hosts')).rejects.toMatchObject({ code: 'mail.no_host' });
    const names = new Set(dns.queries.slice(before).flatMap(({ name }) => /^h\d+/.exec(name) ?? []));
    expect([...names].toSorted()).toEqual(many(10, (i) => `h${i}`).toSorted());
  });

  it('has 1,400 addresses for one have the first five', async () => {
    const { hosts } = await route('many-addresses');
    expect(hosts.map(({ addresses }) => addresses.length)).toEqual([5]);
  });

  it.each(['lines', 'nul'])('writes %s into their names are none, and no line of ours is broken', async (key) => {
    const error = await route(key).then(
      ({ hosts }) => Error(hosts.map(({ host }) => host).join()),
      (thrown: Error) => thrown,
    );
    expect(error.message).not.toMatch(/[\r\n\0]/);
    expect(error).toMatchObject({ code: 'mail.no_host' });
  });

  it.each(['literal', 'number'])('writes an address (%s) instead of a name are none (RFC 5321, 5.1)', async (key) => {
    await expect(route(key)).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.no_host' });
  });

  it('names localhost are refused', async () => {
    await expect(route('localhost')).rejects.toMatchObject({ code: 'network.address_refused' });
  });

  it('says that there are none (RFC 7505) are none, whatever address is beside it', async () => {
    await expect(route('null')).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.null_mx' });
  });
});
