/** Who needs which blob. A blob without an owner is swept after a day. */
import { TemporaryError } from '../../protocols/errors.ts';
import { hold } from './locks.ts';
import type { BlobOwnerRecords } from './port.ts';
import { timeNow, type Database } from './tables.ts';

/** The owner of what the sweep is about to remove. */
const SWEEP = 'sweep';
/** What an owner and the sweep want of a blob that nobody owns yet. */
const lockOf = (key: string): string => `blob/${key}`;

export function blobOwnerRecords(database: Database): BlobOwnerRecords {
  return {
    own: (ref, owner, expiresAt) =>
      database.transaction().execute(async (transaction) => {
        await hold(transaction, lockOf(ref.key));
        if (await isSwept(transaction, ref.key)) throw swept(ref.key);
        await transaction
          .insertInto('blob_owners')
          .values({ key: ref.key, owner, sha256: ref.sha256, size: ref.size, expires_at: expiresAt })
          .onConflict((conflict) => conflict.columns(['key', 'owner']).doUpdateSet({ expires_at: expiresAt }))
          .execute();
      }),
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
async function isSwept(database: Database, key: string): Promise<boolean> {
  const row = await database
    .selectFrom('blob_owners')
    .select('owner')
    .where('key', '=', key)
    .where('owner', '=', SWEEP)
    .where('expires_at', '>', timeNow())
    .executeTakeFirst();
  return row !== undefined;
}

function swept(key: string): TemporaryError {
  return new TemporaryError({
    code: 'blob.unavailable',
    message: `The blob ${key} had no owner and is just being removed.`,
    fix: 'Store it again.',
  });
}
