/** Reports and records one by one, newest first, a page at a time. */
import type { FailureReport } from '../../../protocols/dmarc/failure.ts';
import { pageSize, type Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import type { DmarcAnswers, StoredRecord } from './queries-port.ts';
import { fromRecordRow, fromReportRow } from './rows.ts';
import { tlsListQueries } from './tls-lists.ts';

type TlsLists = keyof ReturnType<typeof tlsListQueries>;

export function listQueries(
  database: Database,
): Pick<DmarcAnswers, 'records' | 'report' | 'reports' | 'reportRecords' | 'failures' | 'reportFailure' | TlsLists> {
  return {
    ...tlsListQueries(database),
    async records({ domain, source, from, to, failing, before, limit }) {
      let query = recordsOf(database)
        .where('records.domain', '=', domain)
        .where('records.source', '=', source)
        .orderBy('records.report', 'desc')
        .orderBy('records.number', 'desc')
        .limit(pageSize(limit));
      if (from !== undefined) query = query.where('reports.day', '>=', from);
      if (to !== undefined) query = query.where('reports.day', '<=', to);
      if (failing) query = query.where('records.dkim', '<>', 'pass').where('records.spf', '<>', 'pass');
      if (before !== undefined)
        query = query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple('records.report', 'records.number'), '<', tuple(before.reportId, before.number)),
        );
      return (await query.execute()).map(toStored);
    },
    async report(id) {
      const row = await database
        .selectFrom('dmarc_reports')
        .selectAll()
        .where('generation', '=', currentGeneration)
        .where('id', '=', id)
        .executeTakeFirst();
      return row && fromReportRow(row);
    },
    async reports({ domain, from, to, kind, before, limit }) {
      let query = database
        .selectFrom('dmarc_reports')
        .selectAll()
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .orderBy('id', 'desc')
        .limit(pageSize(limit));
      if (kind !== undefined) query = query.where('kind', '=', kind);
      if (from !== undefined) query = query.where('day', '>=', from);
      if (to !== undefined) query = query.where('day', '<=', to);
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.execute()).map(fromReportRow);
    },
    async reportRecords(id, after = 0, limit) {
      const query = recordsOf(database)
        .where('records.report', '=', id)
        .where('records.number', '>', after)
        .orderBy('records.number')
        .limit(pageSize(limit));
      return (await query.execute()).map(toStored);
    },
    async failures({ domain, before, limit }) {
      let query = failuresOf(database)
        .where('failures.domain', '=', domain)
        .orderBy('failures.report', 'desc')
        .limit(pageSize(limit));
      if (before !== undefined) query = query.where('failures.report', '<', before);
      return (await query.execute()).map(toFailure);
    },
    async reportFailure(id) {
      const row = await failuresOf(database).where('failures.report', '=', id).executeTakeFirst();
      return row && toFailure(row);
    },
  };
}

const failuresOf = (database: Database) =>
  database
    .selectFrom('dmarc_failures as failures')
    .innerJoin('dmarc_reports as reports', (join) =>
      join.onRef('reports.generation', '=', 'failures.generation').onRef('reports.id', '=', 'failures.report'),
    )
    .select(['failures.report', 'failures.details', 'reports.received_at', 'reports.organization'])
    .where('failures.generation', '=', currentGeneration);

const toFailure = (row: { report: string; details: string; received_at: string; organization: string | null }) => ({
  reportId: row.report,
  receivedAt: row.received_at,
  organization: row.organization,
  failure: JSON.parse(row.details) as Omit<FailureReport, 'warnings'>,
});

/** Of published reports: what is staged has no row there. */
const recordsOf = (database: Database) =>
  database
    .selectFrom('dmarc_records as records')
    .innerJoin('dmarc_reports as reports', (join) =>
      join.onRef('reports.generation', '=', 'records.generation').onRef('reports.id', '=', 'records.report'),
    )
    .selectAll('records')
    .select(['reports.day', 'reports.organization'])
    .where('records.generation', '=', currentGeneration);

type Row = Parameters<typeof fromRecordRow>[0] & { day: string; organization: string | null };

const toStored = (row: Row): StoredRecord => ({
  reportId: row.report,
  number: row.number,
  day: row.day,
  organization: row.organization,
  service: row.service,
  record: fromRecordRow(row),
});
