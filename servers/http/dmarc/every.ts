/** Whole tables, a page of the store at a time: for CSV files, of the API and of the pages. */
import type { DmarcReport } from '../../../stores/records/dmarc/port.ts';
import type {
  DmarcQueries,
  StoredRecord,
  StoredTlsFailure,
  TlsCursor,
} from '../../../stores/records/dmarc/queries-port.ts';
import { everyPage } from '../csv.ts';

/** Rows at a time: what the store answers at most. */
const ROWS = 500;

type Asked<Query extends 'reports' | 'records'> = Omit<Parameters<DmarcQueries[Query]>[0], 'limit'>;

/** Newest first, from after `before`. */
export const everyReport = (queries: DmarcQueries, asked: Asked<'reports'>): AsyncIterable<DmarcReport[]> =>
  everyPage(ROWS, (last) => queries.reports({ ...asked, before: last?.id ?? asked.before, limit: ROWS }));

/** Records of a source, newest report first, from after `before`. */
export const everyRecord = (queries: DmarcQueries, asked: Asked<'records'>): AsyncIterable<StoredRecord[]> =>
  everyPage(ROWS, (last) => queries.records({ ...asked, before: last ?? asked.before, limit: ROWS }));

/** Records of a report in its order, from after the number. */
export const everyReportRecord = (queries: DmarcQueries, id: string, after: number): AsyncIterable<StoredRecord[]> =>
  everyPage(ROWS, (last) => queries.reportRecords(id, last?.number ?? after, ROWS));

/** Failures of a TLS report in its order, from after the place. */
export const everyTlsFailure = (
  queries: DmarcQueries,
  id: string,
  after?: TlsCursor,
): AsyncIterable<StoredTlsFailure[]> => everyPage(ROWS, (last) => queries.reportTlsFailures(id, last ?? after, ROWS));
