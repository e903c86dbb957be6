/** What a step of a job is at, so that whoever comes after a lost worker knows what that was at. */
import type { Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const jobPlaces: Migration = {
  name: 'job-places',
  async up(database: Kysely<unknown>) {
    await database.schema.alterTable('job_leases').addColumn('place', 'text').execute();
  },
};
