/** What came to a report address and was not taken, for a person to look at. */
import type { Selectable } from 'kysely';
import { writeAudit } from '../audit.ts';
import { fromJson, pageSize, toJson, type Database } from '../tables.ts';
import { quarantineOwner, type Quarantined, type QuarantineRecords } from './port.ts';
import type { DmarcTables } from './tables.ts';

export function quarantineRecords(database: Database): QuarantineRecords {
  return {
    async put(entry) {
      await database
        .insertInto('dmarc_quarantine')
        .values(fromQuarantined(entry))
        .onConflict((conflict) => conflict.column('act').doNothing())
        .execute();
      const row = await database
        .selectFrom('dmarc_quarantine')
        .selectAll()
        .where('act', '=', entry.act)
        .executeTakeFirstOrThrow();
      return toQuarantined(row);
    },
    get: (id) => find(database, id),
    async list({ domain, before, limit }) {
      let query = database.selectFrom('dmarc_quarantine').selectAll().orderBy('id', 'desc').limit(pageSize(limit));
      if (domain !== undefined) query = query.where('domain', '=', domain);
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.execute()).map(toQuarantined);
    },
    async count({ domain, since }) {
      let query = database.selectFrom('dmarc_quarantine').select(({ fn }) => fn.countAll<number>().as('count'));
      if (domain !== undefined) query = query.where('domain', '=', domain);
      if (since !== undefined) query = query.where('received_at', '>=', since);
      return (await query.executeTakeFirstOrThrow()).count;
    },
    remove: (id, actor) =>
      database.transaction().execute(async (transaction) => {
        const before = await find(transaction, id);
        if (!before) return false;
        await transaction.deleteFrom('dmarc_quarantine').where('id', '=', id).execute();
        await transaction.deleteFrom('blob_owners').where('owner', '=', quarantineOwner(id)).execute();
        await writeAudit(transaction, {
          actor,
          action: 'dmarc.quarantine.removed',
          subject: id,
          before,
          after: null,
        });
        return true;
      }),
    async expire(now) {
      const gone = await database.deleteFrom('dmarc_quarantine').where('expires_at', '<=', now).executeTakeFirst();
      return Number(gone.numDeletedRows);
    },
  };
}

async function find(database: Database, id: string): Promise<Quarantined | undefined> {
  const row = await database.selectFrom('dmarc_quarantine').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toQuarantined(row);
}

const toQuarantined = (row: Selectable<DmarcTables['dmarc_quarantine']>): Quarantined => ({
  id: row.id,
  act: row.act,
  domain: row.domain,
  address: row.address,
  sender: row.sender,
  receivedAt: row.received_at,
  code: row.code,
  message: row.message,
  blob: JSON.parse(row.blob) as Quarantined['blob'],
  file: row.file,
  mail: fromJson(row.mail),
  expiresAt: row.expires_at,
});

const fromQuarantined = (entry: Quarantined): DmarcTables['dmarc_quarantine'] => ({
  id: entry.id,
  act: entry.act,
  domain: entry.domain,
  address: entry.address,
  sender: entry.sender,
  received_at: entry.receivedAt,
  code: entry.code,
  message: entry.message,
  blob: JSON.stringify(entry.blob),
  file: entry.file,
  mail: toJson(entry.mail),
  expires_at: entry.expiresAt,
});
