/** The sweep of the blob store: what nobody owns goes after a day. */
import type { BlobStore } from './blobs/port.ts';
import type { Records } from './records/port.ts';

/** ms that a blob may be without an owner: between its writing and its owner row, or before a repeat takes it again. */
const UNOWNED = 86_400_000;

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
    await blobs.remove(blob.key);
    swept.blobs += 1;
    swept.bytes += blob.size;
  }
  return swept;
}
