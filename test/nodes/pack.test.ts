/** The pack as it is published: whole, small, and clean. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { assemblePack, compilePack } from '../../cli/build/pack.ts';
import { importedPackages } from '../../cli/build/manifest.ts';
import { SCOPES } from '../../servers/http/authentication.ts';
import { startService } from '../servers/http/service.ts';
import { hasN8n, startRecorder } from './n8n.ts';

const MAX_BYTES = 1_000_000;

const folder = mkdtempSync(join(tmpdir(), 'switchyard-pack-'));
const pack = join(folder, 'pack');
beforeAll(async () => {
  expect(await compilePack(join(folder, 'compiled'))).toBe(0);
  assemblePack(join(folder, 'compiled'), pack);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const manifest = () =>
  JSON.parse(readFileSync(join(pack, 'package.json'), 'utf8')) as {
    version: string;
    dependencies?: object;
    n8n: { nodes: string[]; credentials: string[] };
  };

describe('the pack', () => {
  it('is under one megabyte and has no dependencies', () => {
    const files = readdirSync(pack, { recursive: true, encoding: 'utf8' }).map((name) => join(pack, name));
    expect(files.reduce((sum, file) => sum + statSync(file).size, 0)).toBeLessThan(MAX_BYTES);
    expect(manifest().dependencies).toBeUndefined();
    expect([...importedPackages(join(pack, 'dist'))]).toEqual(['n8n-workflow']);
  });

  it('lists every node that there is, each with its codex and two icons', () => {
    const { nodes, credentials } = manifest().n8n;
    const found = readdirSync('nodes', { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.node.ts'),
    );
    expect(nodes.toSorted()).toEqual(found.map((name) => `dist/nodes/${name.replace(/ts$/, 'js')}`).sort());
    for (const file of [...nodes, ...credentials]) {
      const path = join(pack, file);
      expect(existsSync(path), file).toBe(true);
      const icons = [...readFileSync(path, 'utf8').matchAll(/file:([\w.]+\.svg)/g)].map((match) => match[1] ?? '');
      expect(new Set(icons).size, file).toBe(2);
      for (const icon of icons) expect(existsSync(join(path, '..', icon)), icon).toBe(true);
    }
    for (const file of nodes) {
      const codex = JSON.parse(readFileSync(join(pack, file.replace(/js$/, 'json')), 'utf8')) as {
        node: string;
        alias: string[];
      };
      expect(codex.alias).toContain('Switchyard');
      expect(readFileSync(join(pack, file), 'utf8')).toContain(`name: '${codex.node.split('.')[1]}'`);
    }
  });
});

describe.skipIf(!hasN8n)('the test of the credential', () => {
  it('knows the version of the pack and only scopes that there are', async () => {
    const { PACK_VERSION, SCOPES: asked } = await import('../../nodes/shared/access.ts');
    expect(PACK_VERSION).toBe(manifest().version);
    expect(SCOPES).toEqual(expect.arrayContaining(asked));
  });

  it('says what is wrong: not there, not Switchyard, too old, the token, a scope', async () => {
    const { switchyardApiTest, SCOPES: asked } = await import('../../nodes/shared/access.ts');
    const service = await startService();
    const other = await startRecorder({ answer: () => ({ status: 200, body: { hello: 'world' } }) });
    const tooOld = { state: 'too_old', version: '0.0.9', name: 'n8n', missing: [] };
    const old = await startRecorder({ answer: () => ({ status: 200, body: tooOld }) });
    const test = async (baseUrl: string, token: string) =>
      (await switchyardApiTest.call({}, { data: { baseUrl, token } })) as { status: string; message: string };
    try {
      expect(await test(`${service.url}/`, ` ${await service.token(...asked)} `)).toMatchObject({ status: 'OK' });
      expect((await test('http://127.0.0.1:2', 'x')).message).toContain('cannot be reached at http://127.0.0.1:2');
      expect((await test('no url', 'x')).message).toContain('this is no URL');
      expect((await test(service.url, 'sy_wrong')).message).toContain('refuses the token');
      const less = await service.token(...asked.filter((scope) => scope !== 'triggers:write'));
      expect((await test(service.url, less)).message).toMatch(/lacks triggers:write\. Make one/);
      expect((await test(`${service.url}/docs`, 'x')).message).toContain('the base URL has a path');
      expect((await test(other.url, 'x')).message).toContain('not as Switchyard does');
      expect((await test(old.url, 'x')).message).toContain('version 0.0.9, is too old');
    } finally {
      await Promise.all([service.close(), other.close(), old.close()]);
    }
  });
});
