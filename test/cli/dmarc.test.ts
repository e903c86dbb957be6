import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openRecords } from '../../stores/records/open.ts';
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
