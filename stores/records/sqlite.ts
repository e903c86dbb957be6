/**
 * SQLite through node:sqlite, as a Kysely dialect. The only file that knows SQLite, but for `many.ts`.
 *
 * - WAL, and a commit is on the disk when its caller goes on: a 250 promises that the message survives a power cut.
 *   The sync is done beside the event loop (`wal-sync.ts`), hence synchronous=NORMAL, and before anybody hears of it.
 * - Several processes share the file. node:sqlite is synchronous, so a long busy time-out would stop the event
 *   loop of an SMTP server: the time-out in SQLite is short, and waiting for the lock is done here with timers.
 * - Transactions that write are BEGIN IMMEDIATE: they take the write lock at once, so that none fails half way because
 *   another one wrote after its first read (SQLITE_BUSY_SNAPSHOT cannot be waited out).
 */
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import {
  CompiledQuery,
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  type SelectModifierNode,
} from 'kysely';
import { messageOf, TemporaryError } from '../../protocols/errors.ts';
import type { Database, Tables } from './tables.ts';
import { createWalSync, type WalSync } from './wal-sync.ts';

/** ms that SQLite itself waits for a lock: about one fsync of another process, and no longer than a loop may stand still. */
const BUSY_TIMEOUT = 10;
/** ms after which a locked database is given up, counted from the moment the caller asked. */
const LOCK_WAIT = 5_000;
/** ms between two tries for the lock: doubled from the first to the second, with jitter, so that no process starves. */
const FIRST_PAUSE = 5;
const LONGEST_PAUSE = 100;
/** Prepared statements kept; the house has about a hundred distinct ones. */
const STATEMENTS = 300;

/**
 * Opens or makes the file, readable by its owner only.
 * @throws TemporaryError `records.unavailable`
 */
export async function openSqlite(file: string): Promise<Database> {
  await createPrivately(file);
  let database: DatabaseSync;
  try {
    database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT });
  } catch (thrown) {
    throw unavailable(thrown, file);
  }
  const connection = new SqliteConnection(database, file);
  try {
    // A user like any other: processes that start together wait for each other here too.
    await connection.acquire();
    for (const pragma of ['journal_mode = wal', 'synchronous = normal', 'foreign_keys = on']) {
      await connection.executeQuery(CompiledQuery.raw(`pragma ${pragma}`));
    }
    await connection.release();
  } catch (thrown) {
    database.close();
    throw thrown;
  }
  return new Kysely<Tables>({ dialect: sqliteDialect(connection) });
}

function sqliteDialect(connection: SqliteConnection): Dialect {
  return {
    createAdapter: () => new SqliteAdapter(),
    createDriver: () => sqliteDriver(connection),
    createIntrospector: (database) => new SqliteIntrospector(database),
    createQueryCompiler: () => new AloneCompiler(),
  };
}

/** Row locks (`for update`) are for databases that run several transactions; here one has the file alone. */
class AloneCompiler extends SqliteQueryCompiler {
  protected override visitSelectModifier(node: SelectModifierNode): void {
    if (node.modifier !== 'ForUpdate') super.visitSelectModifier(node);
  }
}

function sqliteDriver(connection: SqliteConnection): Driver {
  const run = async (sql: string) => void (await connection.executeQuery(CompiledQuery.raw(sql)));
  return {
    init: async () => undefined,
    acquireConnection: () => connection.acquire(),
    // One that only reads has one state of the file, and keeps nobody from writing.
    beginTransaction: (_, { accessMode }) => run(accessMode === 'read only' ? 'begin' : 'begin immediate'),
    commitTransaction: () => run('commit'),
    // A full disk or an I/O error may have rolled back already.
    rollbackTransaction: async () => (connection.inTransaction ? run('rollback') : undefined),
    releaseConnection: () => connection.release(),
    destroy: () => connection.close(),
  };
}

/** Statements that leave nothing to sync, but for what was written before them. */
const READS = /^\s*(?:select|pragma|begin|commit|rollback)\b/i;

interface Prepared {
  statement: StatementSync;
  reads: boolean;
  hasRows: boolean;
}

