/** What is known of addresses that mail came from: a name is looked up once for all reports that have the address. */
import type { Selectable } from 'kysely';
import { timeNow, type Database } from '../tables.ts';
import type { DmarcHost, DmarcHostRecords } from './port.ts';
import type { DmarcTables } from './tables.ts';

/** Addresses of one statement. */
const AT_ONCE = 500;

export function dmarcHostRecords(database: Database): DmarcHostRecords {
  return {
    async find(addresses) {
      const found = new Map<string, DmarcHost>();
      for (let from = 0; from < addresses.length; from += AT_ONCE) {
        const rows = await database
          .selectFrom('dmarc_hosts')
          .selectAll()
          .where('address', 'in', addresses.slice(from, from + AT_ONCE))
          .execute();
        for (const row of rows) found.set(row.address, toHost(row));
      }
      return found;
    },
    async put(hosts) {
      const now = timeNow();
      // In one order, so that two that write the same never wait for each other.
      const rows = hosts
        .toSorted((one, other) => (one.address < other.address ? -1 : 1))
        .map((host) => ({ ...host, looked_up_at: now }));
      for (let from = 0; from < rows.length; from += AT_ONCE)
        await database
          .insertInto('dmarc_hosts')
          .values(rows.slice(from, from + AT_ONCE))
          .onConflict((conflict) =>
            conflict.column('address').doUpdateSet(({ ref }) => ({
              name: ref('excluded.name'),
              country: ref('excluded.country'),
              network: ref('excluded.network'),
              looked_up_at: ref('excluded.looked_up_at'),
            })),
          )
          .execute();
    },
    async *everySource() {
      const query = database
        .selectFrom('dmarc_sources')
        .select(['generation', 'domain', 'source'])
        .orderBy('generation')
        .orderBy('domain')
        .orderBy('source')
        .limit(AT_ONCE);
      for (let next = query; ;) {
        const rows = await next.execute();
        const last = rows.at(-1);
        if (!last) return;
        yield [...new Set(rows.map(({ source }) => source))];
        next = query.where(({ eb, refTuple, tuple }) =>
          eb(refTuple('generation', 'domain', 'source'), '>', tuple(last.generation, last.domain, last.source)),
        );
      }
    },
    async locate(places) {
      const rows = places
        .toSorted((one, other) => (one.address < other.address ? -1 : 1))
        .map(({ address, country, network }) => ({ address, name: null, country, network, looked_up_at: '' }));
      for (let from = 0; from < rows.length; from += AT_ONCE)
        await database
          .insertInto('dmarc_hosts')
          .values(rows.slice(from, from + AT_ONCE))
          .onConflict((conflict) =>
            conflict
              .column('address')
              .doUpdateSet(({ ref }) => ({ country: ref('excluded.country'), network: ref('excluded.network') })),
          )
          .execute();
    },
  };
}

const toHost = (row: Selectable<DmarcTables['dmarc_hosts']>): DmarcHost => ({
  address: row.address,
  name: row.name,
  country: row.country,
  network: row.network,
  lookedUpAt: row.looked_up_at,
});
