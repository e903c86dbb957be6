/** What the local inbox took. */
import type { Selectable } from 'kysely';
import { uuidv7 } from './ids.ts';
import type { InboxMessage, InboxRecords } from './port.ts';
import { fromJson, pageSize, toJson, type Database, type Tables } from './tables.ts';

/** Below the 32,766 parameters that SQLite takes in one statement. */
const TRIMMED_AT_ONCE = 1_000;

export function inboxRecords(database: Database): InboxRecords {
  return {
    add: (message) =>
      database.transaction().execute(async (transaction) => {
        const stored: InboxMessage = { ...message, id: uuidv7() };
        await transaction.insertInto('inbox').values(fromMessage(stored)).execute();
        for (const recipient of new Set(message.recipients)) {
          await transaction.insertInto('inbox_recipients').values({ message_id: stored.id, recipient }).execute();
        }
        return stored;
      }),
    async get(id) {
      const row = await database.selectFrom('inbox').selectAll().where('id', '=', id).executeTakeFirst();
      return row && toMessage(row);
    },
    async list({ before, limit, recipient }) {
      let query = database.selectFrom('inbox').selectAll().orderBy('id', 'desc').limit(pageSize(limit));
      if (before !== undefined) query = query.where('id', '<', before);
      if (recipient !== undefined) {
        const addressed = database
          .selectFrom('inbox_recipients')
          .select('message_id')
          .where('recipient', '=', recipient);
        query = query.where('id', 'in', addressed);
      }
      return (await query.execute()).map(toMessage);
    },
    trim: (keep) =>
      database.transaction().execute(async (transaction) => {
        const newest = transaction.selectFrom('inbox').select('id').orderBy('id', 'desc').limit(keep);
        const old = transaction
          .selectFrom('inbox')
          .selectAll()
          .where('id', 'not in', newest)
          .orderBy('id')
          .limit(TRIMMED_AT_ONCE);
        const rows = await old.execute();
        const ids = rows.map((row) => row.id);
        if (ids.length === 0) return [];
        await transaction.deleteFrom('inbox_recipients').where('message_id', 'in', ids).execute();
        await transaction.deleteFrom('inbox').where('id', 'in', ids).execute();
        return rows.map(toMessage);
      }),
  };
}

function toMessage(row: Selectable<Tables['inbox']>): InboxMessage {
  return {
    id: row.id,
    receivedAt: row.received_at,
    sender: row.sender,
    recipients: JSON.parse(row.recipients) as string[],
    from: row.header_from,
    subject: row.subject,
    blob: JSON.parse(row.blob) as InboxMessage['blob'],
    authentication: fromJson(row.authentication),
  };
}

function fromMessage(message: InboxMessage): Tables['inbox'] {
  return {
    id: message.id,
    received_at: message.receivedAt,
    sender: message.sender,
    recipients: JSON.stringify(message.recipients),
    header_from: message.from,
    subject: message.subject,
    blob: JSON.stringify(message.blob),
    authentication: toJson(message.authentication),
  };
}
