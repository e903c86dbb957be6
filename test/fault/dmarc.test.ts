/**
 * The worker is killed (SIGKILL) in each step of an ingestion in turn: whatever it was about, every record is published
 * exactly once, and what is refused is in quarantine once.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FORWARD_DOMAIN } from '../../cli/demo/world.ts';
import type { IngestDmarcReportResult } from '../../workflows/dmarc/contract.ts';
import { mailWith } from '../activities/dmarc/mails.ts';
import { feedback, range, record, row } from '../protocols/dmarc/report.ts';
import { eventually, openHouse, type House } from '../support/house.ts';

const ABOUT = 'example.com';
const ADDRESS = `reports@${FORWARD_DOMAIN}`;
const RANGE = { domain: ABOUT, from: '2023-11-01', to: '2023-11-30' };
/** Enough that each step is seen at work. */
const RECORDS = 20_000;
/** A step that ended before anybody looked is tried with the next report. */
const TRIES = 10;
/** PENDING_ACTIVITY_STATE_STARTED */
const STARTED = 2;

let house: House;
let client: Client;
beforeAll(async () => {
  house = await openHouse({ dmarc: { names: { wait: '5s', most: 2 } } });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
  await house.records.dmarc.domains.put(ABOUT, ADDRESS, 'test');
  // The question after names is under way until its time is up.
  for (const host of [0, 1]) house.dns.fail(`${host}.113.0.203.in-addr.arpa`, 'silent');
});
afterAll(async () => {
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

const worker = (): number => house.installation.processes.find(({ name }) => name === 'worker')?.pid ?? 0;

async function send(bytes: string) {
  const { data } = await house.send({ to: [ADDRESS], message: mailWith({ bytes, name: 'report.xml' }) });
  expect(data).toMatch(/^250 /);
  const [newest] = await house.records.activity.list({ recipient: ADDRESS, limit: 1 });
  return client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(newest?.workflowId ?? '');
}
type Run = Awaited<ReturnType<typeof send>>;

/** Whether the step was seen at work before the run had ended. */
async function isAt(run: Run, step: string): Promise<boolean> {
  for (;;) {
    const { status, raw } = await run.describe();
    if (status.name !== 'RUNNING') return false;
    if (raw.pendingActivities?.some((one) => one.activityType?.name === step && one.state === STARTED)) return true;
    await sleep(5);
  }
}

const totals = () => house.records.dmarc.queries.totals(RANGE);

describe('killed in', () => {
  it.each(['dmarc.extractReports', 'dmarc.parseReport', 'dmarc.enrich', 'dmarc.publishReport'])(
    '%s, the worker that follows publishes each record once',
    async (step) => {
      for (let tries = 1; ; tries++) {
        const before = await totals();
        const run = await send(document());
        const caught = await isAt(run, step);
        if (caught) process.kill(worker(), 'SIGKILL');
        expect(await run.result()).toMatchObject({ published: 1, repeated: 0, refused: 0 });
        expect(await totals()).toMatchObject({ messages: before.messages + RECORDS, reports: before.reports + 1 });
        expect((await run.describe()).status.name).toBe('COMPLETED');
        if (caught) return;
        expect(tries, `${step} was never seen at work`).toBeLessThan(TRIES);
      }
    },
    240_000,
  );

  it('the moment after the publication, the worker that follows says that it was this run', async () => {
    const before = await totals();
    const run = await send(document());
    await eventually(async () => (await totals()).reports > before.reports, 'the publication');
    process.kill(worker(), 'SIGKILL');
    expect(await run.result()).toMatchObject({ published: 1, repeated: 0 });
    expect(await totals()).toMatchObject({ messages: before.messages + RECORDS, reports: before.reports + 1 });
    expect(await house.finalRecord(ADDRESS)).toMatchObject({ outcome: 'delivered' });
  }, 240_000);

  it('the refusal, the original is in quarantine once', async () => {
    const run = await send(document().slice(0, -20));
    expect(await isAt(run, 'dmarc.parseReport')).toBe(true);
    const database = new DatabaseSync(join(house.installation.configuration.state, 'records.sqlite'));
    database.exec('PRAGMA busy_timeout = 10000; BEGIN EXCLUSIVE');
    expect(await isAt(run, 'dmarc.quarantineReport')).toBe(true);
    process.kill(worker(), 'SIGKILL');
    database.exec('ROLLBACK');
    database.close();
    expect(await run.result()).toMatchObject({ refused: 1, reports: [{ code: 'dmarc.truncated' }] });
    expect(await house.records.dmarc.quarantine.count({ domain: ABOUT })).toBe(1);
  }, 240_000);
});
