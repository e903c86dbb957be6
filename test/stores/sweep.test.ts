import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { keepBlob, sweepBlobs } from '../../stores/sweep.ts';
import { chunks, listed } from './contract/blobs.ts';

let state: string;
let blobs: BlobStore;
let records: Records;
beforeEach(async () => {
  state = mkdtempSync(join(tmpdir(), 'switchyard-sweep-'));
  [blobs, records] = [await openBlobs({ state }), await openRecords({ state })];
});
afterEach(async () => {
  await records.close();
  rmSync(state, { recursive: true });
});

const write = (text: string) => blobs.write(chunks(text), { prefix: 'mail', maxBytes: 100 });
const hours = (count: number) => new Date(Date.now() + count * 3_600_000);

it('sweeps what nobody owns after a day, and nothing else', async () => {
  const [owned, expiring, nobody] = [await write('owned'), await write('expiring'), await write('nobody')];
  await records.blobOwners.own(owned, 'a', null);
  await records.blobOwners.own(expiring, 'a', hours(48).toISOString());
  expect(await sweepBlobs(blobs, records, hours(23))).toEqual({ owners: 0, blobs: 0, bytes: 0 });
  expect(await sweepBlobs(blobs, records, hours(25))).toEqual({ owners: 0, blobs: 1, bytes: 6 });
  expect(await listed(blobs)).not.toContain(nobody.key);
  expect(await sweepBlobs(blobs, records, hours(49))).toEqual({ owners: 1, blobs: 1, bytes: 8 });
  expect(await listed(blobs)).toEqual([owned.key]);
});

/** Another process that does its part just before or after a call of the sweep. */
const around = <Port extends object>(
  port: Port,
  method: keyof Port,
  when: 'before' | 'after',
  act: () => Promise<unknown>,
): Port => ({
  ...port,
  [method]: async (...given: unknown[]) => {
    if (when === 'before') await act();
    const result: unknown = await (port[method] as (...all: unknown[]) => Promise<unknown>)(...given);
    if (when === 'after') await act();
    return result;
  },
});

it.each([
  ['before it looks whether there is an owner', 'isOwned', 'before'],
  ['after it saw no owner', 'isOwned', 'after'],
  ['after it took the blob', 'claim', 'after'],
  ['after it was done', 'release', 'after'],
] as const)('never removes what is written again and kept %s', async (_when, method, side) => {
  const old = await write('again');
  let kept: Promise<void> | undefined;
  const owners = around(records.blobOwners, method, side, async () => {
    await write('again');
    kept = keepBlob({ blobs, records }, old, 'b', null);
    await kept.catch(() => undefined);
  });
  await sweepBlobs(blobs, { blobOwners: owners }, hours(25));
  const isKept = await kept?.then(
    () => true,
    () => false,
  );
  // Either it is there for good, or whoever wanted to keep it knows that it is not.
  expect(isKept === true && (await blobs.size(old.key)) === undefined).toBe(false);
  await write('again');
  await keepBlob({ blobs, records }, old, 'b', null);
  expect(await blobs.size(old.key)).toBe(5);
});

it('does not let one keep what it removed between the writing and the owner', async () => {
  const old = await write('again');
  await sweepBlobs(blobs, records, hours(25));
  await expect(keepBlob({ blobs, records }, old, 'b', null)).rejects.toMatchObject({
    name: 'TemporaryError',
    code: 'blob.unavailable',
  });
  expect(await records.blobOwners.isOwned(old.key, new Date().toISOString())).toBe(false);
});
