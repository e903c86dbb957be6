/**
 * Answers about reports. What a page asks for reads the sums (`sums.ts`): a year of a domain is some thousand rows, found
 * by the first columns of their keys. Only drill-down reads records, by index and a page at a time.
 */
import { sql, type RawBuilder, type SelectQueryBuilder } from 'kysely';
import { pageSize, type Database, type Tables } from '../tables.ts';
import { currentGeneration } from './generations.ts';
import { listQueries } from './lists.ts';
import type { DmarcQueries, Range, WhatIfService } from './queries-port.ts';
import { tlsQueries } from './tls-queries.ts';

export function dmarcQueries(database: Database): DmarcQueries {
  return {
    ...listQueries(database),
    ...tlsQueries(database),
    async domains(since) {
      const known = await database.selectFrom('dmarc_domains').selectAll().execute();
      const reports = await database
        .selectFrom('dmarc_reports')
        .select(['domain', countAll.as('reports'), sql<string>`max(received_at)`.as('lastReportAt')])
        .where('generation', '=', currentGeneration)
        .groupBy('domain')
        .execute();
      const counts = await database
        .selectFrom('dmarc_days')
        .select(['domain', ...ofDays])
        .where('generation', '=', currentGeneration)
        .where('day', '>=', since)
        .groupBy('domain')
        .execute();
      const names = new Set([...known, ...reports].map(({ domain }) => domain));
      return [...names].sort().map((domain) => {
        const reported = reports.find((one) => one.domain === domain);
        const { domain: _domain, ...sums } = counts.find((one) => one.domain === domain) ?? { domain, ...NO_COUNTS };
        return {
          domain,
          address: known.find((one) => one.domain === domain)?.address ?? null,
          reports: reported?.reports ?? 0,
          lastReportAt: reported?.lastReportAt ?? null,
          counts: sums,
        };
      });
    },
    async totals({ domain, from, to }) {
      const [counts, reports, sources] = await Promise.all([
        daysOf(database, { domain, from, to })
          .select([...ofDays, sql<number>`count(distinct day)`.as('days')])
          .executeTakeFirstOrThrow(),
        database
          .selectFrom('dmarc_reports')
          .select([countAll.as('reports'), sql<number>`count(distinct organization)`.as('organizations')])
          .where('generation', '=', currentGeneration)
          .where('domain', '=', domain)
          .where('kind', '=', 'aggregate')
          .where('day', '>=', from)
          .where('day', '<=', to)
          .executeTakeFirstOrThrow(),
        sourceDaysOf(database, { domain, from, to })
          .select(sql<number>`count(distinct source)`.as('sources'))
          .executeTakeFirstOrThrow(),
      ]);
      return { ...counts, ...reports, ...sources };
    },
    async days({ service, ...range }) {
      let query = daysOf(database, range)
        .select(['day', ...ofDays])
        .groupBy('day')
        .orderBy('day');
      if (service !== undefined) query = query.where('service', '=', service);
      return query.execute();
    },
    async services(range) {
      const [services, sources] = await Promise.all([
        daysOf(database, range)
          .select(['service', ...ofDays])
          .groupBy('service')
          .orderBy('messages', 'desc')
          .orderBy('service')
          .execute(),
        sourceDaysOf(database, range)
          .select(['service', sql<number>`count(distinct source)`.as('sources')])
          .groupBy('service')
          .execute(),
      ]);
      const known = new Map(sources.map((one) => [one.service, one.sources]));
      return services.map((one) => ({ ...one, sources: known.get(one.service) ?? 0 }));
    },
    async sources({ domain, from, to, service, source, ...wanted }) {
      let days = database
        .selectFrom('dmarc_source_days as days')
        .where('days.generation', '=', currentGeneration)
        .where('days.domain', '=', domain)
        .where('days.day', '>=', from)
        .where('days.day', '<=', to);
      if (service !== undefined) days = days.where('days.service', '=', service);
      if (source !== undefined) days = days.where('days.source', '=', source);
      return largestSources(database, domain, days, wanted);
    },
    newSources({ domain, since, ...wanted }) {
      const days = database
        .selectFrom('dmarc_source_days as days')
        .where('days.generation', '=', currentGeneration)
        .where('days.domain', '=', domain)
        .where('days.day', '>=', since)
        .where('days.source', 'in', ({ selectFrom }) =>
          selectFrom('dmarc_sources')
            .select('source')
            .where('generation', '=', currentGeneration)
            .where('domain', '=', domain)
            .where('first_day', '>=', since),
        );
      return largestSources(database, domain, days, wanted);
    },
    async whatIf(range) {
      const failed = daysOf(database, range).where('dkim', '<>', 'pass').where('spf', '<>', 'pass');
      const hit = async (dispositions: string[]) => {
        const services: WhatIfService[] = await failed
          .select(['service', total('messages').as('hit'), total('exempt').as('exempt')])
          .where('disposition', 'not in', dispositions)
          .groupBy('service')
          .orderBy('hit', 'desc')
          .orderBy('service')
          .execute();
        return { hit: services.reduce((sum, one) => sum + one.hit, 0), services };
      };
      const { messages, passed } = await daysOf(database, range).select(ofDays).executeTakeFirstOrThrow();
      return {
        messages,
        passed,
        quarantine: await hit(['quarantine', 'reject']),
        reject: await hit(['reject']),
      };
    },
    async policy(domain) {
      const row = await database
        .selectFrom('dmarc_reports')
        .select(['policy', 'day'])
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .where('kind', '=', 'aggregate')
        .where('policy_domain', '=', domain)
        .orderBy('day', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row?.policy ? { policy: JSON.parse(row.policy) as never, day: row.day } : undefined;
    },
  };
}

const countAll = sql<number>`count(*)`;
/** PostgreSQL's sum of a bigint is a numeric, which reads as text. */
const total = (column: string): RawBuilder<number> => sql<number>`cast(coalesce(sum(${sql.ref(column)}), 0) as bigint)`;
/** @param condition of ours */
const totalWhere = (condition: string): RawBuilder<number> =>
  sql<number>`cast(coalesce(sum(case when ${sql.raw(condition)} then messages else 0 end), 0) as bigint)`;

const NO_COUNTS = { messages: 0, passed: 0, dkim: 0, spf: 0, quarantined: 0, rejected: 0 };

/** `Counts` of rows of `dmarc_days`. */
const ofDays = [
  total('messages').as('messages'),
  totalWhere(`dkim = 'pass' or spf = 'pass'`).as('passed'),
  totalWhere(`dkim = 'pass'`).as('dkim'),
  totalWhere(`spf = 'pass'`).as('spf'),
  totalWhere(`disposition = 'quarantine'`).as('quarantined'),
  totalWhere(`disposition = 'reject'`).as('rejected'),
] as const;

/** `Counts` of rows of `dmarc_source_days`. */
const ofSources = [
  total('days.messages').as('messages'),
  total('days.passed').as('passed'),
  total('days.dkim').as('dkim'),
  total('days.spf').as('spf'),
  total('days.quarantined').as('quarantined'),
  total('days.rejected').as('rejected'),
] as const;

type SourceDays = SelectQueryBuilder<Tables & { days: Tables['dmarc_source_days'] }, 'days', object>;

/** Sums first and joins then: what is known of a source is looked up for those that are answered, not for every row. */
function largestSources(
  database: Database,
  domain: string,
  days: SourceDays,
  { failing, limit }: { failing?: boolean; limit?: number },
) {
  let sums = days
    .select(['days.source', ...ofSources])
    .groupBy('days.source')
    .orderBy(failing ? sql`sum(days.messages) - sum(days.passed)` : sql`sum(days.messages)`, 'desc')
    .orderBy('days.source')
    .limit(pageSize(limit));
  if (failing) sums = sums.having(sql<boolean>`sum(days.messages) > sum(days.passed)`);
  return database
    .selectFrom(sums.as('sums'))
    .innerJoin('dmarc_sources as known', (join) =>
      join
        .onRef('known.source', '=', 'sums.source')
        .on('known.generation', '=', currentGeneration)
        .on('known.domain', '=', domain),
    )
    .leftJoin('dmarc_hosts as hosts', 'hosts.address', 'sums.source')
    .selectAll('sums')
    .select(['known.service', ...ofHost])
    .orderBy(failing ? sql`sums.messages - sums.passed` : sql`sums.messages`, 'desc')
    .orderBy('sums.source')
    .execute();
}

const ofHost = [
  'known.first_day as firstDay',
  'known.last_day as lastDay',
  'hosts.name',
  'hosts.country',
  'hosts.network',
] as const;

const daysOf = (database: Database, { domain, from, to }: Range) =>
  database
    .selectFrom('dmarc_days')
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to);

const sourceDaysOf = (database: Database, { domain, from, to }: Range) =>
  database
    .selectFrom('dmarc_source_days')
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to);
