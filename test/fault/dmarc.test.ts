/**
 * The worker is killed (SIGKILL) in each step of an ingestion in turn: whatever it was about, every record is published
 * exactly once, and what is refused is in quarantine once.
 */
import { execFileSync } from 'node:child_process';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FORWARD_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { givenReportRun, startIngestion } from '../../servers/dmarc/ingestion.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobRef, BlobStore } from '../../stores/blobs/port.ts';
import type { IngestDmarcReportResult } from '../../workflows/dmarc/contract.ts';
import { mailWith } from '../activities/dmarc/mails.ts';
import { feedback, range, record, row } from '../protocols/dmarc/report.ts';
import { replayEnded } from '../support/history.ts';
import { eventually, openHouse, type House } from '../support/house.ts';

const ABOUT = 'example.com';
const ADDRESS = `reports@${FORWARD_DOMAIN}`;
const RANGE = { domain: ABOUT, from: '2023-11-01', to: '2023-11-30' };
/** Enough that each step is seen at work. */
const RECORDS = 20_000;
/** A step that ended before anybody looked is tried with the next report. */
const TRIES = 10;
/** Workers that one report may cost: workflows/dmarc/lost-worker.ts. */
const MOST_LOST = 3;
/** PENDING_ACTIVITY_STATE_STARTED */
const STARTED = 2;

let house: House;
let client: Client;
let blobs: BlobStore;
let poison: Awaited<ReturnType<typeof startPoison>>;
beforeAll(async () => {
  house = await openHouse({ dmarc: { names: { wait: '5s', most: 2 } } });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
  blobs = await openBlobs(house.installation.configuration);
  await house.records.dmarc.domains.put(ABOUT, ADDRESS, 'test');
  poison = await startPoison();
  // The question after names is under way until its time is up.
  for (const host of [0, 1]) house.dns.fail(`${host}.113.0.203.in-addr.arpa`, 'silent');
});
afterAll(async () => {
  await blobs?.close();
  await client?.connection.close();
  await house?.close();
});

