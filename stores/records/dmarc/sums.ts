/**
 * The sums that pages are made of. What reports add to them is added up here, and written in the transaction that
 * publishes the reports, a row a key: reports of one batch mostly add to the same rows. Records of a large report that are
 * in the database already are added up there.
 *
 * A question about a year reads months and the days around them (`range.ts`); one about addresses reads what was ever
 * reported of each, and days of those alone that it cannot tell from that (`sources.ts`). No question reads records.
 */
import { sql, type RawBuilder } from 'kysely';
import { insertRows } from '../many.ts';
import type { Database } from '../tables.ts';
import type { NewReport } from './port.ts';
import { monthOf } from './range.ts';
import type { DmarcTables } from './tables.ts';
import { tlsResultsOf } from './tls-sums.ts';

/** Records of one service and result. */
export type Results = Pick<
  DmarcTables['dmarc_days'],
  'service' | 'disposition' | 'dkim' | 'spf' | 'ruled_by' | 'messages' | 'exempt' | 'records'
>;
/** A record, as far as the sums by address go. */
export type SourceResults = Pick<
  DmarcTables['dmarc_records'],
  'source' | 'service' | 'disposition' | 'dkim' | 'spf' | 'count' | 'exempt' | 'header_from'
>;

/** Rows of a TLS report, as far as the sums go. */
export interface TlsParts {
  policies: readonly Pick<DmarcTables['dmarc_tls_policies'], 'successful' | 'failed'>[];
  failures: Parameters<typeof tlsResultsOf>[0];
}

type About = Pick<NewReport, 'domain' | 'day'>;
/** What says which record a message was judged by. */
type Ruled = Pick<NewReport, 'domain' | 'policyDomain'>;

/**
 * What rules a message of the domain (RFC 9989, 4.7): `p`, or `sp` and `np` where the record has them, since it came in the
 * name of a subdomain, or the `other` record that a subdomain has for itself.
 */
export type RuledBy = 'p' | 'sp' | 'other';

/** @param headerFrom of a record */
export function ruledBy({ domain, policyDomain }: Ruled, headerFrom: string | null): RuledBy {
  if (policyDomain !== domain) return 'other';
  return headerFrom?.toLowerCase().endsWith(`.${domain}`) ? 'sp' : 'p';
}

/** The same of the column `header_from`. */
export function ruledByColumn({ domain, policyDomain }: Ruled): RawBuilder<string> {
  if (policyDomain !== domain) return sql`'other'`;
  const end = `.${domain}`;
  return sql`case when substr(lower(header_from), length(header_from) + 1 - cast(${end.length} as integer)) = ${end}
    then 'sp' else 'p' end`;
}

export interface Sums {
  /** What a report adds besides its records. */
  addReport(report: NewReport): void;
  addResults(report: About, results: readonly Results[]): void;
  addSources(report: About & Ruled, records: readonly SourceResults[]): void;
  addTls(report: About, parts: TlsParts): void;
  write(transaction: Database): Promise<void>;
}

