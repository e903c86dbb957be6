import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { originalSender, rewriteForDomain } from '../../../activities/mail/rewrite-sender.ts';
import type { Dependencies } from '../../../activities/dependencies.ts';
import { openKeys } from '../../../stores/keys/open.ts';
import { uuidv7 } from '../../../stores/records/ids.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { activity } from '../../stores/contract/activity.ts';

const LONG = `${'a'.repeat(64)}@${'d'.repeat(63)}.${'e'.repeat(63)}.${'f'.repeat(46)}.example.org`;
let folder: string;
let records: Records;
let dependencies: Pick<Dependencies, 'configuration' | 'records' | 'keys'>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-srs-'));
  const configuration = Configuration.parse({ state: folder });
  records = await openRecords(configuration);
  dependencies = { configuration, records, keys: await openKeys(records, configuration) };
});
afterAll(async () => {
  await records.close();
  await rm(folder, { recursive: true });
});

/** The record of a message from `sender`. */
const recordOf = async (sender: string): Promise<string> => {
  const id = uuidv7();
  await records.activity.open([activity({ id, sender })]);
  return id;
};

describe('a sender too long to be carried in an address', () => {
  it('is left in the record of its message, and found there', async () => {
    const made = await rewriteForDomain(LONG, 'fwd.test', dependencies, await recordOf(LONG));
    expect(made).toMatch(/^SRS0=.{8}=..=activity\.invalid=[0-9a-f-]{36}@fwd\.test$/);
    expect(await originalSender(made, dependencies)).toBe(LONG);
  });

  it('has no address without a record, and none once the record has gone', async () => {
    await expect(rewriteForDomain(LONG, 'fwd.test', dependencies)).rejects.toMatchObject({ code: 'srs.too_long' });
    const made = await rewriteForDomain(LONG, 'fwd.test', dependencies, uuidv7());
    await expect(originalSender(made, dependencies)).rejects.toMatchObject({ code: 'srs.expired' });
  });
});

it('a shorter sender needs no record', async () => {
  const made = await rewriteForDomain('alice@example.org', 'fwd.test', dependencies, uuidv7());
  expect(await originalSender(made, dependencies)).toBe('alice@example.org');
});

it('nobody reaches the sender of another message by naming its record', async () => {
  const id = await recordOf('victim@example.org');
  const named = `${id}@activity.invalid`;
  const made = await rewriteForDomain(named, 'fwd.test', dependencies, await recordOf(named));
  expect(await originalSender(made, dependencies)).toBe(named);
  await expect(rewriteForDomain(named, 'fwd.test', dependencies)).rejects.toMatchObject({ code: 'srs.reserved' });
});
