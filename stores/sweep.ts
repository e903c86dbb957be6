/** The sweep of the blob store: what nobody owns goes after a day. */
import { TemporaryError } from '../protocols/errors.ts';
import type { BlobRef, BlobStore } from './blobs/port.ts';
import type { Records } from './records/port.ts';

/** ms that a blob may be without an owner: between its writing and its owner row, or before a repeat takes it again. */
const UNOWNED = 86_400_000;
/** ms that the removal of one blob may take; what a killed sweep had claimed can be owned again after it. */
const CLAIM = 600_000;

/**
 * Makes somebody the owner of a blob that was just written, until a time or, with null, until further notice. Equal
 * bytes may have lain here without an owner, and the sweep may have taken them after they were written again.
 * @throws TemporaryError `blob.unavailable` when it has: write them once more
 */
export async function keepBlob(
  { blobs, records }: { blobs: Pick<BlobStore, 'size'>; records: Pick<Records, 'blobOwners'> },
  ref: BlobRef,
  owner: string,
  expiresAt: string | null,
): Promise<void> {
  await records.blobOwners.own(ref, owner, expiresAt);
  if ((await blobs.size(ref.key)) !== undefined) return;
  await records.blobOwners.disown(ref.key, owner);
  throw new TemporaryError({
    code: 'blob.unavailable',
    message: `The blob ${ref.key} was removed by the sweep before it had an owner.`,
    fix: 'Store it again.',
  });
}

/**
 * Removes expired owner rows, then every blob that nobody owns and that is older than a day.
 * @returns how many rows and blobs went, and the bytes they held
 */
export async function sweepBlobs(
  blobs: BlobStore,
  records: Pick<Records, 'blobOwners'>,
  now: Date,
): Promise<{ owners: number; blobs: number; bytes: number }> {
  const time = now.toISOString();
  const swept = { owners: await records.blobOwners.expire(time), blobs: 0, bytes: 0 };
  for await (const blob of blobs.list()) {
    if (blob.modifiedAt.getTime() > now.getTime() - UNOWNED) continue;
    if (await records.blobOwners.isOwned(blob.key, time)) continue;
    const until = new Date(Math.max(now.getTime(), Date.now()) + CLAIM).toISOString();
    if (!(await records.blobOwners.claim(blob.key, time, until))) continue;
    await blobs.remove(blob.key).finally(() => records.blobOwners.release(blob.key));
    swept.blobs += 1;
    swept.bytes += blob.size;
  }
  return swept;
}
