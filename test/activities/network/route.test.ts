import { describe, expect, it } from 'vitest';
import { openDialer, HOSTNAME } from '../../support/dialing.ts';
import type { Route } from '../../../activities/network/dialer.ts';
import type { DialerOptions } from '../../../activities/network/smtp-dialer.ts';
import { startDnsServer } from '../../../cli/demo/dns-server.ts';
import type { ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';

// Public addresses that are only looked up, never connected to.
const zones = {
  'two.test': ['MX 20 second.two.test', 'MX 10 first.two.test'],
  'first.two.test': ['A 8.8.8.1', 'AAAA 2606:4700::1'],
  'second.two.test': ['A 8.8.8.2'],
  'plain.test': ['A 8.8.8.3'],
  'null.test': ['MX 0 .', 'A 8.8.8.4'],
  'nullplus.test': ['MX 0 .', 'MX 10 first.two.test'],
  'text.test': ['TXT nothing else'],
  'gone.test': ['MX 10 nowhere.two.test'],
  'rebinding.test': ['MX 10 both.rebinding.test'],
  'both.rebinding.test': ['A 127.0.0.1', 'A 8.8.8.5', 'A 10.0.0.1', 'AAAA ::ffff:127.0.0.1', 'AAAA fd00::1'],
  'inside.test': ['MX 10 mx.inside.test', 'MX 20 mx2.inside.test'],
  'mx.inside.test': ['A 10.0.0.1'],
  'mx2.inside.test': ['A 169.254.169.254'],
  'half.test': ['MX 10 mx.inside.test', 'MX 20 second.two.test'],
  'address.test': ['A 127.0.0.1'],
  'literal.test': ['MX 10 127.0.0.1'],
  'many.test': Array.from({ length: 40 }, (_, index) => `MX ${index + 1} h${index + 1}.many.test`),
  ...Object.fromEntries(
    Array.from({ length: 40 }, (_, index) => [
      `h${index + 1}.many.test`,
      Array.from({ length: 30 }, (_, last) => `A 9.9.${index}.${last + 1}`),
    ]),
  ),
  'equal.test': ['MX 10 a.equal.test', 'MX 10 b.equal.test', 'MX 10 c.equal.test', 'MX 5 first.two.test'],
  'a.equal.test': ['A 8.8.8.6'],
  'b.equal.test': ['A 8.8.8.7'],
  'c.equal.test': ['A 8.8.8.8'],
  'us.test': [`MX 10 ${HOSTNAME.toUpperCase()}`, 'MX 20 second.two.test'],
  'backup.test': ['MX 10 first.two.test', `MX 20 ${HOSTNAME}`, 'MX 20 second.two.test', 'MX 30 mx.inside.test'],
  constructor: ['TXT a top-level domain'],
  'xn--bcher-kva.test': ['A 8.8.8.9'],
};
const { signal } = new AbortController();
const route = (
  domain: string,
  outbound: ConfigurationInput['outbound'] = {},
  options: Partial<DialerOptions> = {},
): Promise<Route> => openDialer({ outbound, dns: { zones } }, options).route(domain, signal);

describe('the route to a domain', () => {
  it('is its MX hosts by preference, IPv6 addresses first, on port 25', async () => {
    expect(await route('Two.Test')).toEqual({
      source: 'mx',
      hosts: [
        { host: 'first.two.test', port: 25, addresses: ['2606:4700::1', '8.8.8.1'] },
        { host: 'second.two.test', port: 25, addresses: ['8.8.8.2'] },
      ],
      mtaSts: null,
    });
  });
  it('shuffles hosts of one preference (RFC 5321, 5.1)', async () => {
    const orders = new Set<string>();
    // 60 draws of 6 orders: missing the second one has a chance of 6^-59.
    for (let draw = 0; draw < 60; draw += 1) {
      const { hosts } = await route('equal.test');
      expect(hosts[0]!.host).toBe('first.two.test');
      orders.add(hosts.map(({ host }) => host).join());
    }
    expect(orders.size).toBeGreaterThan(1);
  });
  it('is its own address where it has no MX', async () => {
    expect(await route('plain.test')).toMatchObject({
      source: 'address',
      hosts: [{ host: 'plain.test', addresses: ['8.8.8.3'] }],
    });
    expect(await route('bücher.test')).toMatchObject({ hosts: [{ host: 'xn--bcher-kva.test' }] });
  });
  it('does not exist under a null MX (RFC 7505), which means nothing beside another', async () => {
    await expect(route('null.test')).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.null_mx' });
    expect(await route('nullplus.test')).toMatchObject({ hosts: [{ host: 'first.two.test' }] });
  });
  it.each(['text.test', 'gone.test', 'unknown.test', 'literal.test'])(
    'does not exist for %s, which leads nowhere',
    async (domain) => {
      await expect(route(domain)).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.no_host' });
    },
  );
  it.each(['[127.0.0.1]', '[IPv6:::1]', 'a..b', '', 'a b.test', '127.0.0.1'])(
    'refuses %j, which is no domain',
    async (domain) => {
      await expect(route(domain)).rejects.toMatchObject({ name: 'PermanentError' });
    },
  );
  it('has a limit of hosts and addresses', async () => {
    const { hosts } = await route('many.test');
    expect(hosts.map(({ host }) => host)).toEqual(Array.from({ length: 10 }, (_, index) => `h${index + 1}.many.test`));
    expect(Math.max(...hosts.map(({ addresses }) => addresses.length))).toBe(5);
  });
  it('never leads back to us (RFC 5321, 5.1)', async () => {
    await expect(route('us.test')).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.loop' });
    expect((await route('backup.test')).hosts.map(({ host }) => host)).toEqual(['first.two.test']);
  });
});

describe('addresses of a route', () => {
  it('are the public ones of a name that has both (DNS rebinding)', async () => {
    expect((await route('rebinding.test')).hosts).toEqual([
      { host: 'both.rebinding.test', port: 25, addresses: ['8.8.8.5'] },
    ]);
  });
  it('leave out hosts that are not public, and refuse a domain that has no other', async () => {
    expect((await route('half.test')).hosts.map(({ host }) => host)).toEqual(['second.two.test']);
    for (const domain of ['inside.test', 'address.test'])
      await expect(route(domain)).rejects.toMatchObject({ name: 'PermanentError', code: 'network.address_refused' });
  });
  it('may be private where the operator says so, by name or by address', async () => {
    expect((await route('inside.test', { allow: ['mx.inside.test'] })).hosts.map(({ host }) => host)).toEqual([
      'mx.inside.test',
    ]);
    expect((await route('inside.test', { allow: ['10.0.0.0/8'] })).hosts.map(({ host }) => host)).toEqual([
      'mx.inside.test',
    ]);
    expect((await route('rebinding.test', { allow: ['127.0.0.1'] })).hosts[0]!.addresses).toEqual([
      '::ffff:127.0.0.1',
      '127.0.0.1',
      '8.8.8.5',
    ]);
  });
});

describe('the transport map', () => {
  it('comes before DNS, may be loopback, and has * for the rest', async () => {
    const outbound = { transport: { 'Two.test': '127.0.0.1:2526', '*': '[::1]:2527' }, port: 26 };
    expect(await route('two.test', outbound)).toEqual({
      source: 'transport',
      hosts: [{ host: '127.0.0.1', port: 2526, addresses: ['127.0.0.1'] }],
      mtaSts: null,
    });
    expect((await route('plain.test', outbound)).hosts).toEqual([{ host: '::1', port: 2527, addresses: ['::1'] }]);
  });
  it('takes names, which may be private, and localhost', async () => {
    expect((await route('x.test', { transport: { 'x.test': 'mx.inside.test:587' } })).hosts).toEqual([
      { host: 'mx.inside.test', port: 587, addresses: ['10.0.0.1'] },
    ]);
    expect((await route('x.test', { transport: { 'x.test': 'localhost:2526' } })).hosts[0]!.addresses).toContain(
      '127.0.0.1',
    );
    await expect(route('x.test', { transport: { 'x.test': 'text.test:25' } })).rejects.toMatchObject({
      code: 'mail.no_host',
    });
  });
  it('knows the word inbox, wherever the inbox listens', async () => {
    const outbound = { transport: { 'x.test': 'inbox' } };
    const inbox = { host: '127.0.0.1', port: 12_345 };
    expect((await route('x.test', outbound, { inbox })).hosts).toEqual([{ ...inbox, addresses: ['127.0.0.1'] }]);
    await expect(route('x.test', outbound)).rejects.toMatchObject({
      name: 'PermanentError',
      code: 'configuration.invalid',
    });
  });
  it('is not taken for names that every object has', async () => {
    await expect(route('constructor')).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.no_host' });
  });
  it('refuses what is neither host:port nor inbox', () => {
    for (const to of ['host', 'host:', 'outbox', '::1:25'])
      expect(Configuration.safeParse({ outbound: { transport: { 'x.test': to } } }).success).toBe(false);
  });
});

describe('DNS that fails', () => {
  it('is temporary: a domain is not gone because its servers are', async () => {
    const dns = await startDnsServer({
      'a.test': ['MX 10 mx.a.test'],
      'b.test': ['MX 10 mx.a.test', 'MX 20 mx.b.test'],
      'mx.b.test': ['A 8.8.8.8'],
    });
    dns.fail('broken.test', 'servfail');
    dns.fail('mx.a.test', 'servfail');
    try {
      const dialer = openDialer({ dns: { servers: [dns.address], timeout: '250ms', keep: '0s' } });
      for (const domain of ['broken.test', 'a.test'])
        await expect(dialer.route(domain, signal)).rejects.toMatchObject({
          name: 'TemporaryError',
          code: 'dns.unavailable',
        });
      expect((await dialer.route('b.test', signal)).hosts.map(({ host }) => host)).toEqual(['mx.b.test']);
    } finally {
      await dns.close();
    }
  });
});
