/** What becomes of a message that was made here and that nobody sends any more. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { OpenDependencies } from '../../../activities/open.ts';
import { closeAbandoned } from '../../../servers/worker/abandoned.ts';
import { settleOpen } from '../../../servers/worker/sweep.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { uuidv7 } from '../../../stores/records/ids.ts';
import { openRecords } from '../../../stores/records/open.ts';
import { LOCAL_SOURCE, type MailActivity, type Records } from '../../../stores/records/port.ts';

const HOUR = 3_600_000;
let folder: string;
let records: Records;
let configuration: Configuration;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-abandoned-'));
  configuration = Configuration.parse({ state: folder, mail: { retry: { delays: ['1m', '4h'] } } });
  records = await openRecords(configuration);
});
afterAll(async () => {
  await records.close();
  rmSync(folder, { recursive: true });
});

const REPLY = { code: 451, enhanced: '4.7.1', text: 'Greylisted' };
async function deferred(workflowId: string | null): Promise<MailActivity> {
  const id = uuidv7();
  const record: MailActivity = {
    id,
    deliveryKey: id,
    receivedAt: new Date().toISOString(),
    messageId: 'x',
    sourceAddress: LOCAL_SOURCE,
    helo: 'mx.own.test',
    tls: null,
    sender: 'desk@own.test',
    recipient: 'bob@b.test',
    headerFrom: null,
    headerMessageId: null,
    subject: null,
    blob: null,
    authentication: null,
    ruleId: null,
    action: { type: 'forward', destinations: ['bob@b.test'] },
    outcome: 'accepted',
    errorCode: null,
    errorText: null,
    reply: null,
    attempts: 0,
    resent: false,
    workflowId,
    closedAt: null,
  };
  await records.activity.open([record]);
  await records.deliveries.begin(id, 'bob@b.test');
  await records.deliveries.set(id, 'bob@b.test', { state: 'deferred', host: 'mx.b.test', reply: REPLY });
  return record;
}
const close = (record: MailActivity, status: string | null, hours: number) =>
  closeAbandoned(record, status, { records, configuration }, Date.now() + hours * HOUR);

it('is closed as failed once the longest wait between two attempts is over and a caller has had time', async () => {
  const record = await deferred(null);
  expect(await close(record, null, 4.5)).toBe(false);
  expect(await close(record, null, 5.5)).toBe(true);
  expect(await records.activity.get(record.id)).toMatchObject({
    outcome: 'failed',
    errorCode: 'mail.abandoned',
    reply: REPLY,
  });
});

it('is left alone while its run goes on, however long that is, and closed when the run has ended', async () => {
  const record = await deferred('run');
  expect(await close(record, 'RUNNING', 100)).toBe(false);
  expect(await close(record, 'TERMINATED', 0)).toBe(true);
  expect((await records.activity.get(record.id))?.outcome).toBe('failed');
});

it('is found by the sweep, which starts no run for it', async () => {
  const record = await deferred(null);
  const dependencies = { records, configuration } as OpenDependencies;
  // Not asked: a record without a run is settled without Temporal.
  const options = { dependencies, client: {} as Client, log: pino({ level: 'silent' }), taskQueue: 'x' };
  expect(await settleOpen(options, Date.now() + HOUR)).toBe(0);
  expect(await settleOpen(options, Date.now() + 6 * HOUR)).toBe(1);
  expect((await records.activity.get(record.id))?.errorCode).toBe('mail.abandoned');
});
