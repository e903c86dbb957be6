import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { openBlobs } from '../../stores/blobs/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import { sweepBlobs } from '../../stores/sweep.ts';
import { chunks, listed } from './contract/blobs.ts';

const state = mkdtempSync(join(tmpdir(), 'switchyard-sweep-'));
afterEach(() => rmSync(state, { recursive: true }));

it('sweeps what nobody owns after a day, and nothing else', async () => {
  const [blobs, records] = [await openBlobs({ state }), await openRecords({ state })];
  const write = (text: string) => blobs.write(chunks(text), { prefix: 'mail', maxBytes: 100 });
  const [owned, expiring, nobody] = [await write('owned'), await write('expiring'), await write('nobody')];
  const hours = (count: number) => new Date(Date.now() + count * 3_600_000);
  await records.blobOwners.own(owned, 'a', null);
  await records.blobOwners.own(expiring, 'a', hours(48).toISOString());
  expect(await sweepBlobs(blobs, records, hours(23))).toEqual({ owners: 0, blobs: 0, bytes: 0 });
  expect(await sweepBlobs(blobs, records, hours(25))).toEqual({ owners: 0, blobs: 1, bytes: 6 });
  expect(await listed(blobs)).not.toContain(nobody.key);
  expect(await sweepBlobs(blobs, records, hours(49))).toEqual({ owners: 1, blobs: 1, bytes: 8 });
  expect(await listed(blobs)).toEqual([owned.key]);
  await records.close();
});
