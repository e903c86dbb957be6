/** TLS reports one by one: strangers write them, so an answer has a part of one and says how much there is. */
import type { Selectable } from 'kysely';
import { pageSize, type Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import type { DmarcAnswers } from './queries-port.ts';
import { fromTlsFailureRow, fromTlsPolicyRow } from './rows.ts';
import type { DmarcTables } from './tables.ts';

export function tlsListQueries(
  database: Database,
): Pick<DmarcAnswers, 'reportTls' | 'reportTlsBeginning' | 'reportTlsFailures'> {
  const policiesOf = (report: string) =>
    database.selectFrom('dmarc_tls_policies').where('generation', '=', currentGeneration).where('report', '=', report);
  const failuresOf = (report: string) =>
    database.selectFrom('dmarc_tls_failures').where('generation', '=', currentGeneration).where('report', '=', report);
  const inOrder = (report: string) => ({
    policies: policiesOf(report).selectAll().orderBy('number'),
    failures: failuresOf(report).selectAll().orderBy('policy').orderBy('number'),
  });
  return {
    async reportTls(id) {
      const { policies, failures } = inOrder(id);
      return together(await policies.execute(), await failures.execute());
    },
    async reportTlsBeginning(id, most) {
      const { policies, failures } = inOrder(id);
      const first = await policies.limit(pageSize(most.policies)).execute();
      const ofThese = failures.where('policy', '<=', first.at(-1)?.number ?? -1).limit(pageSize(most.failures));
      const [counted, failed] = [
        await policiesOf(id)
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow(),
        await failuresOf(id)
          .select(({ fn }) => fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow(),
      ];
      const total = { policies: counted.count, failures: failed.count };
      return { policies: together(first, await ofThese.execute()), total };
    },
    async reportTlsFailures(id, after, limit) {
      let query = database
        .selectFrom('dmarc_tls_failures as failures')
        .innerJoin('dmarc_tls_policies as policies', (join) =>
          join
            .onRef('policies.generation', '=', 'failures.generation')
            .onRef('policies.report', '=', 'failures.report')
            .onRef('policies.number', '=', 'failures.policy'),
        )
        .selectAll('failures')
        .select(['policies.type', 'policies.policy_domain'])
        .where('failures.generation', '=', currentGeneration)
        .where('failures.report', '=', id)
        .orderBy('failures.policy')
        .orderBy('failures.number')
        .limit(pageSize(limit));
      if (after !== undefined)
        query = query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple('failures.policy', 'failures.number'), '>', tuple(after.policy, after.number)),
        );
      return (await query.execute()).map((row) => ({
        policy: row.policy,
        number: row.number,
        type: row.type,
        domain: row.policy_domain,
        failure: fromTlsFailureRow(row),
      }));
    },
  };
}

type PolicyRow = Selectable<DmarcTables['dmarc_tls_policies']>;
type FailureRow = Selectable<DmarcTables['dmarc_tls_failures']>;

/** Each row is looked at once, however many policies there are. */
function together(policies: PolicyRow[], failures: FailureRow[]) {
  const byPolicy = new Map(policies.map(({ number }) => [number, [] as FailureRow[]]));
  for (const failure of failures) byPolicy.get(failure.policy)?.push(failure);
  return policies.map((one) => fromTlsPolicyRow(one, (byPolicy.get(one.number) ?? []).map(fromTlsFailureRow)));
}
