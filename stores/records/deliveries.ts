/** Deliveries: one row a destination of an activity record, for being safe on repeat. */
import type { Selectable } from 'kysely';
import type { Delivery, DeliveryRecords } from './port.ts';
import { fromFlag, fromJson, timeNow, toFlag, toJson, type Database, type Tables } from './tables.ts';

export function deliveryRecords(database: Database): DeliveryRecords {
  return {
    get: (activityId, destination) => find(database, activityId, destination),
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
        const before = await find(transaction, activityId, destination);
        // Nothing will be sent: no attempt to count.
        if (before?.state === 'delivered' || before?.state === 'refused') return before;
        await put(transaction, {
          activityId,
          destination,
          // `committing` stays until the attempt has an end of its own: a second crash must find it too.
          state: before?.state === 'committing' ? 'committing' : 'pending',
          attempts: (before?.attempts ?? 0) + 1,
          host: before?.host ?? null,
          reply: before?.reply ?? null,
          resent: before?.resent ?? false,
          updatedAt: timeNow(),
        });
        if (counts === 'message') {
          await transaction
            .updateTable('activity')
            .set((expression) => ({ attempts: expression('attempts', '+', 1) }))
            .where('id', '=', activityId)
            .execute();
        }
        return before;
      }),
    set: (activityId, destination, change) =>
      database.transaction().execute(async (transaction) => {
        const before = await find(transaction, activityId, destination);
        await put(transaction, {
          activityId,
          destination,
          state: change.state,
          attempts: before?.attempts ?? 0,
          host: change.host ?? before?.host ?? null,
          reply: change.reply ?? before?.reply ?? null,
          resent: change.resent ?? before?.resent ?? false,
          updatedAt: timeNow(),
        });
        if (change.resent) {
          await transaction.updateTable('activity').set({ resent: 1 }).where('id', '=', activityId).execute();
        }
      }),
  };
}

async function find(database: Database, activityId: string, destination: string): Promise<Delivery | undefined> {
  const row = await database
    .selectFrom('deliveries')
    .selectAll()
    .where('activity_id', '=', activityId)
    .where('destination', '=', destination)
    .executeTakeFirst();
  return row && toDelivery(row);
}

async function put(transaction: Database, delivery: Delivery): Promise<void> {
  const { activity_id, destination, ...columns } = fromDelivery(delivery);
  await transaction
    .insertInto('deliveries')
    .values({ activity_id, destination, ...columns })
    .onConflict((conflict) => conflict.columns(['activity_id', 'destination']).doUpdateSet(columns))
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
