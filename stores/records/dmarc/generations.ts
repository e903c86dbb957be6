/** Generations of answers: a new reading of the stored reports is built beside the present one and takes its place at once. */
import { sql, type Selectable } from 'kysely';
import { timeNow, type Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import { holdReports } from './hold.ts';
import { rereadAct, type Generation, type GenerationRecords } from './port.ts';
import { fromReportRow } from './rows.ts';
import { finishSums, removeRecords, SUMMED_AT_ONCE, unfinishedIn } from './staged.ts';
import type { DmarcTables } from './tables.ts';

/** Reports whose rows go in one transaction: the lock is held for moments. */
const CLEARED_AT_ONCE = 50;

export function generationRecords(database: Database): GenerationRecords {
  return {
    async current() {
      const [current] = await byState(database, 'current');
      if (!current) throw new Error('the reports have no current generation');
      return current;
    },
    building: async () => (await byState(database, 'building'))[0],
    begin: (parser) =>
      database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        const [building] = await byState(transaction, 'building');
        if (building?.parser === parser) return building;
        if (building) await setState(transaction, building.number, 'old');
        const { newest } = await transaction
          .selectFrom('dmarc_generations')
          .select(({ fn }) => fn.max('number').as('newest'))
          .executeTakeFirstOrThrow();
        const row = { number: newest + 1, state: 'building', parser, started_at: timeNow(), switched_at: null };
        await transaction.insertInto('dmarc_generations').values(row).execute();
        return toGeneration(row);
      }),
    async missing(generation, after, limit) {
      let query = missingIn(database, generation).selectAll('present').orderBy('present.id').limit(limit);
      if (after !== undefined) query = query.where('present.id', '>', after);
      return (await query.execute()).map(fromReportRow);
    },
    async switchTo(generation) {
      for (const report of await unfinishedIn(database, generation)) await finishSums(database, report, generation);
      return database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        const [current] = await byState(transaction, 'current');
        if (current?.number === generation) return 0;
        const { count } = await missingIn(transaction, generation)
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow();
        const unfinished = (await unfinishedIn(transaction, generation)).length;
        if (count + unfinished > 0) return count + unfinished;
        const building = (await byState(transaction, 'building')).some(({ number }) => number === generation);
        if (!current || !building) throw new Error(`generation ${generation} is not being built`);
        await setState(transaction, current.number, 'old');
        await transaction
          .updateTable('dmarc_generations')
          .set({ state: 'current', switched_at: timeNow() })
          .where('number', '=', generation)
          .execute();
        return 0;
      });
    },
    clear: () =>
      database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        const [old] = await byState(transaction, 'old');
        return old ? clearSome(transaction, old.number) : 0;
      }),
    drop: (generation) =>
      database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        await transaction
          .updateTable('dmarc_generations')
          .set({ state: 'old' })
          .where('number', '=', generation)
          .where('state', '=', 'building')
          .execute();
      }),
  };
}

/** Reports of the current generation that another one has neither read nor refused. */
const missingIn = (database: Database, generation: number) =>
  database
    .selectFrom('dmarc_reports as present')
    .where('present.generation', '=', currentGeneration)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('dmarc_reports as read')
            .select('read.id')
            .where('read.generation', '=', generation)
            .whereRef('read.id', '=', 'present.id'),
        ),
      ),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('dmarc_quarantine')
            .select('dmarc_quarantine.id')
            .where('act', '=', sql<string>`${rereadAct(generation, '')} || present.id`),
        ),
      ),
    );

/** Reports with what belongs to them, then the sums, then the generation itself. Returns how many rows went. */
async function clearSome(transaction: Database, generation: number): Promise<number> {
  const published = await transaction
    .selectFrom('dmarc_reports')
    .select(['id', 'records'])
    .where('generation', '=', generation)
    .limit(CLEARED_AT_ONCE)
    .execute();
  const staged = await transaction
    .selectFrom('dmarc_staging')
    .select('report as id')
    .where('generation', '=', generation)
    .limit(CLEARED_AT_ONCE)
    .execute();
  // Of a large report some of its records at a time.
  for (const { id } of [...staged, ...published.filter(({ records }) => records > LARGE)]) {
    const removed = await removeRecords(transaction, id, generation);
    if (removed > 0) return removed;
  }
  const ids = [...published, ...staged].map(({ id }) => id);
  if (ids.length > 0) {
    for (const table of PARTS)
      await transaction.deleteFrom(table).where('generation', '=', generation).where('report', 'in', ids).execute();
    await transaction.deleteFrom('dmarc_reports').where('generation', '=', generation).where('id', 'in', ids).execute();
    return ids.length;
  }
  for (const [table, columns] of Object.entries(SUMS)) {
    const removed = await clearSums(transaction, table, columns, generation);
    if (removed > 0) return removed;
  }
  await transaction.deleteFrom('dmarc_generations').where('number', '=', generation).execute();
  return 1;
}

/** Records that are removed with their report: fifty such reports are a transaction of some ten milliseconds. */
const LARGE = 100;

async function clearSums(database: Database, table: string, columns: string[], generation: number): Promise<number> {
  const key = sql.join(columns.map((column) => sql.ref(column)));
  const { numAffectedRows } = await sql`
    delete from ${sql.table(table)} where generation = ${generation} and (${key}) in (
      select ${key} from ${sql.table(table)} where generation = ${generation} limit ${SUMMED_AT_ONCE})`.execute(
    database,
  );
  return Number(numAffectedRows ?? 0n);
}

const PARTS = [
  'dmarc_records',
  'dmarc_tls_policies',
  'dmarc_tls_failures',
  'dmarc_failures',
  'dmarc_staging',
] as const satisfies (keyof DmarcTables)[];
/** The sums, and their keys beside the generation. */
const SUMS: Partial<Record<keyof DmarcTables, string[]>> = {
  dmarc_reported: ['domain'],
  dmarc_reporters: ['domain', 'organization'],
  dmarc_domain_days: ['domain', 'day'],
  dmarc_days: ['domain', 'day', 'service', 'disposition', 'dkim', 'spf', 'ruled_by'],
  dmarc_months: ['domain', 'month', 'service', 'disposition', 'dkim', 'spf', 'ruled_by'],
  dmarc_tls_days: ['domain', 'day'],
  dmarc_tls_results: ['domain', 'day', 'result', 'receiving_host'],
  dmarc_source_days: ['domain', 'source', 'day', 'service'],
  dmarc_source_failures: ['domain', 'source', 'day', 'ruled_by', 'disposition'],
  dmarc_sources: ['domain', 'source'],
  dmarc_service_sources: ['domain', 'service', 'source'],
};

async function byState(database: Database, state: 'current' | 'building' | 'old'): Promise<Generation[]> {
  const rows = await database
    .selectFrom('dmarc_generations')
    .selectAll()
    .where('state', '=', state)
    .orderBy('number')
    .execute();
  return rows.map(toGeneration);
}

async function setState(database: Database, number: number, state: 'old'): Promise<void> {
  await database.updateTable('dmarc_generations').set({ state }).where('number', '=', number).execute();
}

const toGeneration = (row: Selectable<DmarcTables['dmarc_generations']>): Generation => ({
  number: row.number,
  state: row.state as Generation['state'],
  parser: row.parser,
  startedAt: row.started_at,
});
