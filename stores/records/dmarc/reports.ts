/**
 * Publishes reports. A report is there with all its records and sums, or not at all: the transaction that inserts its row
 * adds to the sums. Records of a large one are written ahead in batches and are seen by nobody until then.
 */
import { sql } from 'kysely';
import { TemporaryError } from '../../../protocols/errors.ts';
import { hold } from '../locks.ts';
import { timeNow, type Database } from '../tables.ts';
import { insertMissing } from './insert.ts';
import type { DmarcReport, DmarcReportRecords, NewReport, ReportContent } from './port.ts';
import { toRecordRow, toReportRow, toTlsRows } from './rows.ts';
import { addToSums } from './sums.ts';

/**
 * One publication, or change of the generation, at a time. What they write is small but for one report in thousands, and
 * two that add to the same sums would wait for each other anyway.
 */
export const holdReports = (transaction: Database): Promise<void> => hold(transaction, 'dmarc');

export function dmarcReportRecords(database: Database): DmarcReportRecords {
  return {
    find: (identity, generation) => find(database, identity, generation),
    stage: (report, records, generation) =>
      database.transaction().execute(async (transaction) => {
        await insertMissing(transaction, 'dmarc_staging', [{ generation, report: report.id, staged_at: timeNow() }]);
        await insertMissing(
          transaction,
          'dmarc_records',
          records.map((one) => toRecordRow(report, one, generation)),
        );
      }),
    publish: (report, content, generation) =>
      database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        await refuseOld(transaction, generation);
        const known = await find(transaction, report.identity, generation);
        if (!known) {
          await insert(transaction, report, content, generation);
          return { state: 'published' as const, id: report.id };
        }
        await removeStaged(transaction, report.id, generation);
        if (known.id === report.id) return { state: 'published' as const, id: known.id };
        return { state: known.sha256 === report.sha256 ? 'repeated' : 'conflicting', id: known.id };
      }),
    discard: (id, generation) =>
      database.transaction().execute(async (transaction) => {
        await holdReports(transaction);
        await removeStaged(transaction, id, generation);
      }),
    async expireStaged(time) {
      const old = await database
        .selectFrom('dmarc_staging')
        .select(['generation', 'report'])
        .where('staged_at', '<', time)
        .execute();
      for (const { generation, report } of old)
        await database.transaction().execute(async (transaction) => {
          await holdReports(transaction);
          await removeStaged(transaction, report, generation);
        });
      return old.length;
    },
  };
}

/** @throws TemporaryError `dmarc.generation_over` */
async function refuseOld(transaction: Database, generation: number): Promise<void> {
  const row = await transaction
    .selectFrom('dmarc_generations')
    .select('number')
    .where('number', '=', generation)
    .where('state', 'in', ['current', 'building'])
    .executeTakeFirst();
  if (!row)
    throw new TemporaryError({
      code: 'dmarc.generation_over',
      message: 'The reports were read anew while this one was written.',
      fix: 'Nothing: it is tried again by itself.',
      details: { generation },
    });
}

async function find(
  database: Database,
  identity: string,
  generation: number,
): Promise<Pick<DmarcReport, 'id' | 'sha256'> | undefined> {
  return database
    .selectFrom('dmarc_reports')
    .select(['id', 'sha256'])
    .where('generation', '=', generation)
    .where('identity', '=', identity)
    .executeTakeFirst();
}

async function insert(
  transaction: Database,
  report: NewReport,
  content: ReportContent,
  generation: number,
): Promise<void> {
  const counts = await insertContent(transaction, report, content, generation);
  await transaction
    .insertInto('dmarc_reports')
    .values(toReportRow(report, counts, generation, timeNow()))
    .execute();
  await transaction
    .deleteFrom('dmarc_staging')
    .where('generation', '=', generation)
    .where('report', '=', report.id)
    .execute();
}

type Counted = Pick<DmarcReport, 'records' | 'messages' | 'passed'>;

async function insertContent(
  transaction: Database,
  report: NewReport,
  content: ReportContent,
  generation: number,
): Promise<Counted> {
  if (content.kind === 'aggregate') {
    const rows = content.records.map((one) => toRecordRow(report, one, generation));
    await insertMissing(transaction, 'dmarc_records', rows);
    await nameStaged(transaction, report, generation);
    await addToSums(transaction, report, generation);
    return countRecords(transaction, report.id, generation);
  }
  if (content.kind === 'tls') {
    const { policies, failures } = toTlsRows(report, content.policies, generation);
    await insertMissing(transaction, 'dmarc_tls_policies', policies);
    await insertMissing(transaction, 'dmarc_tls_failures', failures);
    const successful = policies.reduce((sum, one) => sum + one.successful, 0);
    const failed = policies.reduce((sum, one) => sum + one.failed, 0);
    return { records: policies.length, messages: successful + failed, passed: successful };
  }
  const { failure } = content;
  await insertMissing(transaction, 'dmarc_failures', [
    {
      generation,
      report: report.id,
      domain: report.domain,
      source: failure.sourceIp,
      arrived_at: failure.arrivedAt,
      incidents: failure.incidents,
      details: JSON.stringify(failure),
    },
  ]);
  return { records: 1, messages: failure.incidents, passed: 0 };
}

/** What was staged for another domain, or before anybody knew whose report it is: all of its rows, or none. */
async function nameStaged(transaction: Database, { id, domain }: NewReport, generation: number): Promise<void> {
  const first = await transaction
    .selectFrom('dmarc_records')
    .select('domain')
    .where('generation', '=', generation)
    .where('report', '=', id)
    .orderBy('number')
    .limit(1)
    .executeTakeFirst();
  if (!first || first.domain === domain) return;
  await transaction
    .updateTable('dmarc_records')
    .set({ domain })
    .where('generation', '=', generation)
    .where('report', '=', id)
    .execute();
}

async function countRecords(transaction: Database, report: string, generation: number): Promise<Counted> {
  return transaction
    .selectFrom('dmarc_records')
    .select([
      sql<number>`count(*)`.as('records'),
      sql<number>`cast(coalesce(sum("count"), 0) as bigint)`.as('messages'),
      sql<number>`cast(coalesce(sum(case when dkim = 'pass' or spf = 'pass' then "count" else 0 end), 0) as bigint)`.as(
        'passed',
      ),
    ])
    .where('generation', '=', generation)
    .where('report', '=', report)
    .executeTakeFirstOrThrow();
}

/** A late attempt may have staged again what was published meanwhile: that stays. */
async function removeStaged(transaction: Database, report: string, generation: number): Promise<void> {
  const published = await transaction
    .selectFrom('dmarc_reports')
    .select('id')
    .where('generation', '=', generation)
    .where('id', '=', report)
    .executeTakeFirst();
  if (!published)
    await transaction
      .deleteFrom('dmarc_records')
      .where('generation', '=', generation)
      .where('report', '=', report)
      .execute();
  await transaction
    .deleteFrom('dmarc_staging')
    .where('generation', '=', generation)
    .where('report', '=', report)
    .execute();
}
