/**
 * The database and the bucket of a configuration, lent to the demo: what it writes lies in a schema and under a prefix
 * of its own, which are gone afterwards.
 */
import { randomBytes } from 'node:crypto';
import { openBlobs } from '../../stores/blobs/open.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { removePostgres } from '../../stores/records/postgres.ts';

export interface LentStores extends Pick<Configuration, 'records' | 'blobs'> {
  /** Removes all that lies there; `state` is the folder that was used with them. */
  giveBack(state: string): Promise<void>;
}

/** @param file a configuration; what it leaves in the state folder stays in that of the demo */
export async function lendStores(file: string): Promise<LentStores> {
  const { records, blobs } = await loadConfiguration({ file });
  const name = `demo_${randomBytes(4).toString('hex')}`;
  const lent: Pick<Configuration, 'records' | 'blobs'> = {
    records: records.postgres ? { postgres: { ...records.postgres, schema: name } } : {},
    blobs: blobs.s3 ? { s3: { ...blobs.s3, prefix: [blobs.s3.prefix, name].filter(Boolean).join('/') } } : {},
  };
  return {
    ...lent,
    async giveBack(state) {
      if (lent.records.postgres) await removePostgres(lent.records.postgres);
      if (!lent.blobs.s3) return;
      const store = await openBlobs({ ...lent, state });
      for await (const { key } of store.list()) await store.remove(key);
      await store.close();
    },
  };
}
