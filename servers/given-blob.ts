/** A reference that a caller gives, with what a run or a job begins. */
import { PermanentError } from '../protocols/errors.ts';
import { isKey } from '../stores/blobs/names.ts';
import type { BlobRef, BlobStore } from '../stores/blobs/port.ts';

/**
 * Sees that the store has what the reference says, before anything is recorded that relies on it.
 * @param field of the request, for people
 * @throws PermanentError `blob.missing`, `input.invalid`
 */
export async function checkGiven(ref: BlobRef, blobs: Pick<BlobStore, 'size'>, field: string): Promise<void> {
  const size = isKey(ref.key) ? await blobs.size(ref.key) : undefined;
  if (size === undefined)
    throw new PermanentError({
      code: 'blob.missing',
      message: `There is no blob ${ref.key}.`,
      fix: 'Upload it first, with POST /v1/blobs, and give its answer as it is.',
      details: { field },
    });
  const wrong = !ref.key.endsWith(`/${ref.sha256}`) ? 'sha256' : size !== ref.size ? 'size' : undefined;
  if (wrong !== undefined)
    throw new PermanentError({
      code: 'input.invalid',
      message: `${field}.${wrong} is not that of the blob ${ref.key}.`,
      fix: 'Give the reference as the upload answered it, all of it.',
      details: { field: `${field}.${wrong}` },
    });
}
