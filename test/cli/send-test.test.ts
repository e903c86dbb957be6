/** send-test and doctor on an installation that runs: the demo one, as a fresh start makes it. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contextFor } from '../../cli/doctor/examine.ts';
import { checkRunning, checkSmtp, checkWorker } from '../../cli/doctor/processes.ts';
import { startInstallation, type Installation } from '../../cli/up/installation.ts';

const MAIN = resolve('cli/main.ts');
let folder: string;
let installation: Installation;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'send-test-'));
  installation = await startInstallation({ folder, anyPort: true, quiet: true });
});
afterAll(async () => {
  await installation?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function switchyard(args: string[], cwd = folder) {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<number | null>((done) => child.on('close', done));
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await closed, stdout, stderr };
}

describe('switchyard send-test', () => {
  it('delivers a mail to the local inbox and says where to look', async () => {
    const { status, stdout } = await switchyard(['send-test', '--subject', 'Grüße']);
    expect(stdout).toMatch(/the server said +250 2\./);
    expect(status).toBe(0);
    const page = /arrived +(http\S+\/inbox)/.exec(stdout)?.[1];
    expect(page).toBe(`http://127.0.0.1:${installation.addresses.http.port}/inbox`);
    expect(stdout).toMatch(/run +http:\/\/127\.0\.0\.1:\d+\/namespaces\/default\/workflows\/mail%2F[0-9a-f]{32}/);
    expect(await (await fetch(page as string)).text()).toContain('Grüße');
  });

  it('passes a refusal on and ends with status 1', async () => {
    const { status, stdout } = await switchyard(['send-test', '--to', 'who@elsewhere.test', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ accepted: false, reply: expect.stringMatching(/^550 5\./) });
    expect(status).toBe(1);
  });

  it('says so where nothing listens', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'send-test-'));
    // Port 9 (discard) of loopback: nothing of ours is ever there.
    writeFileSync(join(empty, 'switchyard.yaml'), 'mail: { listen: { port: 9 }, domains: { demo.test: {} } }\n');
    const { status, stderr } = await switchyard(['send-test'], empty);
    expect(stderr).toContain('127.0.0.1:9');
    expect(stderr).toContain('switchyard up');
    expect(status).toBe(1);
    rmSync(empty, { recursive: true });
  });
});

describe('switchyard doctor on what runs', () => {
  it('finds nothing wrong with a fresh start', async () => {
    const { status, stdout } = await switchyard(['doctor', '--json']);
    const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: { name: string; state: string }[] };
    expect(findings.filter(({ state }) => state === 'fail')).toEqual([]);
    expect({ ok, status }).toEqual({ ok: true, status: 0 });
    for (const name of ['running', 'ports', 'Temporal', 'worker', 'SMTP', 'keys', 'records'])
      expect(findings.find((one) => one.name === name)).toMatchObject({ state: 'ok' });
    // The clean-slate promise: looking leaves nothing behind.
    expect(readFileSync(join(folder, '.switchyard', 'run.json'), 'utf8')).toContain('"supervisor"');
  });

  it('finds a process that is dead, SMTP that does not answer, and queues without a worker', async () => {
    const context = contextFor(installation.configuration, {});
    if (!context.running) throw new Error('the installation does not run');
    const child = spawn(process.execPath, ['-e', '']);
    const { smtp } = context.running.pids;
    await new Promise((done) => child.on('exit', done));
    const pids = { ...context.running.pids, smtp: { ...smtp, pid: child.pid as number, birth: 'before' } };
    expect(await checkRunning({ ...context, running: { ...context.running, pids } })).toMatchObject([
      { state: 'fail', found: 'smtp is not alive', fix: expect.stringContaining('logs') },
    ]);
    const addresses = { ...context.addresses, smtp: context.addresses.http };
    expect(await checkSmtp({ ...context, addresses })).toMatchObject([{ state: 'fail' }]);
    const configuration = {
      ...context.configuration,
      temporal: { ...context.configuration.temporal, taskQueue: 'other' },
    };
    expect(await checkWorker({ ...context, configuration })).toMatchObject([
      { state: 'fail', found: expect.stringContaining('other-mail-first') },
    ]);
  });

  it('says that nothing runs once it was stopped', async () => {
    await installation.stop();
    expect(await checkRunning(contextFor(installation.configuration, {}))).toMatchObject([
      { state: 'warn', fix: 'switchyard up' },
    ]);
  });
});
