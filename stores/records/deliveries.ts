/** Deliveries: one row a destination of an activity record, for being safe on repeat. */
import type { Selectable } from 'kysely';
import type { Delivery, DeliveryRecords } from './port.ts';
import { fromFlag, fromJson, timeNow, toFlag, toJson, type Database, type Tables } from './tables.ts';

export function deliveryRecords(database: Database): DeliveryRecords {
  return {
    async get(activityId, destination) {
      const row = await rowOf(database, activityId, destination).executeTakeFirst();
      return row && toDelivery(row);
    },
    async list(activityId) {
      const rows = await database
        .selectFrom('deliveries')
        .selectAll()
        .where('activity_id', '=', activityId)
        .orderBy('destination')
        .execute();
      return rows.map(toDelivery);
    },
    begin: (activityId, destination, counts = 'message') =>
      database.transaction().execute(async (transaction) => {
        const first = { ...NEW, activityId, destination, attempts: 1, updatedAt: timeNow() };
        // Of several that begin at once one makes the row; the others wait for it and find it.
        const made = await transaction
          .insertInto('deliveries')
          .values(fromDelivery(first))
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst();
        let before: Delivery | undefined;
        if (made.numInsertedOrUpdatedRows !== 1n) {
          const row = await rowOf(transaction, activityId, destination).forUpdate().executeTakeFirstOrThrow();
          before = toDelivery(row);
          // Nothing will be sent: no attempt to count.
          if (before.state === 'delivered' || before.state === 'refused') return before;
          await transaction
            .updateTable('deliveries')
            .set({
              // `committing` stays until the attempt has an end of its own: a second crash must find it too.
              state: before.state === 'committing' ? 'committing' : 'pending',
              attempts: before.attempts + 1,
              updated_at: timeNow(),
            })
            .where('activity_id', '=', activityId)
            .where('destination', '=', destination)
            .execute();
        }
        if (counts === 'message') {
          await transaction
            .updateTable('activity')
            .set((expression) => ({ attempts: expression('attempts', '+', 1) }))
            .where('id', '=', activityId)
            .execute();
        }
        return before;
      }),
    async set(activityId, destination, change) {
      if (!change.resent) return put(database, activityId, destination, change);
      await database.transaction().execute(async (transaction) => {
        await put(transaction, activityId, destination, change);
        await transaction.updateTable('activity').set({ resent: 1 }).where('id', '=', activityId).execute();
      });
    },
  };
}

const NEW = { state: 'pending', attempts: 0, host: null, reply: null, resent: false } as const;

const rowOf = (database: Database, activityId: string, destination: string) =>
  database
    .selectFrom('deliveries')
    .selectAll()
    .where('activity_id', '=', activityId)
    .where('destination', '=', destination);

/** One statement, so that no other change of the row comes in between; what the change does not name stays. */
async function put(
  database: Database,
  activityId: string,
  destination: string,
  change: Parameters<DeliveryRecords['set']>[2],
): Promise<void> {
  const row = fromDelivery({
    ...NEW,
    activityId,
    destination,
    state: change.state,
    host: change.host ?? null,
    reply: change.reply ?? null,
    resent: change.resent ?? false,
    updatedAt: timeNow(),
  });
  await database
    .insertInto('deliveries')
    .values(row)
    .onConflict((conflict) =>
      conflict.columns(['activity_id', 'destination']).doUpdateSet({
        state: row.state,
        updated_at: row.updated_at,
        ...(row.host === null ? {} : { host: row.host }),
        ...(row.reply === null ? {} : { reply: row.reply }),
        ...(change.resent === undefined ? {} : { resent: row.resent }),
      }),
    )
    .execute();
}

function toDelivery(row: Selectable<Tables['deliveries']>): Delivery {
  return {
    activityId: row.activity_id,
    destination: row.destination,
    state: row.state as Delivery['state'],
    attempts: row.attempts,
    host: row.host,
    reply: fromJson(row.reply),
    resent: fromFlag(row.resent),
    updatedAt: row.updated_at,
  };
}

export function fromDelivery(delivery: Delivery): Tables['deliveries'] {
  return {
    activity_id: delivery.activityId,
    destination: delivery.destination,
    state: delivery.state,
    attempts: delivery.attempts,
    host: delivery.host,
    reply: toJson(delivery.reply),
    resent: toFlag(delivery.resent),
    updated_at: delivery.updatedAt,
  };
}
