/** A process on other stores than the workers' is refused; one on the same is not, wherever it runs. */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onOwnStore, refuseForeignStore, storeIdOf, workerIdentity } from '../../servers/own-store.ts';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { hasPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts';
import { eventually } from '../support/house.ts';

const LONG_POLL_MS = 60_000;

let temporal: string;
let client: Client;
let postgres: PostgresServer;
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  temporal = await sharedTemporal();
  client = new Client({ connection: await Connection.connect({ address: temporal }) });
  if (hasPostgres) postgres = await startPostgres();
});
afterAll(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  await client.connection.close();
  await postgres?.close();
});

/** As on another machine: a state folder of its own. */
function machine(input: ConfigurationInput = {}) {
  const state = mkdtempSync(join(tmpdir(), 'switchyard-store-'));
  cleanUps.push(() => rmSync(state, { recursive: true }));
  return Configuration.parse({ ...input, state });
}

async function idOf(configuration: Configuration): Promise<string> {
  const records = await openRecords(configuration);
  try {
    return await storeIdOf(configuration, await openKeys(records, configuration));
  } finally {
    await records.close();
  }
}

/** A worker's long poll, by the API that the SDK polls with. */
async function poll(configuration: Configuration, identity: string): Promise<void> {
  const connection = await Connection.connect({ address: temporal });
  cleanUps.push(() => connection.close());
  const name = taskQueues(configuration.temporal.taskQueue).main;
  connection
    .withDeadline(Date.now() + LONG_POLL_MS, () =>
      connection.workflowService.pollWorkflowTaskQueue({
        namespace: 'default',
        taskQueue: { name, kind: 1 },
        identity,
      }),
    )
    .catch(() => undefined);
  await eventually(
    async () => {
      const { pollers } = await connection.workflowService.describeTaskQueue({
        namespace: 'default',
        taskQueue: { name },
        taskQueueType: 1,
      });
      return pollers?.some((one) => one.identity === identity);
    },
    'the poll is known',
    10_000,
  );
}

describe('with a folder and SQLite', () => {
  it('refuses a process of another machine, and says what several machines need', async () => {
    const own = { temporal: { taskQueue: randomUUID() } };
    const [here, elsewhere] = [machine(own), machine(own)];
    await poll(here, workerIdentity(await idOf(here)));
    await refuseForeignStore(client, here, await idOf(here));
    await expect(refuseForeignStore(client, elsewhere, await idOf(elsewhere))).rejects.toMatchObject({
      name: 'PermanentError',
      code: 'worker.foreign_store',
      fix: expect.stringMatching(/records in SQLite and blobs in a folder.*records\.postgres and blobs\.s3/),
    });
  });

  it('asks before smtp and http start, where Temporal is a server of its own', async () => {
    const given = { temporal: { taskQueue: randomUUID(), address: temporal } };
    const [here, elsewhere] = [machine(given), machine(given)];
    await poll(here, workerIdentity(await idOf(here)));
    const started: string[] = [];
    const start = onOwnStore(async ({ configuration }) => {
      started.push(configuration.state);
      return { close: async () => undefined };
    });
    const options = (configuration: Configuration, address = temporal) => ({
      configuration,
      addresses: { temporal: address } as Addresses,
      log: pino({ level: 'silent' }),
    });
    await start(options(here));
    await expect(start(options(elsewhere))).rejects.toMatchObject({ code: 'worker.foreign_store' });
    // Nobody can be asked while it is away: mail is answered 451 then.
    await start(options(elsewhere, '127.0.0.1:1'));
    expect(started).toEqual([here.state, elsewhere.state]);
  });
});

describe.skipIf(!hasPostgres)('with PostgreSQL', () => {
  const s3 = { bucket: 'mail', endpoint: 'https://s3.example.net' };

  it('and a bucket, processes of all machines have the same stores', async () => {
    process.env.SWITCHYARD_MASTER_KEY = randomBytes(32).toString('base64');
    cleanUps.push(() => delete process.env.SWITCHYARD_MASTER_KEY);
    const shared = { records: postgres.records(), blobs: { s3 }, temporal: { taskQueue: randomUUID() } };
    const here = machine(shared);
    const there = machine({ ...shared, blobs: { s3: { ...s3, endpoint: 'https://10.0.0.7:9000' } } });
    await poll(here, workerIdentity(await idOf(here)));
    await refuseForeignStore(client, there, await idOf(there));

    for (const other of [
      machine({ ...shared, blobs: { s3: { ...s3, bucket: 'other' } } }),
      machine({ ...shared, blobs: { s3: { ...s3, prefix: 'other' } } }),
      machine({ ...shared, records: postgres.records() }),
      machine({ ...shared, blobs: {} }),
      machine({ ...shared, records: {} }),
    ])
      await expect(refuseForeignStore(client, other, await idOf(other))).rejects.toMatchObject({
        code: 'worker.foreign_store',
      });
  });

  it('refuses a process with another master key at its start', async () => {
    const records = postgres.records();
    process.env.SWITCHYARD_MASTER_KEY = randomBytes(32).toString('base64');
    await idOf(machine({ records }));
    process.env.SWITCHYARD_MASTER_KEY = randomBytes(32).toString('base64');
    await expect(idOf(machine({ records }))).rejects.toMatchObject({ code: 'key.unreadable' });
  });
});
