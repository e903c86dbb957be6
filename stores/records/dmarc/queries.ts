/**
 * Answers about reports. What a page asks for reads the sums (`sums.ts`): a year of a domain is some thousand rows, found
 * by the first columns of their keys. Only drill-down reads records, by index and a page at a time.
 */
import { sql, type RawBuilder } from 'kysely';
import type { PolicyPublished } from '../../../protocols/dmarc/aggregate.ts';
import { among } from '../many.ts';
import type { Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import { listQueries } from './lists.ts';
import type { DmarcAnswers, DmarcQueries, Range, WhatIfHits, WhatIfService } from './queries-port.ts';
import { inOneState } from './one-state.ts';
import { monthsIn } from './range.ts';
import { everyNewSource, everySource, largestCounts, largestSources, newestSources } from './sources.ts';
import { organizationOf, type RuledBy } from './sums.ts';
import { tlsQueries } from './tls-queries.ts';

export function dmarcQueries(database: Database): DmarcQueries {
  const ask = <Answer>(question: (queries: Questions) => Promise<Answer>) =>
    inOneState(database, (state) => question(questionsTo(state)));
  return {
    ...listQueries(database),
    inOneState: (question) =>
      inOneState(database, (state) => question({ ...listQueries(state), ...questionsTo(state) })),
    domains: (since) => ask((of) => of.domains(since)),
    totals: (range) => ask((of) => of.totals(range)),
    days: (range) => ask((of) => of.days(range)),
    firstDay: (domain) => ask((of) => of.firstDay(domain)),
    services: (range) => ask((of) => of.services(range)),
    countsByService: (range) => ask((of) => of.countsByService(range)),
    sources: (wanted) => ask((of) => of.sources(wanted)),
    countsBySource: (wanted) => ask((of) => of.countsBySource(wanted)),
    everySource: ({ domain, from, to, ...wanted }) => everySource(database, { domain, from, to }, wanted),
    newSources: (wanted) => ask((of) => of.newSources(wanted)),
    everyNewSource: (wanted) => everyNewSource(database, wanted),
    countNewSources: (wanted) => ask((of) => of.countNewSources(wanted)),
    whatIf: (range) => ask((of) => of.whatIf(range)),
    whatIfSources: (wanted) => ask((of) => of.whatIfSources(wanted)),
    policy: (domain) => ask((of) => of.policy(domain)),
    tls: (range) => ask((of) => of.tls(range)),
  };
}

/** Those that are answered from sums. */
type Questions = Omit<DmarcAnswers, keyof ReturnType<typeof listQueries>>;

/** @param database one state of it: an answer takes several statements */
function questionsTo(database: Database): Questions {
  return {
    ...tlsQueries(database),
    async domains(since) {
      const known = await database.selectFrom('dmarc_domains').selectAll().execute();
      const reports = await database
        .selectFrom('dmarc_reported')
        .select(['domain', 'reports', 'last_received_at'])
        .where('generation', '=', currentGeneration)
        .execute();
      const counts = await database
        .selectFrom('dmarc_domain_days')
        .select(['domain', ...ofDays])
        .where('generation', '=', currentGeneration)
        .where('day', '>=', since)
        .groupBy('domain')
        .execute();
      const addresses = new Map(known.map((one) => [one.domain, one.address]));
      const reported = new Map(reports.map((one) => [one.domain, one]));
      const sums = new Map(counts.map(({ domain, ...figures }) => [domain, figures]));
      return [...new Set([...addresses.keys(), ...reported.keys()])].sort().map((domain) => ({
        domain,
        address: addresses.get(domain) ?? null,
        reports: reported.get(domain)?.reports ?? 0,
        lastReportAt: reported.get(domain)?.last_received_at ?? null,
        counts: sums.get(domain) ?? NO_COUNTS,
      }));
    },
    async totals(range) {
      const counts = await domainDaysOf(database, range)
        .select([
          ...ofDays,
          total('reports').as('reports'),
          sql<number>`coalesce(sum(case when messages > 0 then 1 else 0 end), 0)`.as('days'),
        ])
        .executeTakeFirstOrThrow();
      const reporters = await reportersOf(database, range).executeTakeFirstOrThrow();
      const sources = await seenIn(database, 'dmarc_sources', range)
        .select(countAll.as('sources'))
        .executeTakeFirstOrThrow();
      return { ...counts, ...reporters, ...sources };
    },
    async days({ service, ...range }) {
      if (service === undefined)
        return domainDaysOf(database, range)
          .select(['day', 'messages', 'passed', 'dkim', 'spf', 'quarantined', 'rejected'])
          .where('messages', '>', 0)
          .orderBy('day')
          .execute();
      return database
        .selectFrom('dmarc_days')
        .select(['day', ...ofResults])
        .where('generation', '=', currentGeneration)
        .where('domain', '=', range.domain)
        .where('day', '>=', range.from)
        .where('day', '<=', range.to)
        .where('service', '=', service)
        .groupBy('day')
        .orderBy('day')
        .execute();
    },
    async firstDay(domain) {
      const row = await database
        .selectFrom('dmarc_domain_days')
        .select('day')
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .where('messages', '>', 0)
        .orderBy('day')
        .limit(1)
        .executeTakeFirst();
      return row?.day;
    },
    async services(range) {
      const services = await servicesOf(database, range).execute();
      const sources = await seenIn(database, 'dmarc_service_sources', range)
        .select(['service', countAll.as('sources')])
        .groupBy('service')
        .execute();
      const known = new Map(sources.map((one) => [one.service, one.sources]));
      return services.map((one) => ({ ...one, sources: known.get(one.service) ?? 0 }));
    },
    countsByService: (range) => servicesOf(database, range).execute(),
    sources: ({ domain, from, to, ...wanted }) => largestSources(database, { domain, from, to }, wanted),
    countsBySource: ({ domain, from, to, ...wanted }) => largestCounts(database, { domain, from, to }, wanted),
    newSources: (wanted) => newestSources(database, wanted),
    async countNewSources({ domain, since }) {
      const { count } = await database
        .selectFrom('dmarc_sources')
        .select(countAll.as('count'))
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .where('first_day', '>=', since)
        .executeTakeFirstOrThrow();
      return count;
    },
    async whatIf(range) {
      const { messages, passed } = await domainDaysOf(database, range).select(ofDays).executeTakeFirstOrThrow();
      const failed = await resultsOf(database, range)
        .select(['service', 'disposition', 'ruled_by', total('messages').as('hit'), total('exempt').as('exempt')])
        .where('dkim', '<>', 'pass')
        .where('spf', '<>', 'pass')
        .groupBy(['service', 'disposition', 'ruled_by'])
        .execute();
      const isRuled = ruledByP(await policyOf(database, range.domain));
      const ruled = failed.filter(isRuled);
      return {
        messages,
        passed,
        quarantine: hitBy(ruled.filter(isHit.quarantine)),
        reject: hitBy(ruled.filter(isHit.reject)),
        failed: hitBy(ruled),
        apart: hitBy(failed.filter((one) => !isRuled(one))).hit,
      };
    },
    async whatIfSources({ domain, from, to, sources }) {
      if (sources.length === 0) return [];
      const failed = await database
        .selectFrom('dmarc_source_failures')
        .select(['source', 'disposition', 'ruled_by', total('messages').as('hit'), total('exempt').as('exempt')])
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .where(among(database, 'source', sources))
        .where('day', '>=', from)
        .where('day', '<=', to)
        .groupBy(['source', 'disposition', 'ruled_by'])
        .execute();
      const ruled = failed.filter(ruledByP(await policyOf(database, domain)));
      return [...Map.groupBy(ruled, ({ source }) => source)].map(([source, some]) => ({
        source,
        quarantine: sumOf(some.filter(isHit.quarantine)),
        reject: sumOf(some.filter(isHit.reject)),
        failed: sumOf(some),
      }));
    },
    policy: (domain) => policyOf(database, domain),
  };
}

async function policyOf(
  database: Database,
  domain: string,
): Promise<{ policy: PolicyPublished; day: string } | undefined> {
  const row = await database
    .selectFrom('dmarc_reported')
    .select(['policy', 'policy_day'])
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .executeTakeFirst();
  return row?.policy && row.policy_day
    ? { policy: JSON.parse(row.policy) as PolicyPublished, day: row.policy_day }
    : undefined;
}

/** Whether `p` decides about a message. A name that does not exist is ruled by np, and a report does not tell which do. */
const ruledByP =
  (published: { policy: PolicyPublished } | undefined) =>
  ({ ruled_by }: { ruled_by: string }): boolean =>
    ruled_by === ('p' satisfies RuledBy) || (ruled_by === ('sp' satisfies RuledBy) && !published?.policy.sp);

/** What a policy would have touched of what failed. */
const isHit = {
  quarantine: ({ disposition }: { disposition: string }) => !['quarantine', 'reject'].includes(disposition),
  reject: ({ disposition }: { disposition: string }) => disposition !== 'reject',
};

type Hit = Omit<WhatIfService, 'service'>;
const sumOf = (rows: Hit[]): Hit => ({
  hit: rows.reduce((sum, { hit }) => sum + hit, 0),
  exempt: rows.reduce((sum, { exempt }) => sum + exempt, 0),
});

/** Services by what a policy would have touched of theirs, most first. */
function hitBy(rows: WhatIfService[]): WhatIfHits {
  const services = new Map<string, WhatIfService>();
  for (const { service, hit, exempt } of rows) {
    const known = services.get(service) ?? { service, hit: 0, exempt: 0 };
    services.set(service, { service, hit: known.hit + hit, exempt: known.exempt + exempt });
  }
  const sorted = [...services.values()].sort(
    (one, other) => other.hit - one.hit || Buffer.compare(Buffer.from(one.service), Buffer.from(other.service)),
  );
  return { hit: sorted.reduce((sum, { hit }) => sum + hit, 0), services: sorted };
}

const countAll = sql<number>`count(*)`;
/** PostgreSQL's sum of a bigint is a numeric, which reads as text. */
const total = (column: string): RawBuilder<number> => sql<number>`cast(coalesce(sum(${sql.ref(column)}), 0) as bigint)`;
/** @param condition of ours */
const totalWhere = (condition: string): RawBuilder<number> =>
  sql<number>`cast(coalesce(sum(case when ${sql.raw(condition)} then messages else 0 end), 0) as bigint)`;

const NO_COUNTS = { messages: 0, passed: 0, dkim: 0, spf: 0, quarantined: 0, rejected: 0 };

/** `Counts` of rows of `dmarc_domain_days`. */
const ofDays = [
  total('messages').as('messages'),
  total('passed').as('passed'),
  total('dkim').as('dkim'),
  total('spf').as('spf'),
  total('quarantined').as('quarantined'),
  total('rejected').as('rejected'),
] as const;

/** `Counts` of rows of `dmarc_days` and `dmarc_months`. */
const ofResults = [
  total('messages').as('messages'),
  totalWhere(`dkim = 'pass' or spf = 'pass'`).as('passed'),
  totalWhere(`dkim = 'pass'`).as('dkim'),
  totalWhere(`spf = 'pass'`).as('spf'),
  totalWhere(`disposition = 'quarantine'`).as('quarantined'),
  totalWhere(`disposition = 'reject'`).as('rejected'),
] as const;

const domainDaysOf = (database: Database, { domain, from, to }: Range) =>
  database
    .selectFrom('dmarc_domain_days')
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to);

