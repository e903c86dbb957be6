/** Answers about TLS reports, from their sums (`tls-sums.ts`): what strangers may send millions of is never read for them. */
import { sql } from 'kysely';
import { RESULT_TYPES } from '../../../protocols/dmarc/tls.ts';
import type { Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import type { DmarcAnswers, Range } from './queries-port.ts';

/** Kinds of failure, and receiving hosts of each, that an answer names. */
const RESULTS = 50;
const HOSTS = 5;

export function tlsQueries(database: Database): Pick<DmarcAnswers, 'tls'> {
  return {
    async tls(range) {
      const rows = await inRange(database, 'dmarc_tls_days', range)
        .select(['day', 'reports', 'successful', 'failed'])
        .orderBy('day')
        .execute();
      const sum = (name: 'reports' | 'successful' | 'failed') => rows.reduce((all, one) => all + one[name], 0);
      return {
        reports: sum('reports'),
        successful: sum('successful'),
        failed: sum('failed'),
        days: rows.map(({ day, successful, failed }) => ({ day, successful, failed })),
        results: await resultsOf(database, range),
      };
    },
  };
}

const sessions = sql<number>`cast(sum(sessions) as bigint)`;

async function resultsOf(database: Database, range: Range) {
  const results = await inRange(database, 'dmarc_tls_results', range)
    .select(['result', sessions.as('sessions')])
    .groupBy('result')
    // Words of a stranger's own push none of these off the list.
    .orderBy(({ eb }) => eb.case().when('result', 'in', RESULT_TYPES).then(0).else(1).end())
    .orderBy('sessions', 'desc')
    .orderBy('result')
    .limit(RESULTS)
    .execute();
  if (results.length === 0) return [];
  const ranked = inRange(database, 'dmarc_tls_results', range)
    .select(['result', 'receiving_host as host'])
    .select(
      sql<number>`row_number() over (partition by result order by sum(sessions) desc, receiving_host)`.as('place'),
    )
    .where('receiving_host', '<>', '')
    .where(
      'result',
      'in',
      results.map(({ result }) => result),
    )
    .groupBy(['result', 'receiving_host']);
  const named = await database
    .selectFrom(ranked.as('ranked'))
    .select(['result', 'host'])
    .where('place', '<=', HOSTS)
    .orderBy('place')
    .execute();
  const hosts = Map.groupBy(named, ({ result }) => result);
  return results
    .sort((one, other) => other.sessions - one.sessions)
    .map((one) => ({ ...one, hosts: (hosts.get(one.result) ?? []).map(({ host }) => host) }));
}

const inRange = <Table extends 'dmarc_tls_days' | 'dmarc_tls_results'>(
  database: Database,
  table: Table,
  { domain, from, to }: Range,
) =>
  database
    .selectFrom<'dmarc_tls_days' | 'dmarc_tls_results'>(table)
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to);
