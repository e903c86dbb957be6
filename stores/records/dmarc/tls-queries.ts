/** Answers about TLS reports. They have few rows each: one index holds all that is summed up. */
import { sql } from 'kysely';
import type { Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import type { DmarcQueries, Range } from './queries-port.ts';

/** Kinds of failure, and receiving hosts of each, that an answer names. */
const RESULTS = 50;
const HOSTS = 5;

export function tlsQueries(database: Database): Pick<DmarcQueries, 'tls'> {
  return {
    async tls(range) {
      const days = await policiesOf(database, range)
        .select([
          'day',
          sql<number>`cast(sum(successful) as bigint)`.as('successful'),
          sql<number>`cast(sum(failed) as bigint)`.as('failed'),
        ])
        .groupBy('day')
        .orderBy('day')
        .execute();
      const { reports } = await database
        .selectFrom('dmarc_reports')
        .select(sql<number>`count(*)`.as('reports'))
        .where('generation', '=', currentGeneration)
        .where('domain', '=', range.domain)
        .where('kind', '=', 'tls')
        .where('day', '>=', range.from)
        .where('day', '<=', range.to)
        .executeTakeFirstOrThrow();
      const sum = (name: 'successful' | 'failed') => days.reduce((all, one) => all + one[name], 0);
      return {
        reports,
        successful: sum('successful'),
        failed: sum('failed'),
        days,
        results: await resultsOf(database, range),
      };
    },
  };
}

async function resultsOf(database: Database, { domain, from, to }: Range) {
  const rows = await database
    .selectFrom('dmarc_tls_failures')
    .select(['result', 'receiving_host', sql<number>`cast(sum(sessions) as bigint)`.as('sessions')])
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to)
    .groupBy(['result', 'receiving_host'])
    .orderBy('sessions', 'desc')
    .orderBy('result')
    .execute();
  const results = new Map<string, { result: string; sessions: number; hosts: string[] }>();
  for (const { result, receiving_host: host, sessions } of rows) {
    const known = results.get(result) ?? { result, sessions: 0, hosts: [] };
    known.sessions += sessions;
    if (host !== null && known.hosts.length < HOSTS) known.hosts.push(host);
    results.set(result, known);
  }
  return [...results.values()].sort((one, other) => other.sessions - one.sessions).slice(0, RESULTS);
}

const policiesOf = (database: Database, { domain, from, to }: Range) =>
  database
    .selectFrom('dmarc_tls_policies')
    .where('generation', '=', currentGeneration)
    .where('domain', '=', domain)
    .where('day', '>=', from)
    .where('day', '<=', to);
