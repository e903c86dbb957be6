/**
 * What must not happen at the same time in two processes. A SQLite transaction has the database alone; PostgreSQL runs
 * many (READ COMMITTED: each statement sees what was committed before it), so whoever reads, decides and writes says
 * what it holds: rows that are there with `forUpdate()`, what has no row yet by a name.
 */
import { PostgresAdapter, sql } from 'kysely';
import type { Database } from './tables.ts';

/**
 * Holds names until the end of the transaction. Waits where another transaction holds one; takes them in an order of
 * their own, so that two that want the same names never wait for each other.
 */
export async function hold(transaction: Database, ...names: string[]): Promise<void> {
  if (!(transaction.getExecutor().adapter instanceof PostgresAdapter)) return;
  // The number is 64 bits of a hash; two names that share one only wait for each other.
  const sorted = [...new Set(names)].sort();
  await sql`
    select pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || name, 0))
    from unnest(${sorted}::text[]) with ordinality as given(name, place) order by place`.execute(transaction);
}
