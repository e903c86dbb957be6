import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { identify, isAlive, type ProcessIdentity } from '../../cli/up/birth.ts';
import { endLeftovers, type RunFile } from '../../cli/up/run-file.ts';
import { DEFAULT_PORTS } from '../../stores/configuration/addresses.ts';
import { sharedTemporal } from '../setup/temporal.ts';

const main = resolve('cli/main.ts');
/** A busy machine with two cores: start of five processes and a Temporal server. */
const START = { timeout: 120_000, interval: 100 };

interface Up {
  child: ChildProcess;
  /** What it wrote to stderr so far. */
  said(): string;
  run: RunFile;
  exited: Promise<number | string>;
}

const folders: string[] = [];
const running: ChildProcess[] = [];

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-up-'));
  folders.push(folder);
  return folder;
}

function spawnUp(folder: string, args: string[] = [], more: NodeJS.ProcessEnv = {}) {
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(TEMPORAL_|SWITCHYARD_(?!CACHE))/.test(name)),
  );
  const child = spawn(process.execPath, [main, 'up', '--no-editor', ...args], {
    cwd: folder,
    env: { ...environment, ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  let stderr = '';
  let stdout = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
  return { child, said: () => stderr, printed: () => stdout, exited };
}

async function up(folder: string, more: NodeJS.ProcessEnv = {}): Promise<Up> {
  const { child, said, printed, exited } = spawnUp(folder, ['--json', '--any-port'], more);
  await vi.waitUntil(() => printed().endsWith('\n') || child.exitCode !== null, START);
  if (child.exitCode !== null) throw new Error(`up ended with ${child.exitCode}: ${said()}`);
  return { child, said, exited, run: JSON.parse(printed()) as RunFile };
}

const runFile = (folder: string) => JSON.parse(readFileSync(join(folder, '.switchyard/run.json'), 'utf8')) as RunFile;
const living = (pids: RunFile['pids']) =>
  Object.entries(pids)
    .filter(([, identity]) => isAlive(identity))
    .map(([name]) => name);
const pid = (run: RunFile, name: string) => (run.pids[name] as ProcessIdentity).pid;

function endAll(): void {
  for (const child of running.splice(0)) child.kill('SIGKILL');
  for (const folder of folders) {
    if (!existsSync(join(folder, '.switchyard/run.json'))) continue;
    for (const identity of Object.values(runFile(folder).pids))
      if (isAlive(identity)) process.kill(identity.pid, 'SIGKILL');
  }
}
afterAll(() => {
  endAll();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

describe('a running installation', () => {
  const folder = emptyFolder();
  let installation: Up;
  beforeAll(async () => {
    installation = await up(folder);
  });

  it('names every process and where it listens', () => {
    expect(Object.keys(installation.run.pids).sort()).toEqual([
      'http',
      'inbox',
      'smtp',
      'supervisor',
      'temporal',
      'temporal guard',
      'worker',
    ]);
    expect(living(installation.run.pids)).toHaveLength(7);
    // --any-port: what the system gave, far above the defaults.
    const { smtp, http } = installation.run.addresses;
    for (const { port } of [smtp, http]) expect(port).toBeGreaterThan(DEFAULT_PORTS.workerMetrics);
  });

  it('leaves a first API token that only its owner can read', () => {
    const file = join(folder, '.switchyard/token');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readFileSync(file, 'utf8').trim().length).toBeGreaterThan(20);
  });

  it('keeps a second one off the same folder and says who has it', async () => {
    const second = spawnUp(folder, ['--json']);
    expect(await second.exited).toBe(1);
    expect(second.said()).toContain(`process ${installation.child.pid}`);
    expect(living(installation.run.pids)).toHaveLength(7);
  });

  it.each(['smtp', 'temporal', 'temporal guard'])('starts %s again after a kill and says so', async (name) => {
    const before = runFile(folder);
    const said = installation.said().length;
    process.kill(pid(before, name), 'SIGKILL');
    await vi.waitUntil(() => {
      const now = runFile(folder).pids[name];
      return now && now.pid !== pid(before, name) && isAlive(now);
    }, START);
    expect(installation.said().slice(said)).toMatch(
      new RegExp(`${name.replace(' guard', '')} ended \\(SIGKILL\\); it starts again in`),
    );
    expect(isAlive(before.pids[name] as ProcessIdentity)).toBe(false);
  });

  it('ends every process on Ctrl-C, each with its grace, and leaves no run file', async () => {
    // One that an earlier test killed may still be on its way: it ends at once, without a word in its log.
    await vi.waitUntil(() => living(runFile(folder).pids).length === 7 && SERVERS.every(isReady), START);
    const { pids } = runFile(folder);
    installation.child.kill('SIGINT');
    expect(await installation.exited).toBe(0);
    expect(living(pids)).toEqual([]);
    expect(existsSync(join(folder, '.switchyard/run.json'))).toBe(false);
    for (const name of SERVERS) expect(logOf(name).at(-1), name).toContain('"msg":"stopped"');
  });

  const SERVERS = ['smtp', 'http', 'worker', 'inbox'];
  const logOf = (name: string) =>
    readFileSync(join(folder, `.switchyard/logs/${name}.log`), 'utf8')
      .trimEnd()
      .split('\n');
  const isReady = (name: string) =>
    logOf(name).some((line) => line.includes(`"pid":${pid(runFile(folder), name)},`) && line.includes('"msg":"ready"'));
});

describe('after kill -9', () => {
  afterEach(endAll);

  it('of the supervisor, all its processes end by themselves, and the next start goes on with the same state', async () => {
    const folder = emptyFolder();
    const first = await up(folder);
    const token = readFileSync(join(folder, '.switchyard/token'), 'utf8');
    first.child.kill('SIGKILL');
    await first.exited;
    await vi.waitUntil(() => living(first.run.pids).length === 0, START);

    const second = await up(folder);
    expect(living(second.run.pids)).toHaveLength(7);
    expect(readFileSync(join(folder, '.switchyard/token'), 'utf8')).toBe(token);
  });

  it('of everything but the Temporal server, the next start ends what was left before it starts its own', async () => {
    const folder = emptyFolder();
    const first = await up(folder);
    const { temporal, supervisor, ...others } = first.run.pids;
    // The supervisor first: it would start the others again. The guard with it: it would end the server.
    process.kill((supervisor as ProcessIdentity).pid, 'SIGKILL');
    for (const { pid } of Object.values(others)) process.kill(pid, 'SIGKILL');
    await first.exited;
    expect(isAlive(temporal as ProcessIdentity)).toBe(true);

    const second = await up(folder);
    expect(isAlive(temporal as ProcessIdentity)).toBe(false);
    expect(second.said()).toContain('left running: temporal');
    expect(living(second.run.pids)).toHaveLength(7);
  });
});

describe('with TEMPORAL_ADDRESS', () => {
  it('uses that server and starts none', async () => {
    const address = await sharedTemporal();
    const installation = await up(emptyFolder(), { TEMPORAL_ADDRESS: address });
    expect(Object.keys(installation.run.pids).sort()).toEqual(['http', 'inbox', 'smtp', 'supervisor', 'worker']);
    expect(installation.run.addresses.temporal).toBe(address);
    installation.child.kill('SIGTERM');
    expect(await installation.exited).toBe(0);
  });

  it('says that nothing answers there, and leaves nothing running', async () => {
    const folder = emptyFolder();
    const refused = spawnUp(folder, [], { TEMPORAL_ADDRESS: '127.0.0.1:1' });
    expect(await refused.exited).toBe(1);
    expect(refused.said()).toContain('The Temporal server at 127.0.0.1:1 does not answer');
    expect(existsSync(join(folder, '.switchyard/run.json'))).toBe(false);
  });
});

it('leaves the processes of another installation alone when a state folder was copied from it', async () => {
  const bystander = spawn('sleep', ['300']);
  running.push(bystander);
  const identity = identify(bystander.pid as number) as ProcessIdentity;
  const [original, copy] = [emptyFolder(), emptyFolder()];
  const run = { state: original, version: '0', startedAt: '', addresses: {}, pids: { smtp: identity } };
  for (const folder of [original, copy]) writeFileSync(join(folder, 'run.json'), JSON.stringify(run));
  expect(await endLeftovers(copy)).toEqual([]);
  expect(isAlive(identity)).toBe(true);
  expect(await endLeftovers(original)).toEqual(['smtp']);
  expect(isAlive(identity)).toBe(false);
});

it('does not start on a configured port that is taken: it names the key, and nothing is left running', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as AddressInfo;
  const folder = emptyFolder();
  writeFileSync(join(folder, 'switchyard.yaml'), `http:\n  port: ${port}\n`);
  const refused = spawnUp(folder);
  expect(await refused.exited).toBe(1);
  expect(refused.said()).toContain(`Port ${port} (http.port) is taken`);
  expect(existsSync(join(folder, '.switchyard/run.json'))).toBe(false);
  holder.close();
});
