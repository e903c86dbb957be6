/**
 * The sums that pages are made of. They are added up from the rows of the records in the transaction that publishes them,
 * by the database: a report of 500,000 records needs no memory here, and what is summed is what is stored.
 */
import { sql } from 'kysely';
import type { Database } from '../tables.ts';
import type { NewReport } from './port.ts';

export async function addToSums(
  transaction: Database,
  { id, domain, day }: Pick<NewReport, 'id' | 'domain' | 'day'>,
  generation: number,
): Promise<void> {
  // SQLite takes "on conflict" after a select for a join without a "where". In the order of the key, which two
  // transactions then lock in the same order.
  const records = sql`from dmarc_records where generation = ${generation} and report = ${id}`;
  await sql`
    insert into dmarc_days
      (generation, domain, day, service, disposition, dkim, spf, messages, exempt, records)
    select ${sql.lit(generation)}, ${domain}, ${day}, service, disposition, dkim, spf,
      sum("count"), sum("count" * exempt), count(*)
    ${records}
    group by service, disposition, dkim, spf
    order by service, disposition, dkim, spf
    on conflict (generation, domain, day, service, disposition, dkim, spf) do update set
      messages = dmarc_days.messages + excluded.messages,
      exempt = dmarc_days.exempt + excluded.exempt,
      records = dmarc_days.records + excluded.records`.execute(transaction);
  await sql`
    insert into dmarc_source_days
      (generation, domain, service, day, source, messages, passed, dkim, spf, quarantined, rejected)
    select ${sql.lit(generation)}, ${domain}, service, ${day}, source, sum("count"),
      ${sumWhere(`dkim = 'pass' or spf = 'pass'`)}, ${sumWhere(`dkim = 'pass'`)}, ${sumWhere(`spf = 'pass'`)},
      ${sumWhere(`disposition = 'quarantine'`)}, ${sumWhere(`disposition = 'reject'`)}
    ${records}
    group by service, source
    order by service, source
    on conflict (generation, domain, service, day, source) do update set
      messages = dmarc_source_days.messages + excluded.messages,
      passed = dmarc_source_days.passed + excluded.passed,
      dkim = dmarc_source_days.dkim + excluded.dkim,
      spf = dmarc_source_days.spf + excluded.spf,
      quarantined = dmarc_source_days.quarantined + excluded.quarantined,
      rejected = dmarc_source_days.rejected + excluded.rejected`.execute(transaction);
  await sql`
    insert into dmarc_sources
      (generation, domain, source, service, first_day, last_day, messages, passed)
    select ${sql.lit(generation)}, ${domain}, source, max(service), ${day}, ${day}, sum("count"),
      ${sumWhere(`dkim = 'pass' or spf = 'pass'`)}
    ${records}
    group by source
    order by source
    on conflict (generation, domain, source) do update set
      service = case when excluded.service <> '' and excluded.last_day >= dmarc_sources.last_day
        then excluded.service else dmarc_sources.service end,
      first_day = case when excluded.first_day < dmarc_sources.first_day
        then excluded.first_day else dmarc_sources.first_day end,
      last_day = case when excluded.last_day > dmarc_sources.last_day
        then excluded.last_day else dmarc_sources.last_day end,
      messages = dmarc_sources.messages + excluded.messages,
      passed = dmarc_sources.passed + excluded.passed`.execute(transaction);
}

/** @param condition of ours, never of a reporter's */
const sumWhere = (condition: string) => sql.raw(`sum(case when ${condition} then "count" else 0 end)`);
