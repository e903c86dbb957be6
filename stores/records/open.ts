/** Opens the records: SQLite in the state folder, or PostgreSQL. The repositories know Kysely only; a database is a driver. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Configuration } from '../configuration/schema.ts';
import { activityRecords } from './activity.ts';
import { auditRecords } from './audit.ts';
import { blobOwnerRecords } from './blob-owners.ts';
import { deliveryRecords } from './deliveries.ts';
import { dmarcRecords } from './dmarc/records.ts';
import { inSessionRecords } from './in-session.ts';
import { inboxRecords } from './inbox.ts';
import { jobRecords } from './jobs.ts';
import { keyRecords } from './keys.ts';
import { migrate } from './migrations/index.ts';
import type { Records } from './port.ts';
import { openPostgres, postgresPlace } from './postgres.ts';
import { ruleRecords } from './rules.ts';
import { openSqlite } from './sqlite.ts';
import { timeNow, type Database } from './tables.ts';
import { tokenRecords } from './tokens.ts';
import { triggerRecords } from './triggers.ts';
import { verdictRecords } from './verdicts.ts';

/** Name of the database in the state folder. */
export const RECORDS_FILE = 'records.sqlite';

/** What of the configuration says where the records are. */
export type RecordsConfiguration = Pick<Configuration, 'state'> & Partial<Pick<Configuration, 'records'>>;

/**
 * Opens the records, made and migrated where needed.
 * @throws TemporaryError `records.unavailable`
 * @throws PermanentError `records.newer` when a newer build has written them
 */
export async function openRecords(configuration: RecordsConfiguration): Promise<Records> {
  const postgres = configuration.records?.postgres;
  if (!postgres) return recordsOver(await migrated(await openSqlite(fileOf(configuration))));
  await (await migrated(await openPostgres(postgres, 'as long as it takes'))).destroy();
  return recordsOver(await openPostgres(postgres));
}

async function migrated(database: Database): Promise<Database> {
  try {
    await migrate(database);
    return database;
  } catch (thrown) {
    await database.destroy();
    throw thrown;
  }
}

const fileOf = ({ state }: RecordsConfiguration): string => join(state, RECORDS_FILE);

/** Where the records are, for people. */
export function recordsPlace(configuration: RecordsConfiguration): string {
  const postgres = configuration.records?.postgres;
  return postgres ? postgresPlace(postgres) : fileOf(configuration);
}

/** False where opening them would make the file. A database may be empty, and is asked. */
export function hasRecords(configuration: RecordsConfiguration): boolean {
  return configuration.records?.postgres !== undefined || existsSync(fileOf(configuration));
}

/** The port over any migrated database. */
export function recordsOver(database: Database): Records {
  return {
    rules: ruleRecords(database),
    activity: activityRecords(database),
    deliveries: deliveryRecords(database),
    inSession: inSessionRecords(database),
    blobOwners: blobOwnerRecords(database),
    tokens: tokenRecords(database),
    triggers: triggerRecords(database),
    verdicts: verdictRecords(database),
    audit: auditRecords(database),
    dmarc: dmarcRecords(database),
    inbox: inboxRecords(database),
    keys: keyRecords(database),
    jobs: jobRecords(database),
    check: () => probe(database),
    close: () => database.destroy(),
  };
}

async function probe(database: Database): Promise<void> {
  const row = { name: 'check', value: timeNow() };
  await database
    .insertInto('probe')
    .values(row)
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: row.value }))
    .execute();
  await database.selectFrom('probe').select('value').where('name', '=', row.name).executeTakeFirstOrThrow();
}
