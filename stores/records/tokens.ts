/** Bearer tokens. Only the SHA-256 is kept: 256 random bits need no slow hash. */
import { createHash, randomBytes } from 'node:crypto';
import type { Selectable } from 'kysely';
import { uuidv7 } from './ids.ts';
import type { TokenRecord, TokenRecords } from './port.ts';
import { timeNow, type Database, type Tables } from './tables.ts';

/** ms between two notes of the last use: one write a minute, not one a request. */
const NOTE_EVERY = 60_000;
/** Marks our tokens for people and for secret scanners. */
const PREFIX = 'sy_';

export function tokenRecords(database: Database): TokenRecords {
  return {
    async create(name, scopes) {
      const token = PREFIX + randomBytes(32).toString('base64url');
      const record: TokenRecord = { id: uuidv7(), name, scopes, createdAt: timeNow(), lastUsedAt: null };
      await database
        .insertInto('tokens')
        .values({
          id: record.id,
          name,
          hash: hashOf(token),
          scopes: JSON.stringify(scopes),
          created_at: record.createdAt,
          last_used_at: null,
        })
        .execute();
      return { ...record, token };
    },
    async find(token) {
      const row = await database.selectFrom('tokens').selectAll().where('hash', '=', hashOf(token)).executeTakeFirst();
      if (!row) return undefined;
      if (row.last_used_at === null || Date.parse(row.last_used_at) < Date.now() - NOTE_EVERY) {
        row.last_used_at = timeNow();
        await database.updateTable('tokens').set({ last_used_at: row.last_used_at }).where('id', '=', row.id).execute();
      }
      return toToken(row);
    },
    async list() {
      return (await database.selectFrom('tokens').selectAll().orderBy('id').execute()).map(toToken);
    },
    async remove(id) {
      const gone = await database.deleteFrom('tokens').where('id', '=', id).executeTakeFirst();
      return gone.numDeletedRows > 0n;
    },
    async callbackKey(id) {
      const row = await database.selectFrom('tokens').select('hash').where('id', '=', id).executeTakeFirst();
      return row && Buffer.from(row.hash, 'hex');
    },
  };
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

function toToken(row: Selectable<Tables['tokens']>): TokenRecord {
  return {
    id: row.id,
    name: row.name,
    scopes: JSON.parse(row.scopes) as string[],
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
  };
}
