/** Opens the blob store that the configuration names: a folder in the state folder. */
import { join } from 'node:path';
import type { Configuration } from '../configuration/schema.ts';
import { openFolderBlobs } from './folder.ts';
import type { BlobStore } from './port.ts';

/** @throws TemporaryError `blob.unavailable` */
export function openBlobs(configuration: Pick<Configuration, 'state'>): Promise<BlobStore> {
  return openFolderBlobs(join(configuration.state, 'blobs'));
}
