/**
 * Publishes reports. A report is there with all its records and sums, or not at all: the transaction that inserts its row
 * adds to the sums. Those that are asked for while others are being written go into one transaction (`together.ts`): most
 * have a few records, and what a transaction costs besides is many times what they do. Of a large one the records are
 * written ahead in batches and seen by nobody until then, and the sums by address follow in batches too (`staged.ts`):
 * nobody else waits long for the lock.
 */
import { TemporaryError } from '../../../protocols/errors.ts';
import { among, insertRows } from '../many.ts';
import { timeNow, type Database } from '../tables.ts';
import { together } from '../together.ts';
import { holdReports } from './hold.ts';
import type { DmarcReport, DmarcReportRecords, NewReport, NumberedRecord, Publication, ReportContent } from './port.ts';
import { toFailureRow, toRecordRow, toReportRow, toTlsRows } from './rows.ts';
import {
  finishSums,
  gatherStaged,
  markPublished,
  removeStaged,
  stagedOf,
  SUMMED_AT_ONCE,
  totalsOf,
  type Staged,
} from './staged.ts';
import { addStoredSources, newSums, ruledBy, type Results } from './sums.ts';
import type { DmarcTables } from './tables.ts';

/** Records of one transaction ahead of a large report: some milliseconds. */
const STAGED_AT_ONCE = 1_000;
/** Reports of one transaction: a hundredth of what it costs besides is next to nothing, and more are late for no gain. */
const REPORTS_AT_ONCE = 100;
/** Characters of their rows: they are in memory twice while they are written, and a TLS report alone may have MBs. */
const CHARACTERS_AT_ONCE = 4_000_000;

