/** Long jobs, one at a time for each key. */
import type { Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const jobs: Migration = {
  name: 'jobs',
  async up(database: Kysely<unknown>) {
    await database.schema
      .createTable('jobs')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('key', 'text', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('workflow', 'text', (column) => column.notNull())
      .addColumn('parameters', 'text', (column) => column.notNull())
      .addColumn('requested_by', 'text', (column) => column.notNull())
      .addColumn('requested_at', 'text', (column) => column.notNull())
      .addColumn('state', 'text', (column) => column.notNull())
      .addColumn('progress', 'text')
      .addColumn('started_at', 'text')
      .addColumn('ended_at', 'text')
      .addColumn('error_code', 'text')
      .addColumn('error_text', 'text')
      .addColumn('workflow_id', 'text')
      .addColumn('taken_by', 'text')
      .execute();
    // What the lock promises, held by the database itself.
    await database.schema
      .createIndex('jobs_one_waiting')
      .on('jobs')
      .column('key')
      .unique()
      .where('state' as never, '=', 'waiting')
      .execute();
    await database.schema
      .createIndex('jobs_one_running')
      .on('jobs')
      .column('key')
      .unique()
      .where('state' as never, 'in', ['running', 'cancelling'])
      .execute();
    await database.schema.createIndex('jobs_key').on('jobs').columns(['key', 'id']).execute();
    await database.schema.createIndex('jobs_kind').on('jobs').columns(['kind', 'id']).execute();
    await database.schema.createIndex('jobs_state').on('jobs').columns(['state', 'id']).execute();
    await database.schema.createIndex('jobs_ended').on('jobs').column('ended_at').execute();
    await database.schema
      .createTable('job_requests')
      .addColumn('request_id', 'text', (column) => column.primaryKey())
      .addColumn('job_id', 'text', (column) => column.notNull())
      .execute();
    await database.schema.createIndex('job_requests_job').on('job_requests').column('job_id').execute();
    await database.schema
      .createTable('job_log')
      .addColumn('job_id', 'text', (column) => column.notNull())
      .addColumn('line', 'integer', (column) => column.notNull())
      .addColumn('at', 'text', (column) => column.notNull())
      .addColumn('words', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('job_log_key', ['job_id', 'line'])
      .execute();
    await database.schema
      .createTable('job_leases')
      .addColumn('job_id', 'text', (column) => column.primaryKey().notNull())
      .addColumn('holder', 'text', (column) => column.notNull())
      .addColumn('until', 'text', (column) => column.notNull())
      .execute();
  },
};
