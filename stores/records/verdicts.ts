/** Verdicts of triggers, one a delivery key, so that the same message again is not judged twice. */
import type { Selectable } from 'kysely';
import type { RecordedVerdict, Verdict, VerdictRecords } from './port.ts';
import { timeNow, type Database, type Tables } from './tables.ts';

export function verdictRecords(database: Database): VerdictRecords {
  return {
    get: (deliveryKey) => find(database, deliveryKey),
    async put({ deliveryKey, triggerId, verdict }) {
      const given = { deliveryKey, triggerId, verdict, at: timeNow() };
      const { numInsertedOrUpdatedRows } = await database
        .insertInto('verdicts')
        .values({ delivery_key: deliveryKey, trigger_id: triggerId, verdict: JSON.stringify(verdict), at: given.at })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      return (numInsertedOrUpdatedRows === 1n ? undefined : await find(database, deliveryKey)) ?? given;
    },
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
