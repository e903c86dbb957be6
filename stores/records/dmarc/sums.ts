/**
 * The sums that pages are made of. They are added up from the rows of the records in the transaction that publishes them,
 * by the database: a report of 500,000 records needs no memory here, and what is summed is what is stored.
 *
 * A question about a year reads months and the days around them (`range.ts`); one about addresses reads what was ever
 * reported of each, and days of those alone that it cannot tell from that (`sources.ts`). No question reads records.
 */
import { sql, type RawBuilder } from 'kysely';
import type { Database } from '../tables.ts';
import type { NewReport } from './port.ts';
import { monthOf } from './range.ts';

/** Some of the records of a report, by their numbers: those after the first, up to the last. */
export interface Part {
  after: number;
  upTo: number;
}

/** What every aggregate report adds besides its records, and what every report of another kind does. */
export async function addReport(
  transaction: Database,
  { kind, domain, day, policyDomain, policy, organization, receivedAt }: NewReport,
  generation: number,
): Promise<void> {
  const own = kind === 'aggregate' && policyDomain === domain && policy !== null;
  await sql`
    insert into dmarc_reported (generation, domain, reports, last_received_at, policy, policy_day)
    values (${generation}, ${domain}, 1, ${receivedAt}, ${own ? JSON.stringify(policy) : null}, ${own ? day : null})
    on conflict (generation, domain) do update set
      reports = dmarc_reported.reports + 1,
      ${later('dmarc_reported', 'last_received_at')},
      policy = case when excluded.policy_day >= coalesce(dmarc_reported.policy_day, '')
        then excluded.policy else dmarc_reported.policy end,
      policy_day = case when excluded.policy_day >= coalesce(dmarc_reported.policy_day, '')
        then excluded.policy_day else dmarc_reported.policy_day end`.execute(transaction);
  if (kind !== 'aggregate' || organization === null) return;
  await sql`
    insert into dmarc_reporters (generation, domain, organization, first_day, last_day)
    values (${generation}, ${domain}, ${organizationKey(organization)}, ${day}, ${day})
    on conflict (generation, domain, organization) do update set
      ${earlier('dmarc_reporters', 'first_day')}, ${later('dmarc_reporters', 'last_day')}`.execute(transaction);
}

/** As much of a reporter's name as it is told apart by: PostgreSQL takes 2,700 bytes into an index. */
const ORGANIZATION_CHARACTERS = 255;
const organizationKey = (name: string): string => [...name].slice(0, ORGANIZATION_CHARACTERS).join('');
/** The same of a column. */
export const organizationOf = (column: string): RawBuilder<string> =>
  sql`substr(${sql.ref(column)}, 1, ${sql.lit(ORGANIZATION_CHARACTERS)})`;

/** @param reports 1 with the first part of a report, 0 with the others */
export async function addRecords(
  transaction: Database,
  { id, domain, day }: Pick<NewReport, 'id' | 'domain' | 'day'>,
  { after, upTo }: Part,
  reports: 0 | 1,
  generation: number,
): Promise<void> {
  // SQLite takes "on conflict" after a select for a join without a "where". In the order of the key, which two
  // transactions then lock in the same order.
  const records = sql`from dmarc_records
    where generation = ${generation} and report = ${id} and number > ${after} and number <= ${upTo}`;
  const number = sql.lit(generation);
  for (const [table, column, span] of [
    ['dmarc_days', 'day', day],
    ['dmarc_months', 'month', monthOf(day)],
  ] as const)
    await sql`
      insert into ${sql.table(table)}
        (generation, domain, ${sql.ref(column)}, service, disposition, dkim, spf, messages, exempt, records)
      select ${number}, ${domain}, ${span}, service, disposition, dkim, spf,
        sum("count"), sum("count" * exempt), count(*)
      ${records}
      group by service, disposition, dkim, spf
      order by service, disposition, dkim, spf
      on conflict (generation, domain, ${sql.ref(column)}, service, disposition, dkim, spf) do update set
        ${plus(table, ['messages', 'exempt', 'records'])}`.execute(transaction);
  await sql`
    insert into dmarc_domain_days (generation, domain, day, reports, ${NAMES})
    select ${number}, ${domain}, ${day}, ${sql.lit(reports)}, ${SUMS}
    ${records}
    on conflict (generation, domain, day) do update set
      ${plus('dmarc_domain_days', ['reports', ...COUNTS])}`.execute(transaction);
  await sql`
    insert into dmarc_source_days (generation, domain, source, day, service, ${NAMES})
    select ${number}, ${domain}, source, ${day}, service, ${SUMS}
    ${records}
    group by source, service
    order by source, service
    on conflict (generation, domain, source, day, service) do update set
      ${plus('dmarc_source_days', COUNTS)}`.execute(transaction);
  await sql`
    insert into dmarc_service_sources (generation, domain, service, source, first_day, last_day, ${NAMES})
    select ${number}, ${domain}, service, source, ${day}, ${day}, ${SUMS}
    ${records}
    group by service, source
    order by service, source
    on conflict (generation, domain, service, source) do update set
      ${earlier('dmarc_service_sources', 'first_day')}, ${later('dmarc_service_sources', 'last_day')},
      ${plus('dmarc_service_sources', COUNTS)}`.execute(transaction);
  await sql`
    insert into dmarc_sources (generation, domain, source, service, first_day, last_day, ${NAMES})
    select ${number}, ${domain}, source, max(service), ${day}, ${day}, ${SUMS}
    ${records}
    group by source
    order by source
    on conflict (generation, domain, source) do update set
      service = case
        when excluded.service = '' or excluded.last_day < dmarc_sources.last_day then dmarc_sources.service
        when excluded.last_day = dmarc_sources.last_day and excluded.service < dmarc_sources.service
          then dmarc_sources.service
        else excluded.service end,
      ${earlier('dmarc_sources', 'first_day')}, ${later('dmarc_sources', 'last_day')},
      ${plus('dmarc_sources', COUNTS)}`.execute(transaction);
}

const COUNTS = ['messages', 'passed', 'dkim', 'spf', 'quarantined', 'rejected'];
const NAMES = sql.join(COUNTS.map((name) => sql.ref(name)));
/** @param condition of ours, never of a reporter's */
const sumWhere = (condition: string) => sql.raw(`coalesce(sum(case when ${condition} then "count" else 0 end), 0)`);
/** In the order of `COUNTS`. A report may have no records. */
const SUMS = sql.join([
  sql`coalesce(sum("count"), 0)`,
  sumWhere(`dkim = 'pass' or spf = 'pass'`),
  sumWhere(`dkim = 'pass'`),
  sumWhere(`spf = 'pass'`),
  sumWhere(`disposition = 'quarantine'`),
  sumWhere(`disposition = 'reject'`),
]);

const plus = (table: string, names: string[]) =>
  sql.join(names.map((name) => sql`${sql.ref(name)} = ${sql.ref(`${table}.${name}`)} + ${excluded(name)}`));
const excluded = (name: string) => sql.ref(`excluded.${name}`);
const earlier = (table: string, name: string) => chosen(table, name, sql`<`);
const later = (table: string, name: string) => chosen(table, name, sql`>`);
const chosen = (table: string, name: string, order: RawBuilder<unknown>) =>
  sql`${sql.ref(name)} = case when ${excluded(name)} ${order} ${sql.ref(`${table}.${name}`)}
    then ${excluded(name)} else ${sql.ref(`${table}.${name}`)} end`;
