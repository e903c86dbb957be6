/** Mail activity: one record a recipient of every message, open while its run works, final afterwards. */
import type { Selectable } from 'kysely';
import { PermanentError } from '../../protocols/errors.ts';
import type { ActivityRecords, MailActivity, Outcome } from './port.ts';
import { fromFlag, fromJson, pageSize, timeNow, toFlag, toJson, type Database, type Tables } from './tables.ts';

/** Ends after which the same message may be tried anew: its sender was told no, or nobody could be told. */
const REPEATABLE: readonly Outcome[] = ['failed', 'refused', 'rejected'];
/** Records that one sweep settles. */
const SWEEP = 1_000;

const OUTCOMES: Outcome[] = ['accepted', 'delivered', 'dropped', 'rejected', 'refused', 'bounced', 'failed'];

export function activityRecords(database: Database): ActivityRecords {
  return {
    async open(rows) {
      const [row] = rows;
      // Nearly always there is one recipient and nothing in its way: one statement.
      if (row && rows.length === 1 && (await insert(database, row))) return;
      await database.transaction().execute(async (transaction) => {
        // In one order everywhere: two sessions with the same message to the same people never wait for each other.
        for (const one of rows.toSorted(byDeliveryKey)) await openOne(transaction, one);
      });
    },
    async byDeliveryKey(deliveryKey) {
      const row = await database
        .selectFrom('activity')
        .selectAll()
        .where('delivery_key', '=', deliveryKey)
        .executeTakeFirst();
      return row && toActivity(row);
    },
    async get(id) {
      const row = await find(database, id);
      return row && toActivity(row);
    },
    async close(id, end, workflowId) {
      let update = database
        .updateTable('activity')
        .set({
          outcome: end.outcome,
          error_code: end.errorCode,
          error_text: end.errorText,
          reply: toJson(end.reply),
          closed_at: timeNow(),
        })
        .where('id', '=', id)
        .where('outcome', '=', 'accepted');
      if (workflowId === null) update = update.where('workflow_id', 'is', null);
      else if (workflowId !== undefined) update = update.where('workflow_id', '=', workflowId);
      const row = (await update.returningAll().executeTakeFirst()) ?? (await find(database, id));
      return row && toActivity(row);
    },
    async giveTo(id, workflowId, action) {
      const row = await database
        .updateTable('activity')
        .set({
          workflow_id: workflowId,
          action: toJson(action),
          outcome: 'accepted',
          error_code: null,
          error_text: null,
          reply: null,
          closed_at: null,
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst();
      return row && toActivity(row);
    },
    async list(filter) {
      let query = database.selectFrom('activity').selectAll().orderBy('id', 'desc').limit(pageSize(filter.limit));
      if (filter.sender !== undefined) query = query.where('sender', '=', filter.sender);
      if (filter.recipient !== undefined) query = query.where('recipient', '=', filter.recipient);
      if (filter.domain !== undefined) query = query.where('recipient_domain', '=', filter.domain.toLowerCase());
      if (filter.outcome !== undefined) query = query.where('outcome', '=', filter.outcome);
      if (filter.since !== undefined) query = query.where('received_at', '>=', filter.since);
      if (filter.until !== undefined) query = query.where('received_at', '<', filter.until);
      if (filter.before !== undefined) query = query.where('id', '<', filter.before);
      return (await query.execute()).map(toActivity);
    },
    async count(since) {
      const rows = await database
        .selectFrom('activity')
        .select(['outcome', (expression) => expression.fn.countAll().as('count')])
        // Naming every outcome lets the index (outcome, received_at) be searched; without, SQLite walks all of it.
        .where('outcome', 'in', OUTCOMES)
        .where('received_at', '>=', since)
        .groupBy('outcome')
        .execute();
      return Object.fromEntries(rows.map((row) => [row.outcome, Number(row.count)]));
    },
    async openBefore(time, after) {
      let query = database
        .selectFrom('activity')
        .selectAll()
        .where('outcome', '=', 'accepted')
        .where('received_at', '<', time)
        .orderBy('received_at')
        .orderBy('id')
        .limit(SWEEP);
      if (after !== undefined)
        query = query.where((expression) =>
          expression.or([
            expression('received_at', '>', after.receivedAt),
            expression.and([expression('received_at', '=', after.receivedAt), expression('id', '>', after.id)]),
          ]),
        );
      return (await query.execute()).map(toActivity);
    },
    expire: (time) =>
      database.transaction().execute(async (transaction) => {
        const old = transaction
          .selectFrom('activity')
          .select('id')
          .where('received_at', '<', time)
          .where('outcome', '!=', 'accepted');
        await transaction.deleteFrom('deliveries').where('activity_id', 'in', old).execute();
        // The step mail.deliver keeps its outcomes here, under its idempotency key and without a record.
        await transaction
          .deleteFrom('deliveries')
          .where('updated_at', '<', time)
          .where(({ not, exists, selectFrom }) =>
            not(exists(selectFrom('activity').select('id').whereRef('activity.id', '=', 'deliveries.activity_id'))),
          )
          .execute();
        const gone = await transaction.deleteFrom('activity').where('id', 'in', old).executeTakeFirst();
        return Number(gone.numDeletedRows);
      }),
  };
}

const byDeliveryKey = (one: MailActivity, other: MailActivity): number =>
  (one.deliveryKey ?? '') < (other.deliveryKey ?? '') ? -1 : 1;

const find = (database: Database, id: string) =>
  database.selectFrom('activity').selectAll().where('id', '=', id).executeTakeFirst();

/** Inserts a record, over an older one of the same message where that had an end that may be repeated. */
export async function openOne(transaction: Database, row: MailActivity): Promise<void> {
  // Another process may open one with the same delivery key between our look and our insert: then we look again.
  while (!(await insert(transaction, row))) await makeWay(transaction, row);
}

/** False where there is one with its id or delivery key. */
async function insert(database: Database, row: MailActivity): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await database
    .insertInto('activity')
    .values(fromActivity(row))
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}

/** Removes what may be replaced, and its hold on its message. @throws PermanentError `activity.exists` for what may not */
async function makeWay(transaction: Database, row: MailActivity): Promise<void> {
  const existing = await transaction
    .selectFrom('activity')
    .select(['id', 'outcome'])
    .where((expression) =>
      expression.or([
        expression('id', '=', row.id),
        ...(row.deliveryKey === null ? [] : [expression('delivery_key', '=', row.deliveryKey)]),
      ]),
    )
    .forUpdate()
    .execute();
  for (const one of existing) {
    if (!REPEATABLE.includes(one.outcome as Outcome)) throw exists(one, row);
    await transaction.deleteFrom('deliveries').where('activity_id', '=', one.id).execute();
    await transaction.deleteFrom('activity').where('id', '=', one.id).execute();
    // Whoever takes its place under its id has made itself the owner of the message already.
    if (one.id !== row.id)
      await transaction.deleteFrom('blob_owners').where('owner', '=', `activity:${one.id}`).execute();
  }
}

function exists(found: { id: string; outcome: string }, row: MailActivity): PermanentError {
  return new PermanentError({
    code: 'activity.exists',
    message: `The message for ${row.recipient} has an activity record already (${found.outcome}).`,
    fix: 'Look it up by its delivery key and go by its outcome.',
    details: { id: found.id, outcome: found.outcome },
  });
}

function toActivity(row: Selectable<Tables['activity']>): MailActivity {
  return {
    id: row.id,
    deliveryKey: row.delivery_key,
    receivedAt: row.received_at,
    messageId: row.message_id,
    sourceAddress: row.source_address,
    helo: row.helo,
    tls: row.tls,
    sender: row.sender,
    recipient: row.recipient,
    headerFrom: row.header_from,
    headerMessageId: row.header_message_id,
    subject: row.subject,
    blob: fromJson(row.blob),
    authentication: fromJson(row.authentication),
    ruleId: row.rule_id,
    action: fromJson(row.action),
    outcome: row.outcome as Outcome,
    errorCode: row.error_code,
    errorText: row.error_text,
    reply: fromJson(row.reply),
    attempts: row.attempts,
    resent: fromFlag(row.resent),
    workflowId: row.workflow_id,
    closedAt: row.closed_at,
  };
}

/** Header fields are for people: longer ones are cut. */
const HEADER_CHARACTERS = 200;
const cut = (text: string | null): string | null => text && Array.from(text).slice(0, HEADER_CHARACTERS).join('');

export function fromActivity(row: MailActivity): Tables['activity'] {
  return {
    id: row.id,
    delivery_key: row.deliveryKey,
    received_at: row.receivedAt,
    message_id: row.messageId,
    source_address: row.sourceAddress,
    helo: row.helo,
    tls: row.tls,
    sender: row.sender,
    recipient: row.recipient,
    recipient_domain: row.recipient.slice(row.recipient.lastIndexOf('@') + 1).toLowerCase(),
    header_from: cut(row.headerFrom),
    header_message_id: cut(row.headerMessageId),
    subject: cut(row.subject),
    blob: toJson(row.blob),
    authentication: toJson(row.authentication),
    rule_id: row.ruleId,
    action: toJson(row.action),
    outcome: row.outcome,
    error_code: row.errorCode,
    error_text: row.errorText,
    reply: toJson(row.reply),
    attempts: row.attempts,
    resent: toFlag(row.resent),
    workflow_id: row.workflowId,
    closed_at: row.closedAt,
  };
}
