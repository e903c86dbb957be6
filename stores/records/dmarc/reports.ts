/**
 * Publishes reports. A report is there with all its records and sums, or not at all: the transaction that inserts its row
 * adds to the sums. Of a large one the records are written ahead in batches and seen by nobody until then, and its sums
 * follow in batches too (`staged.ts`): nobody else waits long for the lock.
 */
import { TemporaryError } from '../../../protocols/errors.ts';
import { timeNow, type Database } from '../tables.ts';
import { holdReports } from './hold.ts';
import { insertMissing } from './insert.ts';
import type { DmarcReport, DmarcReportRecords, NewReport, NumberedRecord, Publication, ReportContent } from './port.ts';
import { toRecordRow, toReportRow, toTlsRows } from './rows.ts';
import { finishSums, gatherStaged, markPublished, removeStaged, SUMMED_AT_ONCE } from './staged.ts';
import { addRecords, addReport } from './sums.ts';

/** Records of one transaction ahead of a large report: some milliseconds. */
const STAGED_AT_ONCE = 1_000;

export function dmarcReportRecords(database: Database): DmarcReportRecords {
  return {
    find: (identity, generation) => find(database, identity, generation),
    stage: (report, records, generation) => stage(database, report, records, generation),
    publish: (report, content, generation) =>
      content.kind === 'aggregate' && !isWhole(content)
        ? publishStaged(database, report, content.records, generation)
        : publishWhole(database, report, content, generation),
    discard: (id, generation) => removeStaged(database, id, generation),
    async expireStaged(time) {
      const old = await database
        .selectFrom('dmarc_staging')
        .select(['generation', 'report'])
        .where('staged_at', '<', time)
        .where('summed', 'is', null)
        .execute();
      for (const { generation, report } of old) await removeStaged(database, report, generation);
      const unfinished = await database
        .selectFrom('dmarc_staging')
        .select(['generation', 'report'])
        .where('summed', 'is not', null)
        .execute();
      for (const { generation, report } of unfinished) await finishSums(database, report, generation);
      return old.length;
    },
  };
}

type Aggregate = Extract<ReportContent, { kind: 'aggregate' }>;

/** Whether all of it is here and fits into one transaction: so it is of nearly every report. */
const isWhole = ({ records }: Aggregate): boolean => records[0]?.number === 1 && records.length <= SUMMED_AT_ONCE;

const publishWhole = (database: Database, report: NewReport, content: ReportContent, generation: number) =>
  database.transaction().execute(async (transaction) => {
    await holdReports(transaction);
    await refuseOld(transaction, generation);
    const known = await find(transaction, report.identity, generation);
    if (known) return knownAs(known, report);
    const counts = await insertContent(transaction, report, content, generation);
    await insertReport(transaction, report, counts, generation);
    return { state: 'published' as const, id: report.id };
  });

/** A report of which records were written ahead, or which is too large for one transaction. */
async function publishStaged(
  database: Database,
  report: NewReport,
  rest: NumberedRecord[],
  generation: number,
): Promise<Publication> {
  for (let from = 0; from < rest.length; from += STAGED_AT_ONCE)
    await stage(database, report, rest.slice(from, from + STAGED_AT_ONCE), generation);
  const staged = await gatherStaged(database, report, generation);
  const published = await database.transaction().execute(async (transaction) => {
    await holdReports(transaction);
    await refuseOld(transaction, generation);
    const known = await find(transaction, report.identity, generation);
    if (known) return knownAs(known, report);
    await markPublished(transaction, report.id, staged, generation);
    await insertReport(transaction, report, staged, generation);
    await addRecords(transaction, report, { after: 0, upTo: SUMMED_AT_ONCE }, 1, generation);
    return { state: 'published' as const, id: report.id };
  });
  if (published.id === report.id) await finishSums(database, report.id, generation);
  await removeStaged(database, report.id, generation);
  return published;
}

function knownAs(known: Pick<DmarcReport, 'id' | 'sha256'>, { id, sha256 }: NewReport): Publication {
  if (known.id === id) return { state: 'published', id };
  return { state: known.sha256 === sha256 ? 'repeated' : 'conflicting', id: known.id };
}

const stage = (
  database: Database,
  report: Pick<NewReport, 'id' | 'domain'>,
  records: NumberedRecord[],
  generation: number,
): Promise<void> =>
  database.transaction().execute(async (transaction) => {
    const staged = { generation, report: report.id, staged_at: timeNow(), summed: null };
    await insertMissing(transaction, 'dmarc_staging', [staged]);
    const rows = records.map((one) => toRecordRow(report, one, generation));
    await insertMissing(transaction, 'dmarc_records', rows);
  });

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

type Counted = Pick<DmarcReport, 'records' | 'messages' | 'passed'>;

async function insertReport(
  transaction: Database,
  report: NewReport,
  { records, messages, passed }: Counted,
  generation: number,
): Promise<void> {
  const row = toReportRow(report, { records, messages, passed }, generation, timeNow());
  await transaction.insertInto('dmarc_reports').values(row).execute();
  await addReport(transaction, report, generation);
}

async function insertContent(
  transaction: Database,
  report: NewReport,
  content: ReportContent,
  generation: number,
): Promise<Counted> {
  if (content.kind === 'aggregate') return insertRecords(transaction, report, content, generation);
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

async function insertRecords(
  transaction: Database,
  report: NewReport,
  { records }: Aggregate,
  generation: number,
): Promise<Counted> {
  const rows = records.map((one) => toRecordRow(report, one, generation));
  await insertMissing(transaction, 'dmarc_records', rows);
  await addRecords(transaction, report, { after: 0, upTo: SUMMED_AT_ONCE }, 1, generation);
  const passed = rows.filter(({ dkim, spf }) => dkim === 'pass' || spf === 'pass');
  const messagesOf = (some: typeof rows) => some.reduce((sum, { count }) => sum + count, 0);
  return { records: rows.length, messages: messagesOf(rows), passed: messagesOf(passed) };
}
