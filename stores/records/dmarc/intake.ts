/** What came to each report address in the last day, so that no stranger fills the store. */
import { sql } from 'kysely';
import { overQuota, QUOTA_WINDOW, type Amount } from '../../../protocols/dmarc/quota.ts';
import { hold } from '../locks.ts';
import type { Database } from '../tables.ts';
import type { IntakeRecords } from './port.ts';

export function intakeRecords(database: Database): IntakeRecords {
  return {
    take: ({ id, domain, sender, mails, bytes, records }, quota, now) =>
      database.transaction().execute(async (transaction) => {
        // Two that come together must not both have the last place.
        await hold(transaction, `dmarc-intake/${domain}`);
        const known = await transaction.selectFrom('dmarc_intake').select('id').where('id', '=', id).executeTakeFirst();
        if (known) return undefined;
        const before = {
          sender: await sumOf(transaction, { domain, sender }, now),
          address: await sumOf(transaction, { domain }, now),
        };
        const over = overQuota(before, { mails, bytes, records }, quota);
        if (over) return over;
        await transaction
          .insertInto('dmarc_intake')
          .values({ id, domain, sender, at: now, mails, bytes, records })
          .execute();
        return undefined;
      }),
    async isFull(domain, quota, now) {
      const nobody = { mails: 0, bytes: 0, records: 0 };
      const before = { sender: nobody, address: await sumOf(database, { domain }, now) };
      return overQuota(before, { mails: 1, bytes: 1, records: 1 }, quota);
    },
    async expire(now) {
      const gone = await database.deleteFrom('dmarc_intake').where('at', '<=', beginOf(now)).executeTakeFirst();
      return Number(gone.numDeletedRows);
    },
  };
}

async function sumOf(
  database: Database,
  { domain, sender }: { domain: string; sender?: string },
  now: string,
): Promise<Amount> {
  let query = database
    .selectFrom('dmarc_intake')
    .select([
      sql<number>`cast(coalesce(sum(mails), 0) as bigint)`.as('mails'),
      sql<number>`cast(coalesce(sum(bytes), 0) as bigint)`.as('bytes'),
      sql<number>`cast(coalesce(sum(records), 0) as bigint)`.as('records'),
    ])
    .where('domain', '=', domain)
    .where('at', '>', beginOf(now));
  if (sender !== undefined) query = query.where('sender', '=', sender);
  return query.executeTakeFirstOrThrow();
}

const beginOf = (now: string): string => new Date(Date.parse(now) - QUOTA_WINDOW).toISOString();
