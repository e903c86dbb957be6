/**
 * Records that were written ahead of a large report: what is done about them goes in bounded transactions, so that no
 * report of a stranger keeps the mail waiting for the lock. The row of the report is the switch: before it nothing of
 * them counts; after it all of them will, whoever goes on with the sums.
 */
import { setImmediate } from 'node:timers/promises';
import { sql } from 'kysely';
import { TemporaryError } from '../../../protocols/errors.ts';
import { among } from '../many.ts';
import type { Database } from '../tables.ts';
import { holdReports } from './hold.ts';
import type { DmarcReport, NewReport } from './port.ts';
import { addStoredSources, ruledByColumn, type Results } from './sums.ts';

/** Records whose sums are added up in one transaction, and that are renamed or removed in one. */
export const SUMMED_AT_ONCE = 5_000;

/** What the staged records of a report come to, in all and by service and result; and the last of their numbers. */
export interface Staged extends Pick<DmarcReport, 'records' | 'messages' | 'passed'> {
  results: Results[];
  last: number;
}

/**
 * Gives all of them the domain that the report turned out to be about, and adds them up.
 * @throws TemporaryError `records.unavailable`: some of them are gone
 */
export async function gatherStaged(
  database: Database,
  { id, domain, policyDomain }: Pick<NewReport, 'id' | 'domain' | 'policyDomain'>,
  generation: number,
): Promise<Staged> {
  const last = await lastNumber(database, id, generation);
  const results = new Map<string, Results>();
  for (let after = 0; after < last; after += SUMMED_AT_ONCE) {
    const rows = await partOf(database, id, after, generation)
      .select([
        ...['service' as const, 'disposition' as const, 'dkim' as const, 'spf' as const],
        ruledByColumn({ domain, policyDomain }).as('ruled_by'),
        sql<number>`cast(sum("count") as bigint)`.as('messages'),
        sql<number>`cast(sum("count" * exempt) as bigint)`.as('exempt'),
        sql<number>`count(*)`.as('records'),
        sql<number>`sum(case when domain <> ${domain} then 1 else 0 end)`.as('others'),
      ])
      // By its place: the domain in it is a value, and PostgreSQL takes two of the same for two.
      .groupBy(sql`1, 2, 3, 4, 5`)
      .execute();
    if (rows.some(({ others }) => others > 0)) await nameRecords(database, { id, domain }, after, generation);
    for (const { others: _, ...row } of rows) {
      const key = JSON.stringify([row.service, row.disposition, row.dkim, row.spf, row.ruled_by]);
      const known = results.get(key);
      results.set(key, known ? { ...row, ...added(known, row) } : row);
    }
    // SQLite answers at once, and heartbeats would wait for all of a large report.
    await setImmediate();
  }
  const totals = totalsOf([...results.values()]);
  // Some were removed since, as those of an attempt that was given up: the next one writes them again.
  if (totals.records !== last) throw removedMeanwhile(id);
  return { ...totals, results: [...results.values()], last };
}

const removedMeanwhile = (report: string): TemporaryError =>
  new TemporaryError({
    code: 'records.unavailable',
    message: 'What was written ahead of a report was removed before it was published.',
    fix: 'Nothing: it is tried again by itself.',
    details: { report },
  });

const added = (one: Results, other: Results): Pick<Results, 'messages' | 'exempt' | 'records'> => ({
  messages: one.messages + other.messages,
  exempt: one.exempt + other.exempt,
  records: one.records + other.records,
});

/** What the row of a report says of its records. */
export function totalsOf(results: readonly Results[]): Pick<DmarcReport, 'records' | 'messages' | 'passed'> {
  const totals = { records: 0, messages: 0, passed: 0 };
  for (const { dkim, spf, messages, records } of results) {
    totals.records += records;
    totals.messages += messages;
    if (dkim === 'pass' || spf === 'pass') totals.passed += messages;
  }
  return totals;
}

const partOf = (database: Database, report: string, after: number, generation: number) =>
  database
    .selectFrom('dmarc_records')
    .where('generation', '=', generation)
    .where('report', '=', report)
    .where('number', '>', after)
    .where('number', '<=', after + SUMMED_AT_ONCE);

async function nameRecords(
  database: Database,
  { id, domain }: Pick<NewReport, 'id' | 'domain'>,
  after: number,
  generation: number,
): Promise<void> {
  await database
    .updateTable('dmarc_records')
    .set({ domain })
    .where('generation', '=', generation)
    .where('report', '=', id)
    .where('number', '>', after)
    .where('number', '<=', after + SUMMED_AT_ONCE)
    .execute();
}

