/** All reports read anew, by the real workflow: old answers until the new ones are complete, and none where it ends early. */
import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { publishFrom } from '../../activities/dmarc/publish-report.ts';
import { cancelJob, requestJob, type Asked } from '../../servers/jobs/request.ts';
import { reparse } from '../../servers/jobs/kinds.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { stepContext, stored } from '../activities/dmarc/mails.ts';
import { feedback, range, record, row } from '../protocols/dmarc/report.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { eventually } from '../support/house.ts';
import { replayEnded } from '../support/history.ts';
import { FINAL, openJobBench, type JobBench } from '../support/jobs/bench.ts';

let bench: JobBench;
let blobs: BlobStore;
afterEach(async () => {
  await blobs?.close();
  await bench?.close();
});

const DOMAIN = 'example.com';
const RANGE = { domain: DOMAIN, from: '2023-11-01', to: '2023-11-30' };
const BEGIN = 1_700_000_000;
const RECEIVED_AT = '2023-11-16T00:00:00.000Z';

const document = (id: string, messages: number) =>
  feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${range(String(BEGIN), String(BEGIN + 86_399))}</report_metadata>` +
      `<policy_published><domain>${DOMAIN}</domain><p>none</p></policy_published>${record({ row: row({ count: String(messages) }) })}`,
  );

const messages = async () => (await bench.records.dmarc.queries.totals(RANGE)).messages;

/**
 * Publishes reports as an earlier parser read them: as it says, each was about a hundred messages more.
 * @returns the keys of their bytes
 */
async function open(count: number, bytesOf = (id: string) => document(id, 1)): Promise<string[]> {
  bench = await openJobBench(await sharedTemporal());
  blobs = await openBlobs(bench.configuration);
  const dependencies = { configuration: bench.configuration, records: bench.records, blobs };
  const keys: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = String(index);
    const report = await stored(Buffer.from(bytesOf(id)), { blobs }, 'dmarc/2023/11');
    const wrong = {
      ...blobs,
      read: async () => blobs.read((await stored(Buffer.from(document(id, 101)), { blobs }, 'wrong')).key),
    };
    const arrival = { report, domain: DOMAIN, address: null, receivedAt: RECEIVED_AT, mail: null, act: id };
    const [published] = await publishFrom(arrival, { ...dependencies, blobs: wrong }, stepContext(id));
    expect(published?.state).toBe('published');
    // What it says of its bytes is true, as of any report.
    await correctHash(published?.id ?? '', report.sha256);
    keys.push(report.key);
  }
  expect(await messages()).toBe(count * 101);
  return keys;
}

async function correctHash(id: string, sha256: string): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(`${bench.configuration.state}/records.sqlite`);
  database.exec('PRAGMA busy_timeout = 10000');
  database.prepare('update dmarc_reports set sha256 = ? where id = ?').run(sha256, id);
  database.close();
}

const ask = (): Promise<Asked> => requestJob(bench.desk, reparse, {}, { requestedBy: 'test', ifRunning: 'join' });
const end = (id: string) => bench.job(id, ...FINAL);
const building = () => bench.records.dmarc.generations.building();
const runOf = (id: string) => bench.client.workflow.getHandle(`job/${id}`);

it('mends the answers, which are the old ones until all reports are read; the same request meets it', async () => {
  await open(250);
  await bench.startWorker();
  const { job } = await ask();
  expect((await ask()).job.id).toBe(job.id);
  const seen = new Set<number>();
  for (;;) {
    seen.add(await messages());
    if ((await bench.records.jobs.get(job.id))?.endedAt) break;
  }
  expect(await end(job.id)).toMatchObject({ state: 'done', progress: { done: 250, total: 250 } });
  expect([...seen]).toEqual([250 * 101, 250]);
  expect(await building()).toBeUndefined();
  await bench.idle('dmarc.reparse');
  await replayEnded(runOf(job.id), 'rereadReports.done');
  const again = await ask();
  expect(again.job.id).not.toBe(job.id);
  expect((await end(again.job.id)).state).toBe('done');
  expect(await messages()).toBe(250);
});

it('leaves the old answers when it is cancelled, and nothing half read', async () => {
  await open(100);
  await bench.startWorker({ blobDelay: 800 });
  const { job } = await ask();
  await eventually(async () => ((await bench.records.jobs.get(job.id))?.progress?.done ?? 0) > 5, 'some are read');
  await cancelJob(bench.desk, job.id, 'test');
  expect((await end(job.id)).state).toBe('cancelled');
  expect(await messages()).toBe(100 * 101);
  expect([await building(), await bench.records.dmarc.generations.clear()]).toEqual([undefined, 0]);
  await bench.idle('dmarc.reparse');
  await replayEnded(runOf(job.id), 'rereadReports.cancelled');
  expect((await end((await ask()).job.id)).state).toBe('done');
  expect(await messages()).toBe(100);
});

it('puts what is not taken any more into quarantine, names it, and goes on with the rest', async () => {
  await open(5, (id) => (id === '3' ? '<html>not here</html>' : document(id, 1)));
  await bench.startWorker();
  const { job } = await ask();
  expect(await end(job.id)).toMatchObject({ state: 'done', progress: { words: expect.stringContaining('1 of them') } });
  expect(await messages()).toBe(4);
  const quarantined = await bench.records.dmarc.quarantine.list({ domain: DOMAIN });
  expect(quarantined.map(({ code }) => code)).toEqual(['dmarc.not_a_report']);
  const lines = await bench.records.jobs.lines(job.id);
  expect(lines.filter(({ words }) => words.includes('is not taken any more'))).toHaveLength(1);
});

it('fails where the bytes of a report are lost, and the old answers stay', async () => {
  const keys = await open(5);
  await blobs.remove(keys[2] ?? '');
  await bench.startWorker();
  const { job } = await ask();
  expect(await end(job.id)).toMatchObject({ state: 'failed', errorCode: 'blob.missing' });
  expect(await messages()).toBe(5 * 101);
  await bench.idle('dmarc.reparse');
  await replayEnded(runOf(job.id), 'rereadReports.failed');
});

it('goes on where it was when its worker is killed', { timeout: 120_000 }, async () => {
  await open(100);
  const worker = await bench.startWorker({ blobDelay: 800 });
  const { job } = await ask();
  await eventually(async () => ((await bench.records.jobs.get(job.id))?.progress?.done ?? 0) > 5, 'some are read');
  await bench.kill(worker);
  const generation = (await building())?.number;
  expect(generation).toBeDefined();
  await bench.startWorker();
  expect((await end(job.id)).state).toBe('done');
  expect(await messages()).toBe(100);
  expect((await bench.records.dmarc.generations.current()).number).toBe(generation);
});

it(
  'leaves the old answer of a report with which the worker ends, names it, and reads the others anew',
  { timeout: 240_000 },
  async () => {
    const keys = await open(130);
    const kills = await bench.superviseWorker({ deadly: keys[50] });
    const { job } = await ask();
    const isOver = async () => (await bench.records.jobs.get(job.id))?.endedAt !== null;
    await eventually(isOver, 'the end of the job', 200_000);
    expect(await end(job.id)).toMatchObject({
      state: 'done',
      progress: { words: 'reports read anew, 1 left as they were' },
    });
    expect(kills()).toBe(3);
    expect(await messages()).toBe(129 + 101);
    const lines = (await bench.records.jobs.lines(job.id)).map(({ words }) => words);
    expect(lines.filter((words) => words.includes('its old answer stays'))).toHaveLength(1);
    expect(await bench.records.dmarc.quarantine.list({ domain: DOMAIN })).toEqual([]);
    await bench.idle('dmarc.reparse');
    await replayEnded(runOf(job.id), 'rereadReports.worker-lost');
  },
);

it('a newer request takes its place and begins anew, and what comes in meanwhile is in the answers before and after', async () => {
  await open(100);
  await bench.startWorker({ blobDelay: 800 });
  const { job: first } = await ask();
  await eventually(async () => ((await bench.records.jobs.get(first.id))?.progress?.done ?? 0) > 5, 'some are read');
  const { job: second } = await requestJob(bench.desk, reparse, {}, { requestedBy: 'test', ifRunning: 'replace' });
  expect(await end(first.id)).toMatchObject({ state: 'cancelled', errorCode: 'job.replaced' });
  await eventually(async () => ((await bench.records.jobs.get(second.id))?.progress?.done ?? 0) > 5, 'some are read');
  const report = await stored(Buffer.from(document('late', 7)), { blobs }, 'dmarc/2023/11');
  // Its id is before those of the others: whoever goes on behind the last one does not see it.
  const early = '2023-11-15T00:00:00.000Z';
  const arrival = { report, domain: DOMAIN, address: null, receivedAt: early, mail: null, act: 'late' };
  const dependencies = { configuration: bench.configuration, records: bench.records, blobs };
  expect(await publishFrom(arrival, dependencies, stepContext('late'))).toMatchObject([{ state: 'published' }]);
  expect(await messages()).toBe(100 * 101 + 7);
  expect((await end(second.id)).state).toBe('done');
  expect(await messages()).toBe(100 + 7);
});

it('a request of a job that is over starts none', async () => {
  await open(1);
  await bench.startWorker();
  const requestId = randomUUID();
  const asked = () => requestJob(bench.desk, reparse, {}, { requestedBy: 'test', requestId });
  const { job } = await asked();
  await end(job.id);
  expect((await asked()).job).toMatchObject({ id: job.id, state: 'done' });
});
