/** Sealed key material; `stores/keys` seals and opens it. */
import type { Selectable } from 'kysely';
import { PermanentError } from '../../protocols/errors.ts';
import { uuidv7 } from './ids.ts';
import type { KeyRecords, KeyRow } from './port.ts';
import { fromText, toText, type Database, type Tables } from './tables.ts';

export function keyRecords(database: Database): KeyRecords {
  return {
    async add(row) {
      const { numInsertedOrUpdatedRows } = await database
        .insertInto('keys')
        .values({
          id: uuidv7(),
          domain: row.domain,
          selector: row.selector,
          public_key: row.publicKey,
          sealed: toText(row.sealed),
          created_at: row.createdAt,
        })
        .onConflict((conflict) => conflict.columns(['domain', 'selector']).doNothing())
        .executeTakeFirst();
      if (numInsertedOrUpdatedRows !== 1n) throw exists(row);
    },
    async newest(domain) {
      const row = await database
        .selectFrom('keys')
        .selectAll()
        .where('domain', '=', domain)
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row && toKey(row);
    },
    async list() {
      const rows = await database.selectFrom('keys').selectAll().orderBy('domain').orderBy('id').execute();
      return rows.map(toKey);
    },
    async secret(name, sealed) {
      await database
        .insertInto('secrets')
        .values({ name, sealed: toText(sealed) })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
      const row = await database
        .selectFrom('secrets')
        .select('sealed')
        .where('name', '=', name)
        .executeTakeFirstOrThrow();
      return fromText(row.sealed);
    },
  };
}

function exists(row: KeyRow): PermanentError {
  return new PermanentError({
    code: 'key.exists',
    message: `${row.domain} has a key with the selector ${row.selector} already.`,
    fix: 'Choose another selector: one that was published must keep its key.',
    details: { domain: row.domain, selector: row.selector },
  });
}

function toKey(row: Selectable<Tables['keys']>): KeyRow {
  return {
    domain: row.domain,
    selector: row.selector,
    publicKey: row.public_key,
    sealed: fromText(row.sealed),
    createdAt: row.created_at,
  };
}
