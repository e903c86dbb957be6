/** The audit log: who changed what, when. Written in the transaction of the change it tells of. */
import type { AuditRecords } from './port.ts';
import { uuidv7 } from './ids.ts';
import { fromJson, pageSize, timeNow, toJson, type Database } from './tables.ts';

export function auditRecords(database: Database): AuditRecords {
  return {
    write: (entry) => writeAudit(database, entry),
    async list({ before, limit }) {
      let query = database.selectFrom('audit').selectAll().orderBy('id', 'desc').limit(pageSize(limit));
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.execute()).map((row) => ({
        ...row,
        before: fromJson(row.before),
        after: fromJson(row.after),
      }));
    },
  };
}

/** Writes one entry; `database` may be a transaction. */
export async function writeAudit(database: Database, entry: Parameters<AuditRecords['write']>[0]): Promise<void> {
  await database
    .insertInto('audit')
    .values({
      id: uuidv7(),
      at: timeNow(),
      actor: entry.actor,
      action: entry.action,
      subject: entry.subject,
      before: toJson(entry.before),
      after: toJson(entry.after),
    })
    .execute();
}
