/** What the doctor says of records in PostgreSQL and blobs in a bucket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Check } from '../../cli/doctor/check.ts';
import { contextFor } from '../../cli/doctor/examine.ts';
import { checkClock } from '../../cli/doctor/machine.ts';
import { checkBlobs, checkKeys, checkRecords } from '../../cli/doctor/stores.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import { PASSWORD_VARIABLE } from '../../stores/records/postgres.ts';
import { activity } from '../stores/contract/activity.ts';
import { hasPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts';
import { hasS3, startS3, type S3Server } from '../support/s3.ts';

const state = mkdtempSync(join(tmpdir(), 'switchyard-doctor-'));
afterAll(() => rmSync(state, { recursive: true }));

async function findings(check: Check, input: ConfigurationInput) {
  return check(contextFor(Configuration.parse({ ...input, state }), process.env));
}

describe.skipIf(!hasPostgres)('records in PostgreSQL', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.close());

  it('are named with their place, and never with the password', async () => {
    const records = server.records();
    const found = await findings(checkRecords, { records });
    expect(found).toMatchObject([{ name: 'records', state: 'ok', fix: null }]);
    expect(found[0]?.found).toBe(
      `PostgreSQL switchyard@127.0.0.1:${server.port}/switchyard (schema ${records.postgres.schema})`,
    );
    expect(JSON.stringify(found)).not.toContain(process.env[PASSWORD_VARIABLE]);
  });

  it('that cannot be reached are a finding with its fix', async () => {
    const { postgres } = server.records();
    const found = await findings(checkRecords, { records: { postgres: { ...postgres, port: 1 } } });
    expect(found).toMatchObject([{ state: 'fail', fix: expect.stringContaining('Start the PostgreSQL server') }]);
  });

  it('are looked at for keys and for the clock too', async () => {
    const input = { records: server.records() };
    const configuration = Configuration.parse({ ...input, state });
    expect(await findings(checkKeys, input)).toMatchObject([
      { state: 'ok', found: expect.stringContaining('none yet') },
    ]);
    const records = await openRecords(configuration);
    await (await openKeys(records, configuration)).create('a.test');
    await records.activity.open([activity({ receivedAt: new Date(Date.now() + 3_600_000).toISOString() })]);
    await records.close();
    expect(await findings(checkKeys, input)).toMatchObject([{ state: 'ok', found: 'a.test can sign' }]);
    expect(await findings(checkClock, input)).toMatchObject([{ state: 'fail', name: 'clock' }]);
    rmSync(join(state, 'master.key'));
    expect(await findings(checkKeys, input)).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('SWITCHYARD_MASTER_KEY') },
    ]);
  });
});

describe.skipIf(!hasS3)('blobs in a bucket', () => {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3();
  });
  afterAll(() => server?.close());

  it('are named with their place', async () => {
    const blobs = await server.blobs();
    expect(await findings(checkBlobs, { blobs })).toMatchObject([
      { name: 'blobs', state: 'ok', found: `bucket ${blobs.s3.bucket} at ${server.endpoint}` },
    ]);
    expect(server.filesOf(blobs.s3.bucket)).toEqual([]);
  });

  it('that cannot be written are a finding with its fix', async () => {
    const { s3 } = await server.blobs();
    expect(await findings(checkBlobs, { blobs: { s3: { ...s3, bucket: 'not-there' } } })).toMatchObject([
      { state: 'fail', fix: expect.stringContaining('blobs.s3.bucket') },
    ]);
  });
});
