/** Many rows at once. A large report has 500,000: the statement is built once for a full batch, since building costs more than running. */
import type { CompiledQuery } from 'kysely';
import type { Database } from '../tables.ts';
import type { DmarcTables } from './tables.ts';

/** Rows of a statement: 500 of the widest are 7,500 parameters, a quarter of what SQLite takes. */
const ROWS = 500;

const built = new WeakMap<object, Map<string, CompiledQuery>>();

/** Inserts the rows that are not there yet, by their key. All have the same columns in the same order. */
export async function insertMissing<Table extends keyof DmarcTables>(
  database: Database,
  table: Table,
  rows: DmarcTables[Table][],
): Promise<void> {
  for (let from = 0; from < rows.length; from += ROWS) {
    const batch = rows.slice(from, from + ROWS);
    const compiled = batch.length === ROWS ? whole(database, table, batch) : compile(database, table, batch);
    await database.executeQuery({ ...compiled, parameters: batch.flatMap((row) => Object.values(row)) });
  }
}

function whole<Table extends keyof DmarcTables>(database: Database, table: Table, batch: DmarcTables[Table][]) {
  // A transaction is another object each time; what compiles is the same for all of one database.
  const { adapter } = database.getExecutor();
  let statements = built.get(adapter);
  if (!statements) built.set(adapter, (statements = new Map()));
  let compiled = statements.get(table);
  if (!compiled) statements.set(table, (compiled = compile(database, table, batch)));
  return compiled;
}

const compile = <Table extends keyof DmarcTables>(database: Database, table: Table, batch: DmarcTables[Table][]) =>
  database
    .insertInto(table)
    .values(batch as never)
    .onConflict((conflict) => conflict.doNothing())
    .compile();