/** The one connection of a process. Its users take turns: a transaction spans several awaits. */
class SqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #statements = new Map<string, Prepared>();
  readonly #queue: { take(): void; deadline: number }[] = [];
  readonly #wal: WalSync;
  #taken = false;
  /** The present user has changed something that is not synced yet. */
  #changed = false;
  /** When the present user gives up waiting for the lock; waiting in the queue counts. */
  #deadline = 0;

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#file = file;
    this.#wal = createWalSync(`${file}-wal`);
  }

  get inTransaction(): boolean {
    return this.#database.isTransaction;
  }

  async acquire(): Promise<DatabaseConnection> {
    const deadline = Date.now() + LOCK_WAIT;
    if (this.#taken) await new Promise<void>((take) => this.#queue.push({ take, deadline }));
    this.#taken = true;
    this.#deadline = deadline;
    return this;
  }

  /** The next user goes on at once; this one when what it has committed is on the disk. */
  async release(): Promise<void> {
    const changed = this.#changed;
    this.#changed = false;
    const next = this.#queue.shift();
    if (next) next.take();
    else this.#taken = false;
    if (!changed) return;
    await this.#wal.sync().catch((thrown: unknown) => {
      throw unavailable(thrown, this.#file);
    });
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    const deadline = this.inTransaction ? Date.now() + LOCK_WAIT : Math.max(this.#deadline, Date.now());
    for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        return this.#execute<Row>(query);
      } catch (thrown) {
        if (!isBusy(thrown) || Date.now() + pause > deadline) throw unavailable(thrown, this.#file);
        await sleep(pause * (0.5 + Math.random()));
      }
    }
  }

  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error('Records are read in pages, not streamed: a stream would hold the connection.');
  }

  async close(): Promise<void> {
    await this.#wal.close();
    this.#statements.clear();
    this.#database.close();
  }

  #execute<Row>(query: CompiledQuery): QueryResult<Row> {
    const { statement, reads, hasRows } = this.#prepare(query.sql);
    const parameters = query.parameters as SQLInputValue[];
    if (!reads) this.#changed = true;
    if (hasRows) return { rows: rowsOf(statement, parameters, reads) as Row[] };
    const { changes, lastInsertRowid } = statement.run(...parameters);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  #prepare(sql: string): Prepared {
    const kept = this.#statements.get(sql);
    if (kept) return kept;
    const statement = this.#database.prepare(sql);
    const prepared = { statement, reads: READS.test(sql), hasRows: statement.columns().length > 0 };
    if (this.#statements.size >= STATEMENTS) {
      const oldest = this.#statements.keys().next().value;
      if (oldest !== undefined) this.#statements.delete(oldest);
    }
    this.#statements.set(sql, prepared);
    return prepared;
  }
}

/**
 * Integers are numbers. One above 2^53, which only a sum over what strangers claim comes to, is the nearest number, as it
 * is from PostgreSQL: node:sqlite gives no row at all then.
 */
function rowsOf(statement: StatementSync, parameters: SQLInputValue[], reads: boolean): unknown[] {
  try {
    return statement.all(...parameters);
  } catch (thrown) {
    if (!reads || (thrown as NodeJS.ErrnoException).code !== 'ERR_OUT_OF_RANGE') throw thrown;
  }
  statement.setReadBigInts(true);
  try {
    return statement.all(...parameters).map((row) => {
      const values = Object.entries(row).map(([key, value]) => [
        key,
        typeof value === 'bigint' ? Number(value) : value,
      ]);
      return Object.fromEntries(values) as unknown;
    });
  } finally {
    statement.setReadBigInts(false);
  }
}

/** Makes folder and file for their owner alone, and their names durable; SQLite gives `-wal` and `-shm` the same mode. */
async function createPrivately(file: string): Promise<void> {
  const folder = dirname(file);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const handle = await open(file, 'a', 0o600);
    await handle.close();
    const names = await open(folder, 'r');
    await names.sync().finally(() => names.close());
  } catch (thrown) {
    throw unavailable(thrown, file);
  }
}

// Result codes: https://www.sqlite.org/rescode.html
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
/** What the person should do, by primary result code; codes outside of this table are errors of ours and pass through. */
const FIXES: Record<number, string> = {
  5: 'Another program holds the database: close it (an open `sqlite3` shell, a backup) and try again.',
  6: 'Another program holds the database: close it (an open `sqlite3` shell, a backup) and try again.',
  8: 'Make the state folder and its files writable for the user that Switchyard runs as.',
  10: 'Look at the disk and the system log; then start Switchyard again.',
  11: 'The file is damaged: stop Switchyard and restore it from a backup, or try `sqlite3 FILE .recover`.',
  13: 'Free some space on the disk of the state folder.',
  14: 'Check that the state folder exists and that the user that Switchyard runs as may write to it.',
  26: 'The file is no SQLite database: move it away, or restore it from a backup.',
};

function sqliteCode(thrown: unknown): number | undefined {
  return thrown instanceof Error && 'errcode' in thrown ? (thrown.errcode as number) : undefined;
}

function isBusy(thrown: unknown): boolean {
  const primary = (sqliteCode(thrown) ?? 0) & 0xff;
  return primary === SQLITE_BUSY || primary === SQLITE_LOCKED;
}

/** The house's error for what the database or the file system cannot do now; anything else is returned as it is. */
function unavailable(thrown: unknown, file: string): unknown {
  const code = sqliteCode(thrown);
  const system = thrown instanceof Error && 'syscall' in thrown;
  const fix = system ? FIXES[14] : FIXES[(code ?? 0) & 0xff];
  if (fix === undefined) return thrown;
  return new TemporaryError({
    code: 'records.unavailable',
    message: `The records in ${file} cannot be used: ${messageOf(thrown)}`,
    fix,
    details: code === undefined ? {} : { sqlite: code },
    cause: thrown,
  });
}