const servicesOf = (database: Database, range: Range) =>
  resultsOf(database, range)
    .select(['service', ...ofResults])
    .groupBy('service')
    .orderBy('messages', 'desc')
    .orderBy('service');

/** Messages by service and result: of whole months, and of the days around them. */
function resultsOf(database: Database, { domain, from, to }: Range) {
  const columns = ['service', 'disposition', 'dkim', 'spf', 'ruled_by', 'messages', 'exempt'] as const;
  const { days, months } = monthsIn({ from, to });
  const parts = days.map((span) =>
    database
      .selectFrom('dmarc_days')
      .select(columns)
      .where('generation', '=', currentGeneration)
      .where('domain', '=', domain)
      .where('day', '>=', span.from)
      .where('day', '<=', span.to),
  );
  if (months)
    parts.push(
      database
        .selectFrom('dmarc_months')
        .select(columns)
        .where('generation', '=', currentGeneration)
        .where('domain', '=', domain)
        .where('month', '>=', months.from)
        .where('month', '<=', months.to) as never,
    );
  const [first, ...others] = parts as [(typeof parts)[0] & object, ...typeof parts];
  return database.selectFrom(others.reduce((all, part) => all.unionAll(part), first).as('results'));
}

/**
 * Addresses that were seen within the range. Of most the first and the last day say it; of those that were seen before it
 * and after it, the first day from its beginning is looked up. (As `exists` PostgreSQL would read all days of everybody
 * for it; the first in order is one look into the index in either database.)
 */