export function newSums(generation: number): Sums {
  const reported = table('dmarc_reported');
  const reporters = table('dmarc_reporters');
  const domainDays = table('dmarc_domain_days');
  const days = table('dmarc_days');
  const months = table('dmarc_months');
  const sourceDays = table('dmarc_source_days');
  const failures = table('dmarc_source_failures');
  const serviceSources = table('dmarc_service_sources');
  const sources = table('dmarc_sources');
  const tlsDays = table('dmarc_tls_days');
  const tlsResults = table('dmarc_tls_results');
  const ofMail = [reported, reporters, domainDays, days, months, sourceDays, failures, serviceSources, sources];
  const tables = [...ofMail, tlsDays, tlsResults];
  const dayOf = (domain: string, day: string) =>
    domainDays.row(keyOf(domain, day), () => ({ generation, domain, day, reports: 0, ...NOTHING }));
  return {
    addReport({ kind, domain, day, policyDomain, policy, organization, receivedAt }) {
      const isOwn = kind === 'aggregate' && policyDomain === domain && policy !== null;
      const known = reported.row(domain, () => {
        return { generation, domain, reports: 0, last_received_at: receivedAt, policy: null, policy_day: null };
      });
      known.reports += 1;
      if (receivedAt > known.last_received_at) known.last_received_at = receivedAt;
      if (isOwn && day >= (known.policy_day ?? '')) [known.policy, known.policy_day] = [JSON.stringify(policy), day];
      if (kind !== 'aggregate') return;
      dayOf(domain, day).reports += 1;
      if (organization === null) return;
      const name = organizationKey(organization);
      const seen = { first_day: day, last_day: day };
      extend(
        reporters.row(keyOf(domain, name), () => ({ generation, domain, organization: name, ...seen })),
        day,
      );
    },
    addResults({ domain, day }, results) {
      if (results.length === 0) return;
      const month = monthOf(day);
      const ofDay = dayOf(domain, day);
      for (const { service, disposition, dkim, spf, ruled_by, messages, exempt, records } of results) {
        count(ofDay, { disposition, dkim, spf }, messages);
        const of = { service, disposition, dkim, spf, ruled_by, messages: 0, exempt: 0, records: 0 };
        const key = keyOf(disposition, dkim, spf, ruled_by, service);
        for (const row of [
          days.row(keyOf(domain, day, key), () => ({ generation, domain, day, ...of })),
          months.row(keyOf(domain, month, key), () => ({ generation, domain, month, ...of })),
        ]) {
          row.messages += messages;
          row.exempt += exempt;
          row.records += records;
        }
      }
    },
    addSources({ domain, day, policyDomain }, records) {
      const seen = { first_day: day, last_day: day, ...NOTHING };
      for (const { source, service, count: messages, exempt, header_from, ...result } of records) {
        if (service === '' && result.dkim !== 'pass' && result.spf !== 'pass') {
          const { disposition } = result;
          const ruled_by = ruledBy({ domain, policyDomain }, header_from);
          const failed = failures.row(keyOf(domain, source, day, ruled_by, disposition), () => {
            return { generation, domain, source, day, ruled_by, disposition, messages: 0, exempt: 0 };
          });
          failed.messages += messages;
          failed.exempt += messages * exempt;
        }
        const key = keyOf(domain, source, service);
        const ofDay = sourceDays.row(keyOf(day, key), () => ({ generation, domain, source, day, service, ...NOTHING }));
        const ofService = serviceSources.row(key, () => ({ generation, domain, service, source, ...seen }));
        const ever = sources.row(keyOf(domain, source), () => ({ generation, domain, source, service, ...seen }));
        for (const row of [ofDay, ofService, ever]) count(row, result, messages);
        if (isNewer(service, day, ever)) ever.service = service;
        extend(ofService, day);
        extend(ever, day);
      }
    },
    addTls({ domain, day }, { policies, failures }) {
      const ofDay = tlsDays.row(keyOf(domain, day), () => {
        return { generation, domain, day, reports: 0, successful: 0, failed: 0 };
      });
      ofDay.reports += 1;
      for (const { successful, failed } of policies) {
        ofDay.successful += successful;
        ofDay.failed += failed;
      }
      for (const { result, receiving_host, sessions } of tlsResultsOf(failures)) {
        const of = { generation, domain, day, result, receiving_host, sessions: 0 };
        tlsResults.row(keyOf(domain, day, result, receiving_host), () => of).sessions += sessions;
      }
    },
    async write(transaction) {
      for (const { name, rows } of tables) await insertRows(transaction, name, rows() as never, ON_CONFLICT[name]);
    },
  };
}

interface SumTable<Name extends keyof DmarcTables> {
  name: Name;
  /** The row of a key, made where it is not there yet. */
  row(key: string, make: () => DmarcTables[Name]): DmarcTables[Name];
  /** In the order of the keys, near which a database writes them. */
  rows(): DmarcTables[Name][];
}

