/** Who needs which blob. A blob without an owner is swept after a day. */
import type { BlobOwnerRecords } from './port.ts';
import type { Database } from './tables.ts';

export function blobOwnerRecords(database: Database): BlobOwnerRecords {
  return {
    async own(ref, owner, expiresAt) {
      await database
        .insertInto('blob_owners')
        .values({ key: ref.key, owner, sha256: ref.sha256, size: ref.size, expires_at: expiresAt })
        .onConflict((conflict) => conflict.columns(['key', 'owner']).doUpdateSet({ expires_at: expiresAt }))
        .execute();
    },
    async disown(key, owner) {
      await database.deleteFrom('blob_owners').where('key', '=', key).where('owner', '=', owner).execute();
    },
    async expireOwner(owner, expiresAt) {
      await database.updateTable('blob_owners').set({ expires_at: expiresAt }).where('owner', '=', owner).execute();
    },
    async isOwned(key, now) {
      const row = await database
        .selectFrom('blob_owners')
        .select('owner')
        .where('key', '=', key)
        .where((expression) =>
          expression.or([expression('expires_at', 'is', null), expression('expires_at', '>', now)]),
        )
        .limit(1)
        .executeTakeFirst();
      return row !== undefined;
    },
    async expire(now) {
      const gone = await database.deleteFrom('blob_owners').where('expires_at', '<=', now).executeTakeFirst();
      return Number(gone.numDeletedRows);
    },
  };
}