function seenIn<Table extends 'dmarc_sources' | 'dmarc_service_sources'>(
  database: Database,
  table: Table,
  { domain, from, to }: Range,
) {
  const ofService = table === 'dmarc_service_sources' ? sql`and days.service = seen.service` : sql``;
  return database
    .selectFrom(`${table} as seen` as 'dmarc_service_sources as seen')
    .where('seen.generation', '=', currentGeneration)
    .where('seen.domain', '=', domain)
    .where('seen.first_day', '<=', to)
    .where('seen.last_day', '>=', from).where(sql<boolean>`(seen.first_day >= ${from} or seen.last_day <= ${to}
      or (select days.day from dmarc_source_days as days
        where days.generation = seen.generation and days.domain = seen.domain and days.source = seen.source
          and days.day >= ${from} ${ofService} order by days.day limit 1) <= ${to})`);
}

/** The same of those who sent reports. */
const reportersOf = (database: Database, { domain, from, to }: Range) =>
  database
    .selectFrom('dmarc_reporters as seen')
    .select(countAll.as('organizations'))
    .where('seen.generation', '=', currentGeneration)
    .where('seen.domain', '=', domain)
    .where('seen.first_day', '<=', to)
    .where('seen.last_day', '>=', from).where(sql<boolean>`(seen.first_day >= ${from} or seen.last_day <= ${to}
      or (select reports.day from dmarc_reports as reports
        where reports.generation = seen.generation and reports.domain = seen.domain and reports.kind = 'aggregate'
          and reports.day >= ${from}
          and ${organizationOf('reports.organization')} = seen.organization order by reports.day limit 1) <= ${to})`);
