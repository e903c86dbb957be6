/**
 * Sums of TLS reports by day, and of their failures by day, kind and receiving host: strangers may send millions of
 * failures, and a page asks for all of them. Of a report with very many kinds the largest are summed up by their names.
 * Filled from what is there: nothing has to be read anew.
 */
import { sql, SqliteAdapter, type CreateTableBuilder, type Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const dmarcTlsSums: Migration = {
  name: 'dmarc-tls-sums',
  async up(database) {
    await fillDays(database);
    await fillResults(database);
    // Nothing asks the rows themselves but for the whole of a report.
    await database.schema.dropIndex('dmarc_tls_policies_generation_domain_day_successful_failed').execute();
    await database.schema.dropIndex('dmarc_tls_failures_generation_domain_day_result_sessions').execute();
  },
};

async function fillDays(database: Kysely<unknown>): Promise<void> {
  const key = ['generation', 'domain', 'day'];
  await table(database, 'dmarc_tls_days', key, { reports: 'bigint', successful: 'bigint', failed: 'bigint' });
  await sql`
    insert into dmarc_tls_days (generation, domain, day, reports, successful, failed)
    select generation, domain, day, sum(reports), sum(successful), sum(failed)
    from (
      select generation, domain, day, 1 as reports, 0 as successful, 0 as failed
      from dmarc_reports where kind = 'tls'
      union all
      select generation, domain, day, 0, successful, failed from dmarc_tls_policies
    ) as counted
    group by generation, domain, day`.execute(database);
}

/** RFC 8460, 4.3, as the build of this migration knew it; and how many of a report are summed up by their names. */
const KINDS = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'dane-required',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'sts-webpki-invalid',
];
const NAMED = 50;

async function fillResults(database: Kysely<unknown>): Promise<void> {
  const key = ['generation', 'domain', 'day', 'result', 'receiving_host'];
  await table(database, 'dmarc_tls_results', key, { sessions: 'bigint' });
  const kinds = sql.join(KINDS.map((kind) => sql.lit(kind)));
  const [result, host] = [sql`substr(result, 1, 255)`, sql`coalesce(substr(receiving_host, 1, 255), '')`];
  await sql`
    insert into dmarc_tls_results (generation, domain, day, result, receiving_host, sessions)
    select generation, domain, day, kind, host, sum(sessions)
    from (
      select generation, domain, day, sessions,
        case when place <= ${sql.lit(NAMED)} or result in (${kinds}) then result else '' end as kind,
        case when place <= ${sql.lit(NAMED)} then host else '' end as host
      from (
        select generation, report, domain, day, ${result} as result, ${host} as host, sum(sessions) as sessions,
          row_number() over (partition by generation, report order by sum(sessions) desc, ${result}, ${host}) as place
        from dmarc_tls_failures
        group by generation, report, domain, day, ${result}, ${host}
      ) as pairs
    ) as named
    group by generation, domain, day, kind, host`.execute(database);
}

async function table(
  database: Kysely<unknown>,
  name: string,
  key: string[],
  sums: Record<string, 'bigint'>,
): Promise<void> {
  let builder = database.schema.createTable(name) as unknown as CreateTableBuilder<string, string>;
  for (const column of key)
    builder = builder.addColumn(column, column === 'generation' ? 'integer' : 'text', (one) => one.notNull());
  for (const [column, type] of Object.entries(sums)) builder = builder.addColumn(column, type, (one) => one.notNull());
  builder = builder.addPrimaryKeyConstraint(`${name}_primary`, key as never);
  if (database.getExecutor().adapter instanceof SqliteAdapter) builder = builder.modifyEnd(sql`without rowid`);
  await builder.execute();
}
