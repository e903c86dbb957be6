import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { signIn } from '../../cli/editor/session.ts';
import { CREDENTIAL } from '../../cli/editor/set-up.ts';
import { isAlive, type ProcessIdentity } from '../../cli/up/birth.ts';
import type { RunFile } from '../../cli/up/run-file.ts';
import { localUrl, type Endpoint } from '../../stores/configuration/addresses.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { editorIsMissing } from '../support/editor.ts';

/** Starts of everything on a busy machine with two cores. */
const SLOW = 600_000;
const SOON = { timeout: 240_000, interval: 200 };

const folders: string[] = [];
const children: ChildProcess[] = [];
const identities: ProcessIdentity[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const identity of identities.splice(0)) if (isAlive(identity)) process.kill(identity.pid, 'SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-editor-up-'));
  folders.push(folder);
  return folder;
}

async function up(environment: NodeJS.ProcessEnv = {}, folder = newFolder()) {
  // The Temporal server is shared, and a queue belongs to one state folder.
  writeFileSync(join(folder, 'switchyard.yaml'), `temporal:\n  taskQueue: ${randomUUID()}\n`);
  const child = spawn(process.execPath, [resolve('cli/main.ts'), 'up', '--any-port'], {
    cwd: folder,
    env: { ...process.env, TEMPORAL_ADDRESS: await sharedTemporal(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let said = '';
  let table = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => (table += text));
  const ended = once(child, 'exit').then(() => {
    throw new Error(`up ended: ${said}`);
  });
  await Promise.race([expect.poll(() => table, SOON).toContain('Stop:'), ended]);
  ended.catch(() => undefined);
  const run = () => {
    const now = JSON.parse(readFileSync(join(folder, '.switchyard/run.json'), 'utf8')) as RunFile;
    identities.push(...Object.values(now.pids));
    return now;
  };
  return { folder, child, table, run, said: () => said, exited: once(child, 'exit') };
}

const isReady = async (editor: Endpoint | null) =>
  editor !== null && (await fetch(`${localUrl(editor)}/healthz/readiness`).catch(() => undefined))?.ok === true;

describe.skipIf(editorIsMissing())('up with the editor', { timeout: SLOW }, () => {
  it('says where it is and where its password lies, keeps it running, and ends it with the rest', async () => {
    const { folder, child, table, run, said, exited } = await up();
    const { editor } = run().addresses;
    expect(table).toMatch(new RegExp(`editor +${localUrl(editor as Endpoint)} +starts now: n8n [\\d.]+`));
    expect(table).toContain('password in .switchyard/editor-password');
    expect(table).not.toContain(readFileSync(join(folder, '.switchyard/editor-password'), 'utf8'));
    await expect.poll(() => isReady(editor), SOON).toBe(true);

    const first = run().pids.editor as ProcessIdentity;
    process.kill(first.pid, 'SIGKILL');
    await expect.poll(() => run().pids.editor?.pid ?? first.pid, SOON).not.toBe(first.pid);
    await expect.poll(() => isReady(editor), SOON).toBe(true);
    expect(said()).toContain('editor ended (SIGKILL); it starts again in');

    const { pids } = run();
    child.kill('SIGINT');
    expect(await exited).toEqual([0, null]);
    expect(Object.entries(pids).filter(([, identity]) => isAlive(identity))).toEqual([]);
  });

  it('ends it in the middle of its set-up too, and the next start goes on', async () => {
    const { folder, child, run, said, exited } = await up();
    await expect.poll(() => existsSync(join(folder, '.switchyard/n8n/.import.json')), SOON).toBe(true);
    child.kill('SIGINT');
    expect(await exited).toEqual([0, null]);
    expect(said()).not.toContain('There is no editor');
    expect(() => run()).toThrow('ENOENT');
    expect(existsSync(join(folder, '.switchyard/n8n/.import.json'))).toBe(false);

    const second = await up({}, folder);
    const { editor, http } = second.run().addresses;
    await expect.poll(() => isReady(editor), SOON).toBe(true);
    const session = await signIn(localUrl(editor as Endpoint), join(folder, '.switchyard'));
    const { json } = await session.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
    expect(json).toMatchObject({ data: { name: CREDENTIAL.name, data: { baseUrl: localUrl(http) } } });
  });

  it('leaves none behind when it was killed itself', async () => {
    const { child, run } = await up();
    await expect.poll(() => run().pids.editor, SOON).toBeDefined();
    const { pids } = run();
    child.kill('SIGKILL');
    await expect.poll(() => Object.values(pids).filter(isAlive), SOON).toEqual([]);
  });
});

it('runs without an editor where it cannot be installed, and says so with the way on', { timeout: SLOW }, async () => {
  const cache = mkdtempSync(join(tmpdir(), 'switchyard-editor-none-'));
  folders.push(cache);
  // Nobody listens on the discard port here.
  const { child, table, run, said, exited } = await up({
    SWITCHYARD_CACHE: cache,
    npm_config_registry: 'http://127.0.0.1:9/',
    npm_config_fetch_retries: '0',
    npm_config_cache: join(cache, 'npm'),
  });
  expect(table).toContain('is installed now: n8n');
  await expect
    .poll(() => said(), SOON)
    .toMatch(/There is no editor; all else runs\. The editor .* could not be installed: .*127\.0\.0\.1:9/);
  await expect.poll(() => said(), SOON).toContain('switchyard editor install');
  const { pids, addresses } = run();
  expect(Object.keys(pids)).not.toContain('editor');
  expect((await fetch(`${localUrl(addresses.http)}/healthz`)).status).toBe(200);
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});
