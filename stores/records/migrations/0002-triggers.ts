/** Registrations of n8n triggers, and the verdicts that their workflows gave. */
import type { Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const triggers: Migration = {
  name: 'triggers',
  async up(database: Kysely<unknown>) {
    await database.schema
      .createTable('triggers')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('callback_url', 'text', (column) => column.notNull())
      .addColumn('link', 'text')
      .addColumn('token_id', 'text', (column) => column.notNull())
      .addColumn('test', 'integer', (column) => column.notNull())
      .addColumn('addresses', 'text', (column) => column.notNull())
      .addColumn('mode', 'text')
      .addColumn('timeout_ms', 'integer')
      .addColumn('trouble_reply', 'text')
      .addColumn('workflows', 'text', (column) => column.notNull())
      .addColumn('outcomes', 'text', (column) => column.notNull())
      .addColumn('runs', 'text', (column) => column.notNull())
      .addColumn('lease_until', 'text', (column) => column.notNull())
      .addColumn('seen_until', 'text')
      .addColumn('created_at', 'text', (column) => column.notNull())
      .addColumn('updated_at', 'text', (column) => column.notNull())
      .execute();
    await database.schema
      .createTable('verdicts')
      .addColumn('delivery_key', 'text', (column) => column.primaryKey())
      .addColumn('trigger_id', 'text', (column) => column.notNull())
      .addColumn('verdict', 'text', (column) => column.notNull())
      .addColumn('at', 'text', (column) => column.notNull())
      .execute();
    await database.schema.createIndex('verdicts_at').on('verdicts').column('at').execute();
  },
};