const rows = Array.from({ length: RECORDS }, (_, index) =>
  record({ row: row({ ip: `203.0.${113 + (index >> 8)}.${index & 255}` }) }),
).join('');
let count = 0;
const document = (): string =>
  feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>${++count}</report_id>${range('1700000000', '1700086399')}</report_metadata>` +
      `<policy_published><domain>${ABOUT}</domain><p>none</p></policy_published>${rows}`,
  );

/** Its process; a kill of number 0 would end the tests. */
function killWorker(): void {
  const pid = house.installation.processes.find(({ name }) => name === 'worker')?.pid;
  if (!pid) throw new Error('there is no worker');
  process.kill(pid, 'SIGKILL');
}

async function send(bytes: string) {
  const { data } = await house.send({ to: [ADDRESS], message: mailWith({ bytes, name: 'report.xml' }) });
  expect(data).toMatch(/^250 /);
  const [newest] = await house.records.activity.list({ recipient: ADDRESS, limit: 1 });
  return runOf(newest?.workflowId ?? '');
}
const runOf = (id: string) => client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(id);
type Run = ReturnType<typeof runOf>;

/** A report that came by HTTPS: stored, and not yet given to its run. */
async function given(bytes: string): Promise<{ blob: BlobRef; start: () => Promise<Run> }> {
  const source = (async function* () {
    yield Buffer.from(bytes);
  })();
  const blob = await blobs.write(source, { prefix: 'uploads', maxBytes: 100_000_000 });
  const report = { kind: 'report' as const, domain: ABOUT, message: blob };
  const { id, input } = await givenReportRun(report, { blobs, records: house.records });
  const start = async () => {
    await startIngestion(client, 'switchyard', id, input);
    return runOf(id);
  };
  return { blob, start };
}

/** Waits until the step is at work, other than by the attempts that are known; undefined where the run ended before. */
async function isAt(run: Run, step: string, known: string[] = []): Promise<string | undefined> {
  for (;;) {
    const { status, raw } = await run.describe();
    if (status.name !== 'RUNNING') return undefined;
    const found = raw.pendingActivities?.find(
      (one) => one.activityType?.name === step && one.state === STARTED && !known.includes(one.activityId ?? ''),
    );
    if (found) return found.activityId ?? '';
    await sleep(5);
  }
}

/** What writes to the records stands still until the end of it. */
async function whileLocked(work: () => Promise<void>): Promise<void> {
  const database = new DatabaseSync(join(house.installation.configuration.state, 'records.sqlite'));
  database.exec('PRAGMA busy_timeout = 10000; BEGIN EXCLUSIVE');
  try {
    await work();
  } finally {
    database.exec('ROLLBACK');
    database.close();
  }
}

const totals = () => house.records.dmarc.queries.totals(RANGE);

/** A report whose reading comes to no end: whenever the worker is killed it is at work, so that it looks like the cause. */
async function startPoison() {
  const { blob, start } = await given(document());
  const { state } = house.installation.configuration;
  const path = join(state, 'blobs', 'uploads', blob.sha256.slice(0, 2), blob.sha256);
  const original = join(house.folder, 'original');
  await rename(path, original);
  execFileSync('mkfifo', [path]);
  return { blob, run: await start(), restore: () => rename(original, path) };
}

it('killed in every step in turn, the workers that follow publish each record once', async () => {
  const before = await totals();
  const runs: Run[] = [];
  // First, since a worker does not start while the records are locked.
  const { start } = await given(document());
  await whileLocked(async () => {
    const run = await start();
    runs.push(run);
    expect(await isAt(run, 'dmarc.storeReport')).toBeDefined();
    killWorker();
  });
  // That a worker is gone is noticed after a while: it passes for all of them at once.
  for (const step of ['dmarc.extractReports', 'dmarc.parseReport', 'dmarc.enrich', 'dmarc.publishReport'])
    for (let tries = 1; ; tries++) {
      const run = await send(document());
      runs.push(run);
      if (await isAt(run, step)) {
        killWorker();
        break;
      }
      expect(tries, `${step} was never seen at work`).toBeLessThan(TRIES);
    }
  for (const run of runs) expect(await run.result()).toMatchObject({ published: 1, repeated: 0, refused: 0 });
  expect(await totals()).toMatchObject({
    messages: before.messages + runs.length * RECORDS,
    reports: before.reports + runs.length,
  });
}, 240_000);

it('killed the moment after the publication, the worker that follows says that it was this run', async () => {
  const before = await totals();
  const run = await send(document());
  await eventually(async () => (await totals()).reports > before.reports, 'the publication');
  killWorker();
  expect(await run.result()).toMatchObject({ published: 1, repeated: 0 });
  expect(await totals()).toMatchObject({ messages: before.messages + RECORDS, reports: before.reports + 1 });
  expect(await house.finalRecord(ADDRESS)).toMatchObject({ outcome: 'delivered' });
}, 240_000);

it('killed in the refusal, the original is in quarantine once, with what was found out about its mail', async () => {
  const run = await send(document().slice(0, -20));
  expect(await isAt(run, 'dmarc.parseReport')).toBeDefined();
  await whileLocked(async () => {
    expect(await isAt(run, 'dmarc.quarantineReport')).toBeDefined();
    killWorker();
  });
  expect(await run.result()).toMatchObject({ refused: 1, reports: [{ code: 'dmarc.truncated' }] });
  const kept = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect(kept.filter(({ blob }) => blob.key !== poison.blob.key)).toMatchObject([
    {
      code: 'dmarc.truncated',
      mail: {
        sender: `sender@${PLAIN_DOMAIN}`,
        authentication: { spf: { result: 'pass' }, dmarc: { result: 'none' } },
      },
    },
  ]);
}, 240_000);

it('a report with which the worker ends each time is in quarantine after the third', async () => {
  const attempts: string[] = [];
  for (;;) {
    // The kills before were its as well where it was at work.
    const attempt = await isAt(poison.run, 'dmarc.storeReport', attempts);
    if (attempt === undefined) break;
    attempts.push(attempt);
    killWorker();
  }
  expect(await poison.run.result()).toMatchObject({ outcome: 'quarantined', reports: [{ code: 'dmarc.worker_lost' }] });
  const { events } = await poison.run.fetchHistory();
  expect(events?.filter(({ activityTaskTimedOutEventAttributes: lost }) => lost)).toHaveLength(MOST_LOST);
  const kept = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect(kept.filter(({ code }) => code === 'dmarc.worker_lost')).toMatchObject([{ blob: poison.blob }]);
  await poison.restore();
  expect(await blobs.size(poison.blob.key)).toBe(poison.blob.size);
  await replayEnded(poison.run, 'ingestDmarcReport.worker-lost');
}, 240_000);
