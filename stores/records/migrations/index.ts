/** The migrations in their order. One file each; a file that was released is never changed again. */
import type { Kysely, Transaction } from 'kysely';
import { PermanentError } from '../../../protocols/errors.ts';
import { hold } from '../locks.ts';
import { timeNow, type Database, type Tables } from '../tables.ts';
import { foundation } from './0001-foundation.ts';
import { triggers } from './0002-triggers.ts';
import { jobs } from './0003-jobs.ts';
import { dmarc } from './0004-dmarc.ts';
import { dmarcIntake } from './0005-dmarc-intake.ts';
import { dmarcSums } from './0006-dmarc-sums.ts';
import { jobPlaces } from './0007-job-places.ts';
import { dmarcRuledBy } from './0008-dmarc-ruled-by.ts';
import { dmarcTlsSums } from './0009-dmarc-tls-sums.ts';

/** `up` sees the schema of its own time, hence no table types. */
export interface Migration {
  name: string;
  up(database: Kysely<unknown>): Promise<void>;
}

/** Numbered from 1 by their place. */
export const migrations: readonly Migration[] = [
  foundation,
  triggers,
  jobs,
  dmarc,
  dmarcIntake,
  dmarcSums,
  jobPlaces,
  dmarcRuledBy,
  dmarcTlsSums,
];

/**
 * Brings the schema up to the code, all or nothing, in one write transaction: processes that start together take
 * turns, and the later ones find nothing to do.
 * @throws PermanentError `records.newer` when a newer build has been here; nothing is changed then.
 */
export async function migrate(database: Database, known: readonly Migration[] = migrations): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    await hold(transaction, 'migrations');
    await createMigrationsTable(transaction);
    const newest = await transaction
      .selectFrom('migrations')
      .select(['number', 'name'])
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    const applied = newest?.number ?? 0;
    if (applied > known.length) throw newer(applied, newest?.name ?? '', known.length);
    for (const [index, migration] of known.entries()) {
      if (index < applied) continue;
      await migration.up(transaction as unknown as Kysely<unknown>);
      await transaction
        .insertInto('migrations')
        .values({ number: index + 1, name: migration.name, applied_at: timeNow() })
        .execute();
    }
  });
}

async function createMigrationsTable(transaction: Transaction<Tables>): Promise<void> {
  await transaction.schema
    .createTable('migrations')
    .ifNotExists()
    .addColumn('number', 'integer', (column) => column.primaryKey())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('applied_at', 'text', (column) => column.notNull())
    .execute();
}

function newer(applied: number, name: string, known: number): PermanentError {
  return new PermanentError({
    code: 'records.newer',
    message: `The records were written by a newer Switchyard: they are at migration ${applied} (${name}), this build knows ${known}.`,
    fix: 'Run the newer build again, or restore the records from before its first start.',
    details: { applied, known },
  });
}
