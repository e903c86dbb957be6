/** Verdicts of triggers, one a delivery key, so that the same message again is not judged twice. */
import type { Selectable } from 'kysely';
import type { RecordedVerdict, Verdict, VerdictRecords } from './port.ts';
import { timeNow, type Database, type Tables } from './tables.ts';

export function verdictRecords(database: Database): VerdictRecords {
  return {
    get: (deliveryKey) => find(database, deliveryKey),
    put: ({ deliveryKey, triggerId, verdict }) =>
      database.transaction().execute(async (transaction) => {
        const first = await find(transaction, deliveryKey);
        if (first) return first;
        const at = timeNow();
        await transaction
          .insertInto('verdicts')
          .values({ delivery_key: deliveryKey, trigger_id: triggerId, verdict: JSON.stringify(verdict), at })
          .execute();
        return { deliveryKey, triggerId, verdict, at };
      }),
    async expire(time) {
      const gone = await database.deleteFrom('verdicts').where('at', '<', time).executeTakeFirst();
      return Number(gone.numDeletedRows);
    },
  };
}

async function find(database: Database, deliveryKey: string): Promise<RecordedVerdict | undefined> {
  const row = await database
    .selectFrom('verdicts')
    .selectAll()
    .where('delivery_key', '=', deliveryKey)
    .executeTakeFirst();
  return row && toVerdict(row);
}

const toVerdict = (row: Selectable<Tables['verdicts']>): RecordedVerdict => ({
  deliveryKey: row.delivery_key,
  triggerId: row.trigger_id,
  verdict: JSON.parse(row.verdict) as Verdict,
  at: row.at,
});
