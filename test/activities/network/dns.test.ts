import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createResolver } from '../../../activities/network/dns.ts';
import { startDnsServer, type DnsServer } from '../../../cli/demo/dns-server.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';

const TIMEOUT_MS = 250;
let dns: DnsServer;
const ask = (zones: Record<string, string[]> = {}) =>
  createResolver({ servers: [dns.address], timeout: TIMEOUT_MS, zones });

beforeAll(async () => {
  dns = await startDnsServer({
    'one.test': ['A 192.0.2.1', 'AAAA 2001:db8::1', 'MX 20 b.one.test', 'MX 10 a.one.test', 'TXT "v=spf1" " -all"'],
    'four.test': ['A 192.0.2.4'],
    'bare.test': ['TXT x'],
    'big.test': Array.from({ length: 40 }, (_, index) => `TXT ${String(index).padStart(60, 'x')}`),
    '1.2.0.192.in-addr.arpa': ['PTR one.test'],
    '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa': ['PTR six.test'],
    'null.test': ['MX 0 .'],
  });
  dns.fail('broken.test', 'servfail');
  dns.fail('closed.test', 'refused');
  dns.fail('silent.test', 'silent');
});
afterAll(() => dns.close());

describe('the resolver on the network', () => {
  it('gives IPv6 addresses first', async () => {
    expect(await ask().addresses('one.test')).toEqual(['2001:db8::1', '192.0.2.1']);
  });
  it('gives MX by preference, and the null MX as an empty exchange', async () => {
    expect(await ask().mx('one.test')).toEqual([
      { exchange: 'a.one.test', priority: 10 },
      { exchange: 'b.one.test', priority: 20 },
    ]);
    expect(await ask().mx('null.test')).toEqual([{ exchange: '', priority: 0 }]);
  });
  it('joins the strings of a TXT record, without a blank between them', async () => {
    expect(await ask().txt('one.test')).toEqual(['v=spf1 -all']);
  });
  it('goes to TCP for an answer that UDP has no room for', async () => {
    expect(await ask().txt('big.test')).toHaveLength(40);
    expect(dns.queries).toContainEqual({ name: 'big.test', type: 'TXT', transport: 'tcp' });
  });
  it('finds names of IPv4 and IPv6 addresses', async () => {
    expect(await ask().ptr('192.0.2.1')).toEqual(['one.test']);
    expect(await ask().ptr('2001:db8::1')).toEqual(['six.test']);
    expect(await ask().ptr('::ffff:192.0.2.1')).toEqual(['one.test']);
    expect(await ask().ptr('no address')).toEqual([]);
  });
  it('gives nothing for a name that is not there, or has no such record', async () => {
    expect(await ask().addresses('gone.test')).toEqual([]);
    expect(await ask().mx('bare.test')).toEqual([]);
    await expect(ask().resolve('gone.test', 'TXT')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(ask().resolve('bare.test', 'MX')).rejects.toMatchObject({ code: 'ENODATA' });
  });
  it.each([
    ['broken.test', 'ESERVFAIL'],
    ['closed.test', 'EREFUSED'],
    ['silent.test', 'ETIMEOUT'],
  ])('says that it cannot be known where the server of %s fails', async (name, code) => {
    const error = await ask()
      .txt(name)
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(TemporaryError);
    expect(error).toMatchObject({ code: 'dns.unavailable', details: { name, type: 'TXT', reason: code } });
    await expect(ask().addresses(name)).rejects.toMatchObject({ code: 'dns.unavailable' });
    await expect(ask().resolve(name, 'TXT')).rejects.toMatchObject({ code });
  });
  it.each([
    `${'a'.repeat(64)}.test`,
    `${'abcdefg.'.repeat(32)}test`,
    'a..test',
    '.test',
    '',
    'a b.test',
    'bücher.test',
    'a\0.test',
    '127.0.0.1',
    '::1',
  ])('does not ask for %j, which is no name', async (name) => {
    const before = dns.queries.length;
    expect(await ask().txt(name)).toEqual([]);
    await expect(ask().resolve(name, 'A')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(dns.queries).toHaveLength(before);
  });
});

describe('local zones', () => {
  const zones = {
    'demo.test': [
      'TXT v=spf1 -all',
      'TXT "two" "parts; \\"quoted\\""',
      'MX 10 mx.demo.test',
      'A 127.0.0.1',
      'AAAA ::1',
    ],
    'alias.test': ['CNAME demo.test'],
    'away.test': ['CNAME four.test'],
    'circle.test': ['CNAME circle.test'],
    'Mixed.Test.': ['A 127.0.0.9'],
    '1.0.0.127.in-addr.arpa': ['PTR demo.test'],
  };
  it('answers the listed records', async () => {
    const resolver = ask(zones);
    expect(await resolver.addresses('DEMO.test.')).toEqual(['::1', '127.0.0.1']);
    expect(await resolver.mx('demo.test')).toEqual([{ exchange: 'mx.demo.test', priority: 10 }]);
    expect(await resolver.txt('demo.test')).toEqual(['v=spf1 -all', 'twoparts; "quoted"']);
    expect(await resolver.resolve('demo.test', 'TXT')).toEqual([['v=spf1 -all'], ['two', 'parts; "quoted"']]);
    expect(await resolver.ptr('127.0.0.1')).toEqual(['demo.test']);
    expect(await resolver.addresses('mixed.test')).toEqual(['127.0.0.9']);
  });
  it('follows aliases, on the network too, and not in circles', async () => {
    const resolver = ask(zones);
    expect(await resolver.mx('alias.test')).toEqual([{ exchange: 'mx.demo.test', priority: 10 }]);
    expect(await resolver.addresses('away.test')).toEqual(['192.0.2.4']);
    await expect(resolver.addresses('circle.test')).rejects.toMatchObject({ code: 'dns.unavailable' });
  });
  it('never asks the network for a name at or below a listed one', async () => {
    const resolver = ask(zones);
    const before = dns.queries.length;
    expect(await resolver.txt('_dmarc.demo.test')).toEqual([]);
    await expect(resolver.resolve('a.b.demo.test', 'A')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(resolver.resolve('mixed.test', 'MX')).rejects.toMatchObject({ code: 'ENODATA' });
    expect(dns.queries).toHaveLength(before);
    // Its neighbours and its parents are not ours.
    expect(await resolver.txt('bare.test')).toEqual(['x']);
    expect(await resolver.txt('xdemo.test')).toEqual([]);
    expect(dns.queries.slice(before).map((query) => query.name)).toEqual(['bare.test', 'xdemo.test']);
  });
  it('are reserved names no business of the system resolver (RFC 6761)', async () => {
    const resolver = createResolver({ servers: [], timeout: TIMEOUT_MS, zones });
    for (const name of ['nobody.test', 'a.invalid', 'b.localhost', 'localhost', 'c.example'])
      await expect(resolver.resolve(name, 'A')).rejects.toMatchObject({ code: 'ENOTFOUND', syscall: 'queryA' });
    expect(await resolver.addresses('demo.test')).toEqual(['::1', '127.0.0.1']);
  });
  it.each([
    'A 1.2.3',
    'A ::1',
    'AAAA 127.0.0.1',
    'MX mx.demo.test',
    'MX 70000 mx.test',
    'MX 10 a..b',
    'SRV 1 2 3 x',
    'A',
    '',
    'CNAME a b',
  ])('refuse the record %j at creation, naming it', (entry) => {
    const create = () => ask({ 'bad.test': [entry] });
    expect(create).toThrow(PermanentError);
    expect(create).toThrow(
      expect.objectContaining({ code: 'configuration.invalid', details: { zone: 'bad.test', entry } }),
    );
  });
  it('refuse a zone that is no name, and a server that is no address', () => {
    expect(() => ask({ 'a..b': [] })).toThrow(expect.objectContaining({ code: 'configuration.invalid' }));
    expect(() => createResolver({ servers: ['dns.example'], timeout: TIMEOUT_MS, zones: {} })).toThrow(
      expect.objectContaining({ code: 'configuration.invalid' }),
    );
  });
});
