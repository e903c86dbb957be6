import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { followJob, progressText } from '../../cli/jobs/follow.ts';
import type { Job } from '../../stores/records/jobs-port.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { wantedJob } from '../stores/contract/jobs.ts';
import { commandFolder, type Folder } from './command-folder.ts';

let folder: Folder;
let records: Records;
beforeAll(async () => {
  // Nobody listens on the discard port.
  folder = await commandFolder('hostname: mx.test\ntemporal:\n  address: 127.0.0.1:9\n');
  records = await openRecords({ state: join(folder.path, '.switchyard') });
});
afterAll(async () => {
  await records?.close();
  await folder?.remove();
});

async function running(key: string): Promise<string> {
  const { job } = await records.jobs.request(wantedJob({ key }));
  await records.jobs.take(key, 'a');
  return job.id;
}

describe('switchyard jobs', () => {
  test('says so where there is none', async () => {
    expect(await folder.run(['jobs'])).toMatchObject({ status: 0, stdout: 'No job matches.\n' });
  });

  test('lists, shows and logs, and nothing of it steers the terminal', async () => {
    const id = await running('site/\u001b[31mred');
    await records.jobs.progress(id, { done: 1_200, total: 2_400, words: 'bell \u0007' });
    await records.jobs.log(id, 'line \u001b[2J two');
    for (const args of [['jobs'], ['jobs', 'show', id], ['jobs', 'log', id]]) {
      const { status, stdout } = await folder.run(args);
      expect(status).toBe(0);
      expect(stdout.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    }
    expect((await folder.run(['jobs'])).stdout).toMatch(
      new RegExp(`running +site/ \\[31mred .*1,200 of 2,400 .*${id}`),
    );
    expect((await folder.run(['jobs', 'show', id])).stdout).toMatch(/^run +job\//m);
    expect((await folder.run(['jobs', 'log', id])).stdout).toMatch(/Asked for by token:t\.\n.*Started\.\n.*two\n$/);
    expect(JSON.parse((await folder.run(['jobs', 'show', id, '--json'])).stdout)).toMatchObject({
      id,
      state: 'running',
    });
    expect((await folder.run(['jobs', '--state', 'waiting'])).stdout).toBe('No job matches.\n');
  });

  test('cancels, and says so where Temporal does not hear of it', async () => {
    const id = await running('cancel');
    const { status, stdout, stderr } = await folder.run(['jobs', 'cancel', id]);
    expect([status, stdout]).toEqual([0, expect.stringContaining('once its clean-up is done')]);
    expect(stderr).toContain('does not answer');
    expect(await records.jobs.get(id)).toMatchObject({ state: 'cancelling', errorText: 'Cancelled by command line.' });
    await records.jobs.end(id, { state: 'cancelled', code: null, text: null });
    expect((await folder.run(['jobs', 'cancel', id])).stdout).toBe('It is over: cancelled.\n');
  });

  test('dmarc reparse is kept where Temporal does not hear of it, and asked for again it is the same job', async () => {
    const first = await folder.run(['dmarc', 'reparse']);
    expect([first.status, first.stderr]).toEqual([0, expect.stringContaining('does not answer')]);
    const [job] = await records.jobs.list({ kind: 'dmarc.reparse' });
    expect(job).toMatchObject({ state: 'waiting', requestedBy: 'command line', workflow: 'rereadReports' });
    expect(first.stdout).toBe(`Job ${job?.id}\nIt goes on:  switchyard jobs log ${job?.id} --follow\n`);
    const again = await folder.run(['dmarc', 'reparse', '--detach']);
    expect(again.stdout).toContain(`It is under way: job ${job?.id}\n`);
  });

  test('dmarc import is kept in the same way, with a copy of what is to be imported, and again it is the same job', async () => {
    await records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
    await records.dmarc.domains.put('example.com', 'reports@mail.test', 'test');
    await mkdir(join(folder.path, 'past'));
    await writeFile(join(folder.path, 'past', 'report.xml'), '<feedback/>');
    const first = await folder.run(['dmarc', 'import', 'past']);
    expect([first.status, first.stderr]).toEqual([0, expect.stringContaining('does not answer')]);
    const [job] = await records.jobs.list({ kind: 'dmarc.import' });
    expect(job).toMatchObject({
      state: 'waiting',
      workflow: 'importReports',
      parameters: { name: expect.any(String) },
    });
    expect(first.stdout).toBe(`Job ${job?.id}\nIt goes on:  switchyard jobs log ${job?.id} --follow\n`);
    const { key } = (job?.parameters as { archive: { key: string } }).archive;
    expect(await records.blobOwners.isOwned(key, new Date().toISOString())).toBe(true);
    expect((await folder.run(['dmarc', 'import', 'past'])).stdout).toContain(`It is under way: job ${job?.id}\n`);
    expect(await folder.run(['dmarc', 'import', 'nowhere'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('nowhere cannot be imported'),
    });
  });

  test('--follow shows what comes and ends with the job, and its status is that of the job', async () => {
    const id = await running('follow');
    const child = spawn(process.execPath, [resolve('cli/main.ts'), 'jobs', 'log', id, '--follow'], {
      cwd: folder.path,
    });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    const ended = new Promise((done) => child.on('close', done));
    await expect.poll(() => out, { timeout: 20_000 }).toContain('Started.');
    await records.jobs.log(id, 'Half of it.');
    await expect.poll(() => out, { timeout: 20_000 }).toContain('Half of it.');
    await records.jobs.end(id, { state: 'failed', code: 'x.broken', text: 'It broke.' });
    expect(await ended).toBe(1);
    expect(out).toMatch(/It broke\.\nfailed: It broke\.\n$/);
  });

  test.each([
    [['jobs', 'show', 'no-id'], 1],
    [['jobs', 'log', 'no-id'], 1],
    [['jobs', 'cancel', 'no-id'], 1],
    [['jobs', 'show'], 2],
    [['jobs', 'paint', 'x'], 2],
    [['jobs', 'list', 'x'], 2],
    [['jobs', '--state', 'asleep'], 2],
    [['jobs', '--since', 'yesterday'], 2],
  ])('%j ends with status %i', async (args, expected) => {
    expect((await folder.run(args)).status).toBe(expected);
  });
});

describe('the bar', () => {
  const job = (change: Partial<Job>): Job => ({
    ...wantedJob(),
    id: 'x',
    requestedAt: '',
    state: 'running',
    progress: null,
    startedAt: new Date(0).toISOString(),
    endedAt: null,
    errorCode: null,
    errorText: null,
    workflowId: null,
    ...change,
  });

  test('grows with the work, and is no bar while nobody knows of how much', () => {
    const at = (done: number, total: number | null) =>
      progressText(job({ progress: { done, total, words: 'files' } }), 61_000);
    expect(at(0, 4)).toBe(`  [${' '.repeat(24)}]   0 %  0 of 4  1 min 1 s  files`);
    expect(at(1_000, 2_000)).toBe(`  [${'█'.repeat(12)}${' '.repeat(12)}]  50 %  1,000 of 2,000  1 min 1 s  files`);
    expect(at(5, 4)).toContain(`[${'█'.repeat(24)}] 100 %`);
    expect(at(7, null)).toBe('  7  1 min 1 s  files');
    expect(progressText(job({ state: 'waiting', startedAt: null }))).toBe('  waiting  ');
  });

  test('moves on a terminal, and never takes more than its width', async () => {
    const id = await running('bar');
    await records.jobs.progress(id, { done: 1, total: 2, words: 'x'.repeat(300) });
    const written: string[] = [];
    const write = (text: string) => written.push(text);
    const stream = { isTTY: true, columns: 60, write } as unknown as NodeJS.WriteStream;
    const stop = new AbortController();
    const following = followJob(records, id, { stream, signal: stop.signal, after: 1_000 });
    await expect.poll(() => written.length, { timeout: 20_000 }).toBeGreaterThan(2);
    stop.abort();
    expect((await following)?.state).toBe('running');
    for (const line of written) expect(line.replace('\r\x1b[K', '').length).toBeLessThan(60);
    expect(written.at(-1)).toBe('\r\x1b[K');
  });
});
