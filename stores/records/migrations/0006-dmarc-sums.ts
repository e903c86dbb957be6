/**
 * Sums for whole months, for addresses and for reporters, so that a question about a year reads no more than one about a
 * month; and the sums that were there without a row number beside their key, which SQLite wrote a second time. Filled
 * from what is there: nothing has to be read anew.
 */
import { sql, SqliteAdapter, type CreateTableBuilder, type Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const dmarcSums: Migration = {
  name: 'dmarc-sums',
  async up(database) {
    await rebuild(database, 'dmarc_days', [...DAY_KEY, ...OF_RESULTS], { ...day, ...results });
    await rebuild(database, 'dmarc_source_days', SOURCE_DAY_KEY, { ...source, ...day, service: 'text', ...counts });
    await fillMonths(database);
    await fillDomainDays(database);
    await fillSources(database);
    await renewIndexes(database);
    await fillReporters(database);
    // Up to which record a report that is published is in the sums; null of one that waits for its publication.
    await database.schema.alterTable('dmarc_staging').addColumn('summed', 'integer').execute();
  },
};

type Column = 'text' | 'integer' | 'bigint';
/** With `?` where null may stand. */
type Columns = Record<string, Column | `${Column}?`>;

const domain: Columns = { generation: 'integer', domain: 'text' };
const day: Columns = { ...domain, day: 'text' };
const source: Columns = { ...domain, source: 'text' };
const counts: Columns = {
  messages: 'bigint',
  passed: 'bigint',
  dkim: 'bigint',
  spf: 'bigint',
  quarantined: 'bigint',
  rejected: 'bigint',
};
const results: Columns = {
  service: 'text',
  disposition: 'text',
  dkim: 'text',
  spf: 'text',
  messages: 'bigint',
  exempt: 'bigint',
  records: 'bigint',
};
/** Of a name that a stranger wrote; PostgreSQL takes 2,700 bytes into an index. */
const ORGANIZATION = sql`substr(organization, 1, 255)`;
const OF_RESULTS = ['service', 'disposition', 'dkim', 'spf'];
const DAY_KEY = ['generation', 'domain', 'day'];
const SOURCE_DAY_KEY = ['generation', 'domain', 'source', 'day', 'service'];

async function fillMonths(database: Kysely<unknown>): Promise<void> {
  const columns = { ...domain, month: 'text', ...results } as const;
  await table(database, 'dmarc_months', ['generation', 'domain', 'month', ...OF_RESULTS], columns);
  await sql`
    insert into dmarc_months (generation, domain, month, service, disposition, dkim, spf, messages, exempt, records)
    select generation, domain, substr(day, 1, 7), service, disposition, dkim, spf,
      sum(messages), sum(exempt), sum(records)
    from dmarc_days
    group by generation, domain, substr(day, 1, 7), service, disposition, dkim, spf`.execute(database);
}

async function fillDomainDays(database: Kysely<unknown>): Promise<void> {
  await table(database, 'dmarc_domain_days', DAY_KEY, { ...day, reports: 'bigint', ...counts });
  await sql`
    insert into dmarc_domain_days
      (generation, domain, day, reports, messages, passed, dkim, spf, quarantined, rejected)
    select generation, domain, day, sum(reports),
      sum(messages), sum(passed), sum(dkim), sum(spf), sum(quarantined), sum(rejected)
    from (
      select generation, domain, day, 1 as reports,
        0 as messages, 0 as passed, 0 as dkim, 0 as spf, 0 as quarantined, 0 as rejected
      from dmarc_reports where kind = 'aggregate'
      union all
      select generation, domain, day, 0, messages,
        case when dkim = 'pass' or spf = 'pass' then messages else 0 end,
        case when dkim = 'pass' then messages else 0 end,
        case when spf = 'pass' then messages else 0 end,
        case when disposition = 'quarantine' then messages else 0 end,
        case when disposition = 'reject' then messages else 0 end
      from dmarc_days
    ) as counted
    group by generation, domain, day`.execute(database);
}

async function fillSources(database: Kysely<unknown>): Promise<void> {
  const seen: Columns = { first_day: 'text', last_day: 'text', ...counts };
  const key = ['generation', 'domain', 'service', 'source'];
  await table(database, 'dmarc_service_sources', key, { ...domain, service: 'text', source: 'text', ...seen });
  await sql`
    insert into dmarc_service_sources (generation, domain, service, source, first_day, last_day,
      messages, passed, dkim, spf, quarantined, rejected)
    select generation, domain, service, source, min(day), max(day),
      sum(messages), sum(passed), sum(dkim), sum(spf), sum(quarantined), sum(rejected)
    from dmarc_source_days
    group by generation, domain, service, source`.execute(database);
  await database.schema.alterTable('dmarc_sources').renameTo('dmarc_sources_before').execute();
  const columns = { ...source, service: 'text', ...seen } as const;
  await table(database, 'dmarc_sources', ['generation', 'domain', 'source'], columns);
  await sql`
    insert into dmarc_sources (generation, domain, source, service, first_day, last_day,
      messages, passed, dkim, spf, quarantined, rejected)
    select sums.generation, sums.domain, sums.source, max(known.service), min(sums.first_day), max(sums.last_day),
      sum(sums.messages), sum(sums.passed), sum(sums.dkim), sum(sums.spf), sum(sums.quarantined), sum(sums.rejected)
    from dmarc_service_sources as sums
    join dmarc_sources_before as known on known.generation = sums.generation
      and known.domain = sums.domain and known.source = sums.source
    group by sums.generation, sums.domain, sums.source`.execute(database);
  await database.schema.dropTable('dmarc_sources_before').execute();
  await index(database, 'dmarc_sources_by_first_day', 'dmarc_sources', ['generation', 'domain', 'first_day']);
}

async function fillReporters(database: Kysely<unknown>): Promise<void> {
  const seen: Columns = { organization: 'text', first_day: 'text', last_day: 'text' };
  await table(database, 'dmarc_reporters', ['generation', 'domain', 'organization'], { ...domain, ...seen });
  await sql`
    insert into dmarc_reporters (generation, domain, organization, first_day, last_day)
    select generation, domain, ${ORGANIZATION}, min(day), max(day)
    from dmarc_reports where kind = 'aggregate' and organization is not null
    group by generation, domain, ${ORGANIZATION}`.execute(database);
  const reported: Columns = { reports: 'bigint', last_received_at: 'text', policy: 'text?', policy_day: 'text?' };
  await table(database, 'dmarc_reported', ['generation', 'domain'], { ...domain, ...reported });
  await sql`
    insert into dmarc_reported (generation, domain, reports, last_received_at, policy_day)
    select generation, domain, count(*), max(received_at),
      max(case when kind = 'aggregate' and policy_domain = domain then day end)
    from dmarc_reports group by generation, domain`.execute(database);
  await sql`
    update dmarc_reported set policy = (
      select max(policy) from dmarc_reports
      where dmarc_reports.generation = dmarc_reported.generation and dmarc_reports.domain = dmarc_reported.domain
        and kind = 'aggregate' and policy_domain = dmarc_reported.domain and day = policy_day)`.execute(database);
}

/** What a filter asks of a row stands in the index: a page reads the rows that it shows, and no others. */
async function renewIndexes(database: Kysely<unknown>): Promise<void> {
  for (const name of [
    'dmarc_reports_generation_domain_kind_id',
    'dmarc_reports_generation_domain_kind_day',
    'dmarc_reports_generation_domain_received_at',
    'dmarc_records_generation_domain_source_report_number',
  ])
    await database.schema.dropIndex(name).execute();
  const common = ['generation', 'domain'];
  await index(database, 'dmarc_reports_by_id', 'dmarc_reports', [...common, 'id', 'kind', 'day']);
  await database.schema
    .createIndex('dmarc_reports_by_day')
    .on('dmarc_reports')
    .expression(sql`generation, domain, kind, day, ${ORGANIZATION}`)
    .execute();
  const ofSource = ['source', 'report', 'number', 'dkim', 'spf'];
  await index(database, 'dmarc_records_by_source', 'dmarc_records', [...common, ...ofSource]);
}

/** The same rows in a table with another key. */
async function rebuild(database: Kysely<unknown>, name: string, key: string[], columns: Columns): Promise<void> {
  await database.schema.alterTable(name).renameTo(`${name}_before`).execute();
  await table(database, name, key, columns);
  const all = sql.join(Object.keys(columns).map((column) => sql.ref(column)));
  await sql`insert into ${sql.table(name)} (${all}) select ${all} from ${sql.table(`${name}_before`)}`.execute(
    database,
  );
  await database.schema.dropTable(`${name}_before`).execute();
}

async function table(database: Kysely<unknown>, name: string, key: string[], columns: Columns): Promise<void> {
  let builder = database.schema.createTable(name) as unknown as CreateTableBuilder<string, string>;
  for (const [column, type] of Object.entries(columns))
    builder = builder.addColumn(column, type.replace('?', '') as Column, (one) =>
      type.endsWith('?') ? one : one.notNull(),
    );
  // Not the name that the key of the table before has.
  builder = builder.addPrimaryKeyConstraint(`${name}_primary`, key as never);
  if (database.getExecutor().adapter instanceof SqliteAdapter) builder = builder.modifyEnd(sql`without rowid`);
  await builder.execute();
}

async function index(database: Kysely<unknown>, name: string, on: string, columns: string[]): Promise<void> {
  await database.schema.createIndex(name).on(on).columns(columns).execute();
}
