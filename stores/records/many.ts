/**
 * Many rows at once. PostgreSQL gets them as one JSON text: a short statement, however many rows there are, and little work
 * here. SQLite gets their values as parameters, in statements of a few sizes that stay prepared: to prepare one costs more
 * than to run it.
 */
import { CompiledQuery, PostgresAdapter, sql, type RawBuilder } from 'kysely';
import type { Database, Tables } from './tables.ts';

type Value = string | number | null;

/** Rows of a statement of SQLite: 500 of the widest are 7,500 parameters, a quarter of what it takes. */
const SIZES = [500, 100, 20, 4, 1];
/** Rows of a statement of PostgreSQL: some MB of the widest. */
const ROWS = 5_000;

/**
 * Writes the rows of a table. All have the same columns in the same order.
 * @param onConflict what is done about rows whose key is there, in SQL; no two of the rows have one key then
 */
export async function insertRows<Table extends keyof Tables>(
  database: Database,
  table: Table,
  rows: readonly Tables[Table][],
  onConflict?: string,
): Promise<void> {
  const [first] = rows;
  if (!first) return;
  const columns = Object.keys(first);
  const values = rows as readonly Record<string, Value>[];
  const isPostgres = isOfPostgres(database);
  const into = { table, columns, after: onConflict === undefined ? '' : ` on conflict ${onConflict}` };
  for (let from = 0; from < values.length;) {
    const left = values.length - from;
    const size = isPostgres ? Math.min(left, ROWS) : (SIZES.find((one) => one <= left) ?? 1);
    const some = values.slice(from, from + size);
    await database.executeQuery(isPostgres ? fromJson(into, some) : fromList(into, some));
    from += size;
  }
}

interface Into {
  table: string;
  columns: string[];
  after: string;
}

/** Texts of statements for SQLite: a few sizes of each table. One of 500 rows has 20,000 characters. */
const texts = new Map<string, string>();

function fromList(into: Into, rows: readonly Record<string, Value>[]): CompiledQuery {
  const name = `${into.table}/${rows.length}/${into.after}`;
  let text = texts.get(name);
  if (text === undefined) {
    const row = `(${into.columns.map(() => '?').join(', ')})`;
    texts.set(name, (text = `${headOf(into)} values ${rows.map(() => row).join(', ')}${into.after}`));
  }
  return CompiledQuery.raw(
    text,
    rows.flatMap((one) => Object.values(one)),
  );
}

const headOf = ({ table, columns }: Into): string => `insert into ${quoted(table)} (${columns.map(quoted).join(', ')})`;

function fromJson(into: Into, rows: readonly Record<string, Value>[]): CompiledQuery {
  const { columns } = into;
  // A column of nothing but nulls has no type that could be seen.
  const known = columns.map((column) => rows.find((row) => row[column] !== null)?.[column]);
  const types = columns.flatMap((column, index) => {
    const value = known[index];
    return value === undefined ? [] : [`${quoted(column)} ${typeof value === 'number' ? 'bigint' : 'text'}`];
  });
  const chosen = columns.map((column, index) => (known[index] === undefined ? 'null' : `given.${quoted(column)}`));
  const json = JSON.stringify(rows);
  return CompiledQuery.raw(
    `${headOf(into)} select ${chosen.join(', ')} from json_to_recordset($1) as given(${types.join(', ')})${into.after}`,
    [UNSTORABLE.test(json) ? JSON.stringify(rows, (_, value: unknown) => storable(value)) : json],
  );
}

/** What a text of PostgreSQL cannot hold, as it stands in JSON: NUL and halves of a character. A "\\u0000" is taken for one. */
const UNSTORABLE = /\\u(?:0000|d[89a-f])/i;

/** Whether a column of text has one of the values; the same statement however many there are. */
export const among = (database: Database, column: string, values: readonly string[]): RawBuilder<boolean> =>
  isOfPostgres(database)
    ? sql`${sql.ref(column)} = any(${values}::text[])`
    : sql`${sql.ref(column)} in (select value from json_each(${JSON.stringify(values)}))`;

const isOfPostgres = (database: Database): boolean => database.getExecutor().adapter instanceof PostgresAdapter;
/** As the driver writes a text that is a parameter of its own. */
const storable = (value: unknown): unknown =>
  typeof value === 'string' ? value.replaceAll('\0', '\uFFFD').toWellFormed() : value;
const quoted = (name: string): string => `"${name}"`;
