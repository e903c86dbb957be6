/**
 * PostgreSQL through `pg`, as a Kysely dialect. The only file that knows PostgreSQL, but for locks and `many.ts`.
 *
 * - A commit is on the disk when it returns (`synchronous_commit`), whatever the server's default: a 250 promises that
 *   the message survives a power cut.
 * - Text is compared byte by byte, as in SQLite: orders and keyset pages are the same everywhere, and an index outlives
 *   an update of the system's collations.
 * - Every wait has an end, on both sides: a server that hangs gives `records.unavailable`, and a process that hangs
 *   holds no lock for ever.
 * - Nothing is compiled (`jit`): our longest statements take some ten ms, and to compile one takes as long again.
 */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import pg from 'pg';
import {
  Kysely,
  PostgresDialect,
  PostgresQueryCompiler,
  sql,
  type DataTypeNode,
  type PostgresPoolClient,
} from 'kysely';
import { messageOf, PermanentError, TemporaryError } from '../../protocols/errors.ts';
import type { Configuration } from '../configuration/schema.ts';
import type { Database, Tables } from './tables.ts';

/** Variable with the password; without it `pg` looks where libpq does: PGPASSWORD, then ~/.pgpass. */
export const PASSWORD_VARIABLE = 'SWITCHYARD_POSTGRES_PASSWORD';

export type PostgresSettings = NonNullable<Configuration['records']['postgres']>;

/** ms for a connection, and for a free one of ours: as long as SQLite waits for its lock. */
const CONNECT_WAIT = 5_000;
/** ms that a statement waits for a lock of another process. */
const LOCK_WAIT = 5_000;
/** ms of one statement: the largest is the removal of a day of expired records. */
const STATEMENT_WAIT = 30_000;
/** ms after which a silent server is given up on our side: the network may be gone. */
const ANSWER_WAIT = STATEMENT_WAIT + 5_000;
/** ms after which the server ends a transaction whose process stopped in the middle. */
const IDLE_TRANSACTION = 30_000;
const WAITS = [LOCK_WAIT, STATEMENT_WAIT, IDLE_TRANSACTION];

/** How long the records may keep somebody waiting: a session has no time, a migration takes what it takes. */
export type Patience = 'in time' | 'as long as it takes';

/**
 * Opens a pool of connections, made as they are needed. The schema is made when it is missing.
 * @throws TemporaryError `records.unavailable`
 * @throws PermanentError `configuration.invalid` when the file of the authority cannot be read
 */
export async function openPostgres(settings: PostgresSettings, patience: Patience = 'in time'): Promise<Database> {
  const password = process.env[PASSWORD_VARIABLE];
  const place = postgresPlace(settings);
  const pool = new pg.Pool({
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    ...(password ? { password } : {}),
    ssl: await tlsOptions(settings),
    max: settings.connections,
    application_name: 'switchyard',
    connectionTimeoutMillis: CONNECT_WAIT,
    ...(patience === 'in time' ? { query_timeout: ANSWER_WAIT } : {}),
    keepAlive: true,
    types: { getTypeParser },
    onConnect: (client) => prepareSession(client, settings.schema, patience),
  });
  // An idle connection that the server ended; the next query makes another.
  pool.on('error', () => undefined);
  const dialect = new PostgresDialect({
    pool: {
      connect: async () => {
        try {
          return guarded(await pool.connect(), place);
        } catch (thrown) {
          throw unavailable(thrown, place);
        }
      },
      end: () => pool.end(),
    },
  });
  dialect.createQueryCompiler = () => new ByteOrderCompiler();
  const database = new Kysely<Tables>({ dialect });
  try {
    await createSchema(database, settings.schema);
  } catch (thrown) {
    await database.destroy();
    throw thrown;
  }
  return database;
}

/** Removes the schema with everything in it. */
export async function removePostgres(settings: PostgresSettings): Promise<void> {
  const database = await openPostgres(settings);
  await database.schema
    .dropSchema(settings.schema)
    .cascade()
    .execute()
    .finally(() => database.destroy());
}

/** `user@host:port/database`, with the schema where it is not the usual one. For people; nothing secret is in it. */
export function postgresPlace({ user, host, port, database, schema }: PostgresSettings): string {
  return `PostgreSQL ${user}@${host}:${port}/${database}${schema === 'public' ? '' : ` (schema ${schema})`}`;
}

/** Columns of text are compared by their bytes, which PostgreSQL calls the collation "C". */
class ByteOrderCompiler extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    super.visitDataType(node);
    if (node.dataType === 'text') this.append(' collate "C"');
  }
}

async function prepareSession(client: pg.ClientBase, schema: string, patience: Patience): Promise<void> {
  // A connection that ends between two statements of a transaction says so here; the next statement fails.
  client.on('error', () => undefined);
  await client.query(
    `select set_config('search_path', $1, false),
            set_config('default_transaction_isolation', 'read committed', false),
            set_config('synchronous_commit', case current_setting('synchronous_commit')
              when 'off' then 'on' else current_setting('synchronous_commit') end, false),
            set_config('lock_timeout', $2, false),
            set_config('statement_timeout', $3, false),
            set_config('idle_in_transaction_session_timeout', $4, false),
            set_config('jit', 'off', false)`,
    // 0 is no limit.
    [pg.escapeIdentifier(schema), ...(patience === 'in time' ? WAITS : [0, 0, 0]).map(String)],
  );
}

/**
 * Asks first: `create schema if not exists` needs the right to make one, also where it is there. Of two that make it at
 * once one would fail, hence the lock.
 */