export function dmarcReportRecords(database: Database): DmarcReportRecords {
  const publishOne = together((batch: readonly Ready[]) => publishAll(database, batch), fits);
  /** A report of which records were written ahead, or which is too large for one transaction. */
  const publishStaged = async (report: NewReport, rest: NumberedRecord[], generation: number): Promise<Publication> => {
    for (let from = 0; from < rest.length; from += STAGED_AT_ONCE)
      await stage(database, report, rest.slice(from, from + STAGED_AT_ONCE), generation);
    const staged = await gatherStaged(database, report, generation);
    const published = await publishOne({ report, generation, rows: {}, ...staged, staged });
    if (!published) throw new Error(`what was written ahead of report ${report.id} was not looked at`);
    if (published.id === report.id) await finishSums(database, report.id, generation);
    await removeStaged(database, report.id, generation);
    return published;
  };
  return {
    find: async (identity, generation) => (await findAll(database, [identity], generation)).get(identity),
    stage: (report, records, generation) => stage(database, report, records, generation),
    async publish(report, content, generation) {
      const published = isWhole(content) ? await publishOne(toReady(report, content, generation)) : undefined;
      return published ?? publishStaged(report, content.kind === 'aggregate' ? content.records : [], generation);
    },
    discard: (id, generation) => removeStaged(database, id, generation),
    async expireStaged(time) {
      const old = await database
        .selectFrom('dmarc_staging')
        .select(['generation', 'report'])
        .where('staged_at', '<', time)
        .where('summed', 'is', null)
        .execute();
      for (const { generation, report } of old) await removeStaged(database, report, generation, time);
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

/** Whether all of it is here and fits into one transaction: so it is of nearly every report. */
const isWhole = (content: ReportContent): boolean =>
  content.kind !== 'aggregate' || ((content.records[0]?.number ?? 1) === 1 && content.records.length <= SUMMED_AT_ONCE);

/** A report as it is written: its rows, and what they add to the sums. */
interface Ready extends Pick<DmarcReport, 'records' | 'messages' | 'passed'> {
  report: NewReport;
  generation: number;
  rows: Rows;
  results: Results[];
  /** Its records were written ahead. */
  staged?: Staged;
}

type Rows = { [Table in (typeof PARTS)[number]]?: DmarcTables[Table][] };
const PARTS = ['dmarc_records', 'dmarc_tls_policies', 'dmarc_tls_failures', 'dmarc_failures'] as const;

function toReady(report: NewReport, content: ReportContent, generation: number): Ready {
  const common = { report, generation, results: [] };
  if (content.kind === 'failure') {
    const row = toFailureRow(report, content.failure, generation);
    return { ...common, rows: { dmarc_failures: [row] }, records: 1, messages: row.incidents, passed: 0 };
  }
  if (content.kind === 'tls') {
    const { policies, failures } = toTlsRows(report, content.policies, generation);
    const passed = policies.reduce((sum, one) => sum + one.successful, 0);
    const messages = policies.reduce((sum, one) => sum + one.failed, passed);
    const rows = { dmarc_tls_policies: policies, dmarc_tls_failures: failures };
    return { ...common, rows, records: policies.length, messages, passed };
  }
  const rows = content.records.map((one) => toRecordRow(report, one, generation));
  const results = rows.map(({ service, disposition, dkim, spf, count, exempt, header_from }): Results => {
    const ruled_by = ruledBy(report, header_from);
    return { service, disposition, dkim, spf, ruled_by, messages: count, exempt: count * exempt, records: 1 };
  });
  return { ...common, rows: { dmarc_records: rows }, results, ...totalsOf(results) };
}

/** One whose records were written ahead is alone: its transaction is as large as they come. */
function fits(batch: readonly Ready[], next: Ready): boolean {
  const all = [...batch, next];
  if (all.length > REPORTS_AT_ONCE) return false;
  if (all.some(({ generation, staged }) => staged !== undefined || generation !== next.generation)) return false;
  const size = { rows: 0, characters: 0 };
  for (const { rows } of all)
    for (const row of PARTS.flatMap((table): object[] => rows[table] ?? [])) {
      size.rows += 1;
      for (const value of Object.values(row)) if (typeof value === 'string') size.characters += value.length;
    }
  return size.rows <= SUMMED_AT_ONCE && size.characters <= CHARACTERS_AT_ONCE;
}

/**
 * Publishes reports of one generation in one transaction, as if one came after the other.
 * @returns of each what became of it; undefined where an earlier try, of another build perhaps, wrote records of it ahead,
 *   so that it is not whole
 */
const publishAll = (database: Database, batch: readonly Ready[]): Promise<(Publication | undefined)[]> =>
  database.transaction().execute(async (transaction) => {
    const generation = batch[0]?.generation ?? NaN;
    await holdReports(transaction);
    await refuseOld(transaction, generation);
    const [identities, ids] = [batch.map(({ report }) => report.identity), batch.map(({ report }) => report.id)];
    const counting = await findAll(transaction, identities, generation);
    const ahead = await stagedOf(transaction, ids, generation);
    const fresh: Ready[] = [];
    const publications = batch.map((one): Publication | undefined => {
      const { id, sha256, identity } = one.report;
      const known = counting.get(identity);
      if (known) return knownAs(known, one.report);
      if (!one.staged && ahead.has(id)) return undefined;
      counting.set(identity, { id, sha256 });
      fresh.push(one);
      return { state: 'published', id };
    });
    await writeAll(transaction, fresh, generation);
    return publications;
  });

async function writeAll(transaction: Database, fresh: readonly Ready[], generation: number): Promise<void> {
  const sums = newSums(generation);
  for (const { report, rows, results, staged } of fresh) {
    if (staged) await markPublished(transaction, report.id, staged, generation);
    sums.addReport(report);
    sums.addResults(report, results);
    sums.addSources(report, rows.dmarc_records ?? []);
    if (report.kind === 'tls')
      sums.addTls(report, { policies: rows.dmarc_tls_policies ?? [], failures: rows.dmarc_tls_failures ?? [] });
  }
  for (const table of PARTS)
    await insertRows(
      transaction,
      table,
      fresh.flatMap(({ rows }) => (rows[table] ?? []) as DmarcTables[typeof table][]),
      'do nothing',
    );
  const publishedAt = timeNow();
  await insertRows(
    transaction,
    'dmarc_reports',
    fresh.map(({ report, records, messages, passed }) =>
      toReportRow(report, { records, messages, passed }, generation, publishedAt),
    ),
  );
  await sums.write(transaction);
  for (const { report, staged } of fresh)
    if (staged) await addStoredSources(transaction, report, { after: 0, upTo: SUMMED_AT_ONCE }, generation);
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
    const now = timeNow();
    // An attempt that goes on begins its time anew: what it finds there must not be removed under it.
    await transaction
      .insertInto('dmarc_staging')
      .values({ generation, report: report.id, staged_at: now, summed: null })
      .onConflict((conflict) => conflict.columns(['generation', 'report']).doUpdateSet({ staged_at: now }))
      .execute();
    const rows = records.map((one) => toRecordRow(report, one, generation));
    await insertRows(transaction, 'dmarc_records', rows, 'do nothing');
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

type Known = Pick<DmarcReport, 'id' | 'sha256'>;

/** Those that count under the identities. */
async function findAll(database: Database, identities: string[], generation: number): Promise<Map<string, Known>> {
  const rows = await database
    .selectFrom('dmarc_reports')
    .select(['id', 'sha256', 'identity'])
    .where('generation', '=', generation)
    .where(among(database, 'identity', identities))
    .execute();
  return new Map(rows.map(({ identity, ...known }) => [identity, known]));
}