function table<Name extends keyof typeof ON_CONFLICT>(name: Name): SumTable<Name> {
  const rows = new Map<string, DmarcTables[Name]>();
  return {
    name,
    row(key, make) {
      let row = rows.get(key);
      if (!row) rows.set(key, (row = make()));
      return row;
    },
    rows: () => [...rows].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, row]) => row),
  };
}

/** Free text is the last of them, if any: no two keys are one. */
const keyOf = (...parts: string[]): string => parts.join('\0');

const NOTHING = { messages: 0, passed: 0, dkim: 0, spf: 0, quarantined: 0, rejected: 0 };

function count(
  row: typeof NOTHING,
  { disposition, dkim, spf }: Pick<Results, 'disposition' | 'dkim' | 'spf'>,
  messages: number,
): void {
  row.messages += messages;
  if (dkim === 'pass' || spf === 'pass') row.passed += messages;
  if (dkim === 'pass') row.dkim += messages;
  if (spf === 'pass') row.spf += messages;
  if (disposition === 'quarantine') row.quarantined += messages;
  if (disposition === 'reject') row.rejected += messages;
}

function extend(row: { first_day: string; last_day: string }, day: string): void {
  if (day < row.first_day) row.first_day = day;
  if (day > row.last_day) row.last_day = day;
}

/** The service of an address is the one that was seen last; of one day the last by name. `NEWER_SERVICE` is the same. */
const isNewer = (service: string, day: string, known: { service: string; last_day: string }): boolean =>
  service !== '' && (day > known.last_day || (day === known.last_day && service > known.service));

/** As much of a reporter's name as it is told apart by: PostgreSQL takes 2,700 bytes into an index. */
const ORGANIZATION_CHARACTERS = 255;
const organizationKey = (name: string): string => [...name].slice(0, ORGANIZATION_CHARACTERS).join('');
/** The same of a column. */
export const organizationOf = (column: string): RawBuilder<string> =>
  sql`substr(${sql.ref(column)}, 1, ${sql.lit(ORGANIZATION_CHARACTERS)})`;

/**
 * Adds some records of a large report to the sums by address, of which there may be as many as records. The database does
 * it with what it has: its rows never come here, where they would keep everything else waiting.
 * @param numbers those after the first, up to the last
 */
export async function addStoredSources(
  transaction: Database,
  { id, domain, day, policyDomain }: About & Ruled & Pick<NewReport, 'id'>,
  { after, upTo }: { after: number; upTo: number },
  generation: number,
): Promise<void> {
  const records = sql`from dmarc_records
    where generation = ${generation} and report = ${id} and number > ${after} and number <= ${upTo}`;
  const number = sql.lit(generation);
  const written = (table: keyof typeof ON_CONFLICT) => sql`on conflict ${sql.raw(ON_CONFLICT[table])}`;
  const ruled = ruledByColumn({ domain, policyDomain });
  // In the order of the key, near which a database writes.
  await sql`
    insert into dmarc_source_days (generation, domain, source, day, service, ${NAMES})
    select ${number}, ${domain}, source, ${day}, service, ${SUMS}
    ${records} group by source, service order by source, service
    ${written('dmarc_source_days')}`.execute(transaction);
  await sql`
    insert into dmarc_source_failures (generation, domain, source, day, ruled_by, disposition, messages, exempt)
    select ${number}, ${domain}, source, ${day}, ruled_by, disposition, sum("count"), sum("count" * exempt)
    from (select source, ${ruled} as ruled_by, disposition, "count", exempt
      ${records} and service = '' and dkim <> 'pass' and spf <> 'pass') as failed
    group by source, ruled_by, disposition order by source, ruled_by, disposition
    ${written('dmarc_source_failures')}`.execute(transaction);
  await sql`
    insert into dmarc_service_sources (generation, domain, service, source, first_day, last_day, ${NAMES})
    select ${number}, ${domain}, service, source, ${day}, ${day}, ${SUMS}
    ${records} group by service, source order by service, source
    ${written('dmarc_service_sources')}`.execute(transaction);
  await sql`
    insert into dmarc_sources (generation, domain, source, service, first_day, last_day, ${NAMES})
    select ${number}, ${domain}, source, max(service), ${day}, ${day}, ${SUMS}
    ${records} group by source order by source
    ${written('dmarc_sources')}`.execute(transaction);
}