async function createSchema(database: Database, schema: string): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const { rows } = await sql`select 1 from pg_namespace where nspname = ${schema}`.execute(transaction);
    if (rows.length > 0) return;
    await sql`select pg_advisory_xact_lock(hashtextextended(${schema}, 0))`.execute(transaction);
    await transaction.schema.createSchema(schema).ifNotExists().execute();
  });
}

/** 64-bit integers are sizes and counts, far below what a number holds. */
const INT8 = 20;
function getTypeParser(oid: number, format?: 'text' | 'binary'): unknown {
  return oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text');
}

/** Certificates are always verified; without TLS only on this machine. */
async function tlsOptions({ tls, ca, host }: PostgresSettings): Promise<pg.PoolConfig['ssl']> {
  if (!(tls ?? !isThisMachine(host))) return false;
  if (ca === undefined) return { rejectUnauthorized: true };
  try {
    return { rejectUnauthorized: true, ca: await readFile(ca, 'utf8') };
  } catch (thrown) {
    throw new PermanentError({
      code: 'configuration.invalid',
      message: `records.postgres.ca: ${ca} cannot be read: ${messageOf(thrown)}`,
      fix: 'Name the PEM file of the authority that signed the certificate of the PostgreSQL server.',
      cause: thrown,
    });
  }
}

/** A loopback address, or a folder with a socket. */
export function isThisMachine(host: string): boolean {
  if (host.startsWith('/') || host === 'localhost') return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}

/** A client that gives the house's errors, and that goes back to the pool only while it is sound. */
function guarded(client: pg.PoolClient, place: string): PostgresPoolClient {
  let broken = false;
  const query = async (text: string, parameters: readonly unknown[]) => {
    try {
      return await client.query(text, parameters.map(storable));
    } catch (thrown) {
      // Without a code of the server nobody knows what state the connection is in.
      broken ||= !(thrown instanceof pg.DatabaseError);
      throw unavailable(thrown, place);
    }
  };
  // Kysely also knows a query of cursors, which nobody here asks for.
  return { query: query as unknown as PostgresPoolClient['query'], release: () => client.release(broken) };
}

/** The text of a database holds no NUL (22021); untrusted header fields may. */
function storable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(storable);
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
}

const SET_PASSWORD = `Set ${PASSWORD_VARIABLE} for every process, and check records.postgres.user.`;
const GIVE_RIGHT = 'Give the user the right to it: the simplest is a database of its own (createdb --owner=USER NAME).';
const TRY_AGAIN = 'Nothing: it is tried again by itself. If it stays so, look at the log of the PostgreSQL server.';
const IS_IT_THERE = 'Start the PostgreSQL server, or correct records.postgres (host, port) in switchyard.yaml.';
/**
 * What the person should do, by SQLSTATE (PostgreSQL, appendix A), its class, or the system's error code. Codes outside
 * of this table are errors of ours and pass through.
 */
const FIXES: Record<string, string> = {
  '08': IS_IT_THERE,
  '25006': 'This server is a standby, or read-only: name the primary in records.postgres.host.',
  '25P03': TRY_AGAIN,
  '28': SET_PASSWORD,
  '3D000': 'Make the database: createdb --owner=USER NAME, or correct records.postgres.database.',
  '3F000': GIVE_RIGHT,
  '40001': TRY_AGAIN,
  '40P01': TRY_AGAIN,
  '42501': GIVE_RIGHT,
  '53100': 'Free some space on the disk of the PostgreSQL server.',
  '53300': 'Raise max_connections of the server, or lower records.postgres.connections.',
  '53': 'Look at the memory and the disk of the PostgreSQL server.',
  '55P03': 'Another program holds a lock: end it (an open psql, a backup) and try again.',
  '57014': TRY_AGAIN,
  '57P': TRY_AGAIN,
  '58': 'Look at the disk and the log of the PostgreSQL server.',
  XX001: 'The database is damaged: restore it from a backup.',
  XX002: 'An index of the database is damaged: REINDEX it.',
  ENOTFOUND: 'Correct records.postgres.host: the name has no address.',
  EAI_AGAIN: 'Correct records.postgres.host, or mend the DNS of this machine.',
  ENOENT: 'There is no socket in that folder: correct records.postgres.host and port.',
};

function fixFor(code: string): string | undefined {
  return FIXES[code] ?? FIXES[code.slice(0, 3)] ?? FIXES[code.slice(0, 2)];
}

/** The house's error for what the server or the network cannot do now; anything else is returned as it is. */
function unavailable(thrown: unknown, place: string): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const fix = thrown instanceof pg.DatabaseError ? fixFor(code) : (fixFor(code) ?? fixForMessage(messageOf(thrown)));
  if (fix === undefined || thrown instanceof TypeError) return thrown;
  return new TemporaryError({
    code: 'records.unavailable',
    // Node's error for several addresses has no message of its own.
    message: `The records in ${place} cannot be used: ${messageOf(thrown) || code}`,
    fix,
    details: code === '' ? {} : { postgres: code },
    cause: thrown,
  });
}

/** What `pg` says in words alone. */
function fixForMessage(message: string): string {
  if (/does not support SSL/i.test(message))
    return 'Switch TLS on in the server (ssl = on), or set records.postgres.tls: false where the network is your own.';
  if (/certificate|altnames|self.signed/i.test(message))
    return 'Name the PEM file of its authority in records.postgres.ca, and the host as the certificate has it.';
  if (/password must be a string|no password/i.test(message)) return SET_PASSWORD;
  return IS_IT_THERE;
}
