import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promises as dns } from 'node:dns';
import mailauth from 'mailauth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compose, signed } from '../../cli/demo/messages.ts';
import { startDnsServer } from '../../cli/demo/dns-server.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';

const MAIN = resolve('cli/main.ts');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keys-'));
  writeFileSync(join(folder, 'switchyard.yaml'), 'hostname: mx.own.test\nstate: state\n');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function keys(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'keys', ...args], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

interface Published {
  name: string;
  type: string;
  value: string;
}

describe('switchyard keys', () => {
  it('says how to begin where there is none', () => {
    expect(keys()).toMatchObject({ status: 0, stdout: expect.stringContaining('switchyard keys create DOMAIN') });
    expect(keys('records', 'own.test')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('switchyard keys create own.test'),
    });
  });

  it('publishes records under which the signatures of the key verify', async () => {
    expect(keys('create', 'own.test', '--selector', 'first').status).toBe(0);
    const records = JSON.parse(keys('records', 'own.test', '--json').stdout) as Published[];
    expect(records.map(({ type, name }) => `${type} ${name}`)).toEqual([
      'TXT first._domainkey.own.test',
      'TXT own.test',
      'TXT _dmarc.own.test',
      'MX own.test',
    ]);

    const zones: Record<string, string[]> = { 'mx.own.test': ['A 127.0.0.1'] };
    for (const { name, type, value } of records) (zones[name] ??= []).push(`${type} ${value}`);
    const server = await startDnsServer(zones);
    const resolver = new dns.Resolver();
    resolver.setServers([server.address]);
    const store = await openRecords({ state: join(folder, 'state') });
    const { privateKey } = await (await openKeys(store, { state: join(folder, 'state') })).signingKey('own.test');
    await store.close();
    const key = { domain: 'own.test', selector: 'first', privateKey, name: '', value: '' };
    const message = await signed(compose({ from: 'a@own.test', to: 'b@other.test', subject: 'Hi' }), key);
    const found = await mailauth.authenticate(message, {
      ip: '127.0.0.1',
      helo: 'mx.own.test',
      sender: 'a@own.test',
      mta: 'mx.other.test',
      strict: true,
      resolver: (name, type) => resolver.resolve(name, type) as Promise<string[]>,
    });
    expect(found.dkim.results[0]?.status.result).toBe('pass');
    expect(found.spf && found.spf.status.result).toBe('pass');
    expect(found.dmarc && found.dmarc.status.result).toBe('pass');
    expect(await resolver.resolveMx('own.test')).toMatchObject([{ exchange: 'mx.own.test', priority: 10 }]);
    await server.close();
  });

  it('prints lines of a zone file, each string within 255 octets (RFC 1035, 3.3)', () => {
    const { stdout } = keys('records', 'own.test', '--zone');
    expect(stdout).toMatch(/^own\.test\. IN MX 10 mx\.own\.test\.$/m);
    const strings = [...stdout.matchAll(/"([^"]*)"/g)].map(([, one = '']) => one);
    expect(strings.some((one) => one.startsWith('v=DKIM1'))).toBe(true);
    expect(Math.max(...strings.map((one) => one.length))).toBeLessThanOrEqual(255);
    expect(stdout).not.toMatch(/PRIVATE/);
  });

  it('lets the newest key sign, keeps the older one, and writes the audit log', async () => {
    expect(keys('create', 'OWN.test', '--selector', 'second').stdout).toContain('second._domainkey.own.test');
    const { stdout } = keys('list');
    expect(stdout).toMatch(/own\.test +first .*replaced/);
    expect(stdout).toMatch(/own\.test +second .*signs/);
    expect(keys('records', 'own.test').stdout).toContain('second._domainkey.own.test');
    const store = await openRecords({ state: join(folder, 'state') });
    expect((await store.audit.list({})).map(({ action, subject }) => `${action} ${subject}`)).toEqual([
      'key.added own.test',
      'key.added own.test',
    ]);
    await store.close();
  });

  it('refuses what is no domain and what is typed wrong', () => {
    expect(keys('create', 'not a domain')).toMatchObject({ status: 1, stdout: '' });
    expect(keys('create')).toMatchObject({ status: 2, stdout: '' });
    expect(keys('remove', 'own.test')).toMatchObject({ status: 2, stdout: '' });
  });
});
