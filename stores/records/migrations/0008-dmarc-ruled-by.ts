/**
 * Sums say what rules a message: the policy of the domain, its policy for subdomains, or a record that a subdomain has for
 * itself (RFC 9989, 4.7); and of addresses without a service what failed, by what became of it. Filled from the records.
 */
import { sql, SqliteAdapter, type CreateTableBuilder, type Kysely } from 'kysely';
import type { Migration } from './index.ts';

export const dmarcRuledBy: Migration = {
  name: 'dmarc-ruled-by',
  async up(database) {
    for (const [name, span] of [
      ['dmarc_days', 'day'],
      ['dmarc_months', 'month'],
    ] as const) {
      await database.schema.dropTable(name).execute();
      await table(database, name, ['generation', 'domain', span, ...RESULT], {
        ...{ generation: 'integer', domain: 'text', [span]: 'text' },
        ...{ service: 'text', disposition: 'text', dkim: 'text', spf: 'text', ruled_by: 'text' },
        ...{ messages: 'bigint', exempt: 'bigint', records: 'bigint' },
      });
    }
    await sql`
      insert into dmarc_days (generation, domain, day, ${RESULTS}, messages, exempt, records)
      select generation, domain, day, ${RESULTS}, sum(count), sum(count * exempt), count(*)
      from (${PUBLISHED}) as published
      group by generation, domain, day, ${RESULTS}`.execute(database);
    await sql`
      insert into dmarc_months (generation, domain, month, ${RESULTS}, messages, exempt, records)
      select generation, domain, substr(day, 1, 7), ${RESULTS}, sum(messages), sum(exempt), sum(records)
      from dmarc_days
      group by generation, domain, substr(day, 1, 7), ${RESULTS}`.execute(database);
    const key = ['generation', 'domain', 'source', 'day', 'ruled_by', 'disposition'];
    await table(database, 'dmarc_source_failures', key, {
      ...{ generation: 'integer', domain: 'text', source: 'text', day: 'text', ruled_by: 'text', disposition: 'text' },
      ...{ messages: 'bigint', exempt: 'bigint' },
    });
    const keys = sql.join(key.map((column) => sql.ref(column)));
    // Of a report whose sums by address were not finished the others follow.
    await sql`
      insert into dmarc_source_failures (${keys}, messages, exempt)
      select ${keys}, sum(count), sum(count * exempt)
      from (${PUBLISHED}) as published
      where service = '' and dkim <> 'pass' and spf <> 'pass' and (summed is null or number <= summed)
      group by ${keys}`.execute(database);
  },
};

const RESULT = ['service', 'disposition', 'dkim', 'spf', 'ruled_by'];
const RESULTS = sql.join(RESULT.map((column) => sql.ref(column)));

const PUBLISHED = sql`
  select records.generation, reports.domain, reports.day, records.number, staging.summed,
    records.source, records.service, records.disposition, records.dkim, records.spf, records.exempt,
    records."count" as count,
    case when reports.policy_domain <> reports.domain then 'other'
      when substr(lower(records.header_from), length(records.header_from) - length(reports.domain))
        = '.' || reports.domain then 'sp'
      else 'p' end as ruled_by
  from dmarc_records as records
  join dmarc_reports as reports on reports.generation = records.generation and reports.id = records.report
  left join dmarc_staging as staging
    on staging.generation = records.generation and staging.report = records.report
  where reports.kind = 'aggregate'`;

async function table(
  database: Kysely<unknown>,
  name: string,
  key: string[],
  columns: Record<string, string>,
): Promise<void> {
  let builder = database.schema.createTable(name) as unknown as CreateTableBuilder<string, string>;
  for (const [column, type] of Object.entries(columns))
    builder = builder.addColumn(column, sql.raw(type), (one) => one.notNull());
  builder = builder.addPrimaryKeyConstraint(`${name}_primary`, key as never);
  if (database.getExecutor().adapter instanceof SqliteAdapter) builder = builder.modifyEnd(sql`without rowid`);
  await builder.execute();
}
