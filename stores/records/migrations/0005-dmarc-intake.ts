/** What came to each report address in the last day. */
import type { Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const dmarcIntake: Migration = {
  name: 'dmarc-intake',
  async up(database: Kysely<unknown>) {
    await database.schema
      .createTable('dmarc_intake')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .addColumn('domain', 'text', (column) => column.notNull())
      .addColumn('sender', 'text', (column) => column.notNull())
      .addColumn('at', 'text', (column) => column.notNull())
      .addColumn('mails', 'integer', (column) => column.notNull())
      .addColumn('bytes', 'bigint', (column) => column.notNull())
      .addColumn('records', 'integer', (column) => column.notNull())
      .execute();
    // Holds all that a sum needs.
    await database.schema
      .createIndex('dmarc_intake_domain')
      .on('dmarc_intake')
      .columns(['domain', 'at', 'sender', 'mails', 'bytes', 'records'])
      .execute();
    await database.schema.createIndex('dmarc_intake_at').on('dmarc_intake').column('at').execute();
  },
};
