/** The lock of jobs is decided in the records: what is true of it must be on each database. */
import { afterAll, beforeAll, describe } from 'vitest';
import type { ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { hasPostgres, startPostgres, type PostgresServer } from '../postgres.ts';

export interface JobStore {
  /** Records of their own, with each call. */
  records(): ConfigurationInput['records'];
  /** Whether what takes long and asks the records for nothing else is tried as well. */
  isFirst: boolean;
}

/** The suite, on SQLite and on a PostgreSQL server of its own. */
export function onEachStore(suite: (store: JobStore) => void): void {
  describe('on SQLite', () => suite({ records: () => undefined, isFirst: true }));
  describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
    let server: PostgresServer;
    beforeAll(async () => {
      // Each worker that is killed leaves its connections for a while.
      server = await startPostgres({ settings: ['max_connections=300'] });
    });
    afterAll(() => server?.close());
    suite({ records: () => server.records(), isFirst: false });
  });
}
