/** Who needs which blob. A blob without an owner is swept after a day. */
import { TemporaryError } from '../../protocols/errors.ts';
import { hold } from './locks.ts';
import { among, insertRows } from './many.ts';
import type { BlobOwnerRecords } from './port.ts';
import { timeNow, type Database, type Tables } from './tables.ts';
import { together } from './together.ts';

/** The owner of what the sweep is about to remove. */
const SWEEP = 'sweep';
/** What an owner and the sweep want of a blob that nobody owns yet. */
const lockOf = (key: string): string => `blob/${key}`;

/** Blobs that are owned in one transaction: it holds a lock for each, and a server has 64 a connection by default. */
const OWNED_AT_ONCE = 50;

export function blobOwnerRecords(database: Database): BlobOwnerRecords {
  const ownOne = together(
    (rows: readonly Owner[]) => ownAll(database, rows),
    (rows, { key, owner }) =>
      rows.length < OWNED_AT_ONCE && !rows.some((one) => one.key === key && one.owner === owner),
  );
  return {
    async own(ref, owner, expiresAt) {
      const { sha256, size } = ref;
      if (!(await ownOne({ key: ref.key, owner, sha256, size, expires_at: expiresAt }))) throw swept(ref.key);
    },
    async disown(key, owner) {
      await database.deleteFrom('blob_owners').where('key', '=', key).where('owner', '=', owner).execute();
    },
    async expireOwner(owner, expiresAt) {
      await database.updateTable('blob_owners').set({ expires_at: expiresAt }).where('owner', '=', owner).execute();
    },
    isOwned: (key, now) => isOwned(database, key, now),
    claim: (key, now, until) =>
      database.transaction().execute(async (transaction) => {
        await hold(transaction, lockOf(key));
        if (await isOwned(transaction, key, now)) return false;
        const claim = { sha256: key.slice(key.lastIndexOf('/') + 1), size: 0, expires_at: until };
        await transaction
          .insertInto('blob_owners')
          .values({ key, owner: SWEEP, ...claim })
          .onConflict((conflict) => conflict.columns(['key', 'owner']).doUpdateSet(claim))
          .execute();
        return true;
      }),
    async release(key) {
      await database.deleteFrom('blob_owners').where('key', '=', key).where('owner', '=', SWEEP).execute();
    },
    async expire(now) {
      const gone = await database.deleteFrom('blob_owners').where('expires_at', '<=', now).executeTakeFirst();
      return Number(gone.numDeletedRows);
    },
  };
}

type Owner = Tables['blob_owners'];

/** @returns of each whether it is owned now: not one that the sweep is just removing */
const ownAll = (database: Database, rows: readonly Owner[]): Promise<boolean[]> =>
  database.transaction().execute(async (transaction) => {
    const keys = rows.map(({ key }) => key);
    await hold(transaction, ...keys.map(lockOf));
    const swept = await sweptOf(transaction, keys);
    const owned = rows.filter(({ key }) => !swept.has(key));
    await insertRows(transaction, 'blob_owners', owned, '(key, owner) do update set expires_at = excluded.expires_at');
    return rows.map(({ key }) => !swept.has(key));
  });

async function isOwned(database: Database, key: string, now: string): Promise<boolean> {
  const row = await database
    .selectFrom('blob_owners')
    .select('owner')
    .where('key', '=', key)
    .where((expression) => expression.or([expression('expires_at', 'is', null), expression('expires_at', '>', now)]))
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** A claim that a killed sweep left behind ends by its time. */
async function sweptOf(database: Database, keys: string[]): Promise<Set<string>> {
  const rows = await database
    .selectFrom('blob_owners')
    .select('key')
    .where(among(database, 'key', keys))
    .where('owner', '=', SWEEP)
    .where('expires_at', '>', timeNow())
    .execute();
  return new Set(rows.map(({ key }) => key));
}

function swept(key: string): TemporaryError {
  return new TemporaryError({
    code: 'blob.unavailable',
    message: `The blob ${key} had no owner and is just being removed.`,
    fix: 'Store it again.',
  });
}
