import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findEditor, N8N_VERSION, provideEditor } from '../../cli/editor/provide.ts';
import { silentProgress } from '../../cli/progress.mjs';

let folder: string;
let cache: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-provide-'));
  cache = join(folder, 'n8n');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program in npm's place: it writes down how it was called, and then does what the test says. */
function npm(script: string): string {
  const file = join(folder, 'npm-cli.js');
  writeFileSync(
    file,
    `const { appendFileSync, mkdirSync, writeFileSync } = require('node:fs');
     const args = process.argv.slice(2);
     appendFileSync(${JSON.stringify(join(folder, 'calls'))}, args.join(' ') + '\\n');
     ${script}`,
  );
  chmodSync(file, 0o755);
  return file;
}

const INSTALLS = `if (args[0] === 'install') {
  mkdirSync('node_modules/n8n/bin', { recursive: true });
  writeFileSync('node_modules/n8n/bin/n8n', '');
  writeFileSync('node_modules/n8n/package.json', JSON.stringify({ version: VERSION }));
}`;
const version = (text: string) => INSTALLS.replace('VERSION', JSON.stringify(text));
const provide = (script: string) => provideEditor({ cache, progress: silentProgress, npm: npm(script) });

it('installs once and builds what needs it, and two at once wait for each other', async () => {
  const [first, second] = await Promise.all([provide(version(N8N_VERSION)), provide(version(N8N_VERSION))]);
  expect(first).toEqual(second);
  expect(existsSync(first.script)).toBe(true);
  expect(await provide('process.exit(1)')).toEqual(first);
});

it.each([
  ['npm fails', 'process.exit(1)'],
  ['the build after it fails', `${version(N8N_VERSION)} else process.exit(1)`],
  ['another version came', version('1.0.0')],
  ['nothing came', ''],
])('leaves no half install when %s, says how to go on, and can be tried again', async (_why, script) => {
  await expect(provide(script)).rejects.toMatchObject({
    code: 'editor.install_failed',
    fix: expect.stringContaining('switchyard editor install'),
  });
  expect(findEditor(cache)).toBeUndefined();
  expect(readdirSync(cache).filter((name) => name !== 'lock.sqlite')).toEqual([]);
  expect(findEditor(cache)).toBeUndefined();
  await provide(version(N8N_VERSION));
  expect(findEditor(cache)?.version).toBe(N8N_VERSION);
});

it('removes what a killed install left behind', async () => {
  mkdirSync(join(cache, `${N8N_VERSION}.1.part`, 'node_modules'), { recursive: true });
  await provide(version(N8N_VERSION));
  expect(readdirSync(cache).filter((name) => name.endsWith('.part'))).toEqual([]);
});

it('says before it begins that the disk is too small', (test) => {
  mkdirSync(cache);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', cache]);
  if (mounted.status !== 0) return test.skip('mounting a small tmpfs needs root');
  return expect(provide(version(N8N_VERSION)))
    .rejects.toMatchObject({ code: 'editor.no_space', fix: expect.stringContaining('SWITCHYARD_CACHE') })
    .finally(() => spawnSync('umount', [cache]));
});

it('ends with the start that wanted it', async () => {
  const controller = new AbortController();
  const waiting = provideEditor({
    cache,
    progress: silentProgress,
    npm: npm('setTimeout(() => {}, 600_000)'),
    signal: controller.signal,
  });
  await expect.poll(() => existsSync(join(folder, 'calls')), { timeout: 30_000 }).toBe(true);
  controller.abort();
  await expect(waiting).rejects.toThrow(/abort/i);
  expect(findEditor(cache)).toBeUndefined();
});
