/** Opens the blob store that the configuration names: a folder in the state folder, or a bucket. */
import { join } from 'node:path';
import type { Configuration } from '../configuration/schema.ts';
import { openFolderBlobs } from './folder.ts';
import type { BlobStore } from './port.ts';
import { openS3Blobs } from './s3.ts';

/** What of the configuration says where the blobs are. */
export type BlobsConfiguration = Pick<Configuration, 'state'> & Partial<Pick<Configuration, 'blobs'>>;

/**
 * @throws TemporaryError `blob.unavailable`
 * @throws PermanentError `blob.credentials_missing`
 */
export function openBlobs({ state, blobs }: BlobsConfiguration): Promise<BlobStore> {
  if (blobs?.s3) return openS3Blobs(blobs.s3, join(state, 'spool'));
  return openFolderBlobs(join(state, 'blobs'));
}
