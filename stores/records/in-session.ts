/**
 * Deliveries inside a session. A message writes twice, before its final dot and at its end, and what it writes has
 * always the same form: the statements are compiled once, since building them costs more than running them.
 */
import type { CompiledQuery } from 'kysely';
import { fromActivity, openOne } from './activity.ts';
import { fromDelivery } from './deliveries.ts';
import type { InSessionRecords, MailActivity, SessionDelivery } from './port.ts';
import { timeNow, toJson, type Database, type Tables } from './tables.ts';

export function inSessionRecords(database: Database): InSessionRecords {
  const statements = compile(database);
  const insert = async (transaction: Database, row: MailActivity): Promise<void> => {
    const { numAffectedRows } = await transaction.executeQuery(statements.insertActivity(fromActivity(row)));
    // A record of the same message: one that may be replaced, or one that may not.
    if (numAffectedRows === 0n) await openOne(transaction, row);
  };
  return {
    open: (delivery) =>
      database.transaction().execute(async (transaction) => {
        await insert(transaction, delivery.record);
        await transaction.executeQuery(statements.insertDelivery(deliveryRow(delivery)));
      }),
    settle: (id, destination, { state, host, reply }, end) =>
      database.transaction().execute(async (transaction) => {
        const now = timeNow();
        await transaction.executeQuery(statements.settleDelivery([state, host, toJson(reply), now, id, destination]));
        if (end === null) return;
        await transaction.executeQuery(
          statements.closeActivity([end.outcome, end.errorCode, end.errorText, toJson(end.reply), now, id, 'accepted']),
        );
      }),
  };
}

function deliveryRow({ record, destination, state, host, reply }: SessionDelivery): Tables['deliveries'] {
  const { attempts, resent } = record;
  return fromDelivery({
    activityId: record.id,
    destination,
    state,
    attempts,
    host,
    reply,
    resent,
    updatedAt: timeNow(),
  });
}

/** Parameters come in the order in which the builder was given the columns. */
function compile(database: Database) {
  const row = <Row extends object>(build: (values: Row) => { compile(): CompiledQuery }) => {
    let compiled: CompiledQuery | undefined;
    return (values: Row): CompiledQuery => {
      compiled ??= build(values).compile();
      return { ...compiled, parameters: Object.values(values) };
    };
  };
  const list = (builder: { compile(): CompiledQuery }) => {
    const compiled = builder.compile();
    return (parameters: unknown[]): CompiledQuery => ({ ...compiled, parameters });
  };
  return {
    insertActivity: row<Tables['activity']>((values) =>
      database
        .insertInto('activity')
        .values(values)
        .onConflict((conflict) => conflict.doNothing()),
    ),
    insertDelivery: row<Tables['deliveries']>((values) => database.insertInto('deliveries').values(values)),
    settleDelivery: list(
      database
        .updateTable('deliveries')
        .set({ state: '', host: '', reply: '', updated_at: '' })
        .where('activity_id', '=', '')
        .where('destination', '=', ''),
    ),
    closeActivity: list(
      database
        .updateTable('activity')
        .set({ outcome: '', error_code: '', error_text: '', reply: '', closed_at: '' })
        .where('id', '=', '')
        .where('outcome', '=', 'accepted')
        .where('workflow_id', 'is', null),
    ),
  };
}