const COUNTS = ['messages', 'passed', 'dkim', 'spf', 'quarantined', 'rejected'];
const NAMES = sql.join(COUNTS.map((name) => sql.ref(name)));
/** @param condition of ours, never of a reporter's */
const sumWhere = (condition: string) => sql.raw(`sum(case when ${condition} then "count" else 0 end)`);
/** In the order of `COUNTS`. */
const SUMS = sql.join([
  sql`sum("count")`,
  sumWhere(`dkim = 'pass' or spf = 'pass'`),
  sumWhere(`dkim = 'pass'`),
  sumWhere(`spf = 'pass'`),
  sumWhere(`disposition = 'quarantine'`),
  sumWhere(`disposition = 'reject'`),
]);

const chosen = (table: string, name: string, condition: string) =>
  `${name} = case when ${condition} then excluded.${name} else ${table}.${name} end`;
const plus = (table: string, names: string[]) =>
  names.map((name) => `${name} = ${table}.${name} + excluded.${name}`).join(', ');
const earlier = (table: string, name: string) => chosen(table, name, `excluded.${name} < ${table}.${name}`);
const later = (table: string, name: string) => chosen(table, name, `excluded.${name} > ${table}.${name}`);
const seen = (table: string) => `${earlier(table, 'first_day')}, ${later(table, 'last_day')}`;

const NEWER_POLICY = `excluded.policy_day >= coalesce(dmarc_reported.policy_day, '')`;
const NEWER_SERVICE = `excluded.service <> '' and (excluded.last_day > dmarc_sources.last_day
  or (excluded.last_day = dmarc_sources.last_day and excluded.service > dmarc_sources.service))`;
const RESULTS = 'service, disposition, dkim, spf, ruled_by';

/** What is done about a sum that is there. The words are of ours, none of a reporter's. */
const ON_CONFLICT = {
  dmarc_reported: `(generation, domain) do update set ${plus('dmarc_reported', ['reports'])},
    ${later('dmarc_reported', 'last_received_at')},
    ${chosen('dmarc_reported', 'policy', NEWER_POLICY)}, ${chosen('dmarc_reported', 'policy_day', NEWER_POLICY)}`,
  dmarc_reporters: `(generation, domain, organization) do update set ${seen('dmarc_reporters')}`,
  dmarc_domain_days: `(generation, domain, day) do update set
    ${plus('dmarc_domain_days', ['reports', ...COUNTS])}`,
  dmarc_tls_days: `(generation, domain, day) do update set
    ${plus('dmarc_tls_days', ['reports', 'successful', 'failed'])}`,
  dmarc_tls_results: `(generation, domain, day, result, receiving_host) do update set
    ${plus('dmarc_tls_results', ['sessions'])}`,
  dmarc_days: `(generation, domain, day, ${RESULTS}) do update set
    ${plus('dmarc_days', ['messages', 'exempt', 'records'])}`,
  dmarc_months: `(generation, domain, month, ${RESULTS}) do update set
    ${plus('dmarc_months', ['messages', 'exempt', 'records'])}`,
  dmarc_source_days: `(generation, domain, source, day, service) do update set
    ${plus('dmarc_source_days', COUNTS)}`,
  dmarc_source_failures: `(generation, domain, source, day, ruled_by, disposition) do update set
    ${plus('dmarc_source_failures', ['messages', 'exempt'])}`,
  dmarc_service_sources: `(generation, domain, service, source) do update set
    ${seen('dmarc_service_sources')}, ${plus('dmarc_service_sources', COUNTS)}`,
  dmarc_sources: `(generation, domain, source) do update set
    ${chosen('dmarc_sources', 'service', NEWER_SERVICE)},
    ${seen('dmarc_sources')}, ${plus('dmarc_sources', COUNTS)}`,
} satisfies Partial<Record<keyof DmarcTables, string>>;
