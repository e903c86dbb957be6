import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRecords } from '../../stores/records/open.ts';
import { startPeer } from '../support/smtp-peer.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
beforeAll(async () => {
  folder = await commandFolder('hostname: mx.test\ndns: {zones: {x.test: []}}\n');
});
afterAll(() => folder.remove());

describe('switchyard dmarc', () => {
  test('without a domain it says how to take reports about one', async () => {
    const { status, stdout } = await folder.run(['dmarc']);
    expect([status, stdout]).toEqual([0, expect.stringContaining('switchyard dmarc add example.com')]);
  });

  test('typed wrong it says how it is written', async () => {
    expect((await folder.run(['dmarc', 'add'])).status).toBe(2);
    expect((await folder.run(['dmarc', 'make', 'a.test'])).stderr).toContain('switchyard dmarc add DOMAIN');
    const { status, stderr } = await folder.run(['dmarc', 'remove', 'a.test']);
    expect([status, stderr]).toEqual([1, expect.stringContaining('switchyard dmarc list')]);
    expect((await folder.run(['dmarc', 'add', 'a.test'])).stderr).toContain('mail.domains');
  });

  test('a summary is printed, or mailed to who may get mail, once', async () => {
    const peer = await startPeer();
    const own = await commandFolder(
      `hostname: mx.test\nmail: {domains: {mail.test: {}}, send: {to: [ann@peer.test]}}\n` +
        `outbound: {transport: {peer.test: "127.0.0.1:${peer.port}"}, allow: [127.0.0.1]}\n`,
    );
    try {
      const records = await openRecords({ state: join(own.path, '.switchyard') });
      await records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
      await records.dmarc.domains.put('example.test', 'r@mail.test', 'test');
      await records.close();
      expect((await own.run(['dmarc', 'summary', '--days', 'x'])).status).toBe(2);
      expect((await own.run(['dmarc', 'summary', 'other.test'])).stderr).toContain('switchyard dmarc list');
      const { stdout } = await own.run(['dmarc', 'summary', 'example.test', '--days', '30']);
      expect(stdout).toMatch(/^example\.test \(policy: not known yet\)\n {2}0 messages, no mail \(the 30 days before/m);
      expect((await own.run(['dmarc', 'summary', '--send', 'eve@peer.test'])).stderr).toContain('mail.send.to');
      await own.run(['keys', 'create', 'mail.test']);
      const sending = ['dmarc', 'summary', '--send', 'ann@peer.test'];
      expect(await own.run(sending)).toMatchObject({ status: 0, stdout: 'ann@peer.test: delivered\n' });
      expect(await own.run(sending)).toMatchObject({ status: 0, stdout: 'ann@peer.test: delivered\n' });
      expect(peer.messages).toHaveLength(1);
      const mail = String(peer.messages[0]);
      expect(mail).toMatch(/^Subject: DMARC of example\.test: no mail reported\r$/m);
      expect(mail).toMatch(/^From: Switchyard <dmarc@mail\.test>\r$/m);
    } finally {
      await own.remove();
      await peer.close();
    }
  });

  test('a file of countries that is missing keeps the worker from starting, and the setting is named', async () => {
    const own = await commandFolder('dmarc: {geo: {country: geo/country.mmdb}}\n');
    const { status, stderr } = await own.run(['worker']);
    await own.remove();
    expect(status).toBe(1);
    expect(stderr).toContain(`dmarc.geo.country: ${join(own.path, 'geo/country.mmdb')} cannot be read`);
  });

  test('a domain is not added where the master key that its address for HTTPS is made with is missing', async () => {
    const own = await commandFolder(
      'hostname: mx.test\ndns: {zones: {x.test: []}}\nhttp: {publicUrl: "https://sy.test"}\n',
    );
    try {
      const state = join(own.path, '.switchyard');
      const records = await openRecords({ state });
      await records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
      await own.run(['keys', 'create', 'mail.test']);
      await rename(join(state, 'master.key'), join(own.path, 'away'));
      const { status, stderr } = await own.run(['dmarc', 'add', 'example.test']);
      expect([status, stderr]).toEqual([1, expect.stringContaining('master.key')]);
      expect(await records.dmarc.domains.list()).toEqual([]);
      await rename(join(own.path, 'away'), join(state, 'master.key'));
      expect((await own.run(['dmarc', 'add', 'example.test'])).stdout).toContain(
        'https://sy.test/v1/tlsrpt/example.test/',
      );
      await records.close();
    } finally {
      await own.remove();
    }
  });

  test('a record that could not be read is not replaced: it says so, and what to add', async () => {
    const own = await commandFolder('hostname: mx.test\ndns: {servers: ["127.0.0.1:9"], timeout: 100ms}\n');
    const records = await openRecords({ state: join(own.path, '.switchyard') });
    try {
      await records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
      const { status, stdout } = await own.run(['dmarc', 'add', 'example.test']);
      expect(status).toBe(0);
      expect(stdout).toContain('  add    rua=mailto:dmarc-example.test@mail.test\n  note   The DNS did not answer');
      expect(stdout).not.toContain('p=none');
    } finally {
      await records.close();
      await own.remove();
    }
  });

  test('a domain is added, listed with what was reported, and removed', async () => {
    const records = await openRecords({ state: join(folder.path, '.switchyard') });
    await records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
    const { stdout } = await folder.run(['dmarc', 'add', 'example.test']);
    expect(stdout).toMatch(/^Reports about example\.test come to dmarc-example\.test@mail\.test\.\n/);
    expect(stdout).toContain('name   _dmarc.example.test\n');
    expect(stdout).toContain('value  v=DMARC1; p=none; rua=mailto:dmarc-example.test@mail.test\n');
    expect(stdout).toContain('Publish in the DNS of mail.test:\n\n');
    expect(stdout).toContain('name   example.test._report._dmarc.mail.test\n');
    expect((await folder.run(['dmarc', 'list'])).stdout).toMatch(
      /^domain .*\nexample\.test +dmarc-example\.test@mail\.test +none yet +0 +0/,
    );
    expect((await folder.run(['dmarc', 'remove', 'example.test'])).status).toBe(0);
    expect(await records.dmarc.domains.list()).toEqual([]);
    await records.close();
  });
});