async function lastNumber(database: Database, report: string, generation: number): Promise<number> {
  const { last } = await database
    .selectFrom('dmarc_records')
    .select(({ fn }) => fn.max('number').as('last'))
    .where('generation', '=', generation)
    .where('report', '=', report)
    .executeTakeFirstOrThrow();
  return (last as number | null) ?? 0;
}

/**
 * In the transaction that publishes the report and adds up the first part: the sums of the others are to follow.
 * @throws TemporaryError `records.unavailable`: they are not what was gathered
 */
export async function markPublished(
  transaction: Database,
  report: string,
  { records, last }: Staged,
  generation: number,
): Promise<void> {
  if (records === 0) return;
  const { numUpdatedRows } = await transaction
    .updateTable('dmarc_staging')
    .set({ summed: SUMMED_AT_ONCE })
    .where('generation', '=', generation)
    .where('report', '=', report)
    .executeTakeFirst();
  if (numUpdatedRows === 1n && (await lastNumber(transaction, report, generation)) === last) return;
  throw removedMeanwhile(report);
}

/** Adds up what is left of a published report; whoever finds it unfinished may go on. */
export async function finishSums(database: Database, report: string, generation: number): Promise<void> {
  for (let isDone = false; !isDone;)
    isDone = await database.transaction().execute(async (transaction) => {
      await holdReports(transaction);
      const staged = await stagingOf(transaction, report, generation);
      if (!staged || staged.summed === null) return true;
      const published = await publishedOf(transaction, report, generation);
      const upTo = staged.summed + SUMMED_AT_ONCE;
      const last = await lastNumber(transaction, report, generation);
      if (published && staged.summed < last)
        await addStoredSources(transaction, published, { after: staged.summed, upTo }, generation);
      if (published && upTo < last) {
        await transaction
          .updateTable('dmarc_staging')
          .set({ summed: upTo })
          .where('generation', '=', generation)
          .where('report', '=', report)
          .execute();
        return false;
      }
      await removeRow(transaction, report, generation);
      return true;
    });
}

/** Whether sums of a generation are still to follow: it cannot take over as long. */
export async function unfinishedIn(database: Database, generation: number): Promise<string[]> {
  const rows = await database
    .selectFrom('dmarc_staging')
    .select('report')
    .where('generation', '=', generation)
    .where('summed', 'is not', null)
    .execute();
  return rows.map(({ report }) => report);
}

/**
 * Removes what was staged for a report that is not published. Of one that is, which a late attempt may have staged again
 * meanwhile, all stays.
 * @param before only what nothing was added to since that time
 */
export async function removeStaged(
  database: Database,
  report: string,
  generation: number,
  before?: string,
): Promise<void> {
  for (let isDone = false; !isDone;)
    isDone = await database.transaction().execute(async (transaction) => {
      await holdReports(transaction);
      const staged = await stagingOf(transaction, report, generation);
      if (!staged || staged.summed !== null) return true;
      if (before !== undefined && staged.staged_at >= before) return true;
      const published = await publishedOf(transaction, report, generation);
      if (!published && (await removeRecords(transaction, report, generation)) > 0) return false;
      await removeRow(transaction, report, generation);
      return true;
    });
}

/** Removes some of the records of a report, the last ones. Returns how many; 0 when there are none. */
export async function removeRecords(transaction: Database, report: string, generation: number): Promise<number> {
  const last = await lastNumber(transaction, report, generation);
  if (last === 0) return 0;
  const { numDeletedRows } = await transaction
    .deleteFrom('dmarc_records')
    .where('generation', '=', generation)
    .where('report', '=', report)
    .where('number', '>', last - SUMMED_AT_ONCE)
    .executeTakeFirst();
  return Number(numDeletedRows);
}

/** Those of the reports of which records were written ahead. */
export async function stagedOf(transaction: Database, ids: string[], generation: number): Promise<Set<string>> {
  const rows = await transaction
    .selectFrom('dmarc_staging')
    .select('report')
    .where('generation', '=', generation)
    .where(among(transaction, 'report', ids))
    .execute();
  return new Set(rows.map(({ report }) => report));
}

const stagingOf = (database: Database, report: string, generation: number) =>
  database
    .selectFrom('dmarc_staging')
    .select(['summed', 'staged_at'])
    .where('generation', '=', generation)
    .where('report', '=', report)
    .executeTakeFirst();

const publishedOf = (database: Database, report: string, generation: number) =>
  database
    .selectFrom('dmarc_reports')
    .select(['id', 'domain', 'day', 'policy_domain as policyDomain'])
    .where('generation', '=', generation)
    .where('id', '=', report)
    .executeTakeFirst();

async function removeRow(transaction: Database, report: string, generation: number): Promise<void> {
  await transaction
    .deleteFrom('dmarc_staging')
    .where('generation', '=', generation)
    .where('report', '=', report)
    .execute();
}
