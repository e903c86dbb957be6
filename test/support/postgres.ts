/** A real PostgreSQL server for one test file, from the Debian package `postgresql`. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from '../../cli/up/ports.ts';
import { PASSWORD_VARIABLE, type PostgresSettings } from '../../stores/records/postgres.ts';

export interface PostgresServer {
  host: string;
  port: number;
  /** Of the owner of everything. */
  user: string;
  password: string;
  /** The process above all others of the server. */
  pid(): number;
  /** The configuration's `records` for a schema of its own; `name` tells them apart. */
  records(name?: string): { postgres: PostgresSettings };
  /** One query as the owner of everything, in the database of the records. */
  query<Row>(text: string): Promise<Row[]>;
  /** SIGKILL to the server and all that it forked, as in a crash. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const PASSWORD = 'only-for-tests';
const USER = 'switchyard';
const HOST = '127.0.0.1';
/** The server refuses to run as root; the package makes this user. */
const OWNER = 'postgres';
const READY_WITHIN_MS = 60_000;

/** Folder with initdb and postgres, the newest where there are several; undefined where the package is absent. */
function programs(): string | undefined {
  const versions = '/usr/lib/postgresql';
  if (!existsSync(versions)) return undefined;
  return readdirSync(versions)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(versions, version, 'bin'))
    .find((folder) => existsSync(join(folder, 'initdb')));
}

export const hasPostgres = programs() !== undefined;
if (!hasPostgres) console.log('skipped: PostgreSQL is absent (Debian package postgresql)');

/**
 * Starts one on a port of its own in a temporary folder, with a password, and sets the variable that holds it.
 * @param options.settings lines of postgresql.conf
 * @param options.tls PEM of the server's certificate and key
 */
export async function startPostgres(
  options: { settings?: string[]; tls?: { key: string; cert: string } } = {},
): Promise<PostgresServer> {
  const bin = programs() ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-postgres-'));
  const data = join(folder, 'data');
  const owner: { uid?: number; gid?: number } = process.getuid?.() === 0 ? ownerIds() : {};
  const give = (path: string) => owner.uid !== undefined && chownSync(path, owner.uid, owner.gid ?? owner.uid);
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, PASSWORD, { mode: 0o600 });
  give(folder);
  give(passwordFile);
  const auth = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', USER, '-N', '--encoding=UTF8', '--locale=C.UTF-8', ...auth], {
    ...owner,
    stdio: 'ignore',
    cwd: folder,
  });
  for (const [name, text] of Object.entries(options.tls ?? {})) {
    const path = join(data, `server.${name}`);
    writeFileSync(path, text, { mode: 0o600 });
    give(path);
  }
  const port = await freePort(HOST);
  const settings = [
    `listen_addresses=${HOST}`,
    `port=${port}`,
    `unix_socket_directories=${folder}`,
    // Nothing here must survive a power cut.
    'fsync=off',
    'full_page_writes=off',
    'shared_buffers=32MB',
    ...(options.tls ? ['ssl=on', 'ssl_cert_file=server.cert', 'ssl_key_file=server.key'] : []),
    ...(options.settings ?? []),
  ];
  process.env[PASSWORD_VARIABLE] = PASSWORD;
  const connection = { host: folder, port, user: USER, password: PASSWORD };

  let server: ChildProcess | undefined;
  const start = async () => {
    server = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], {
      ...owner,
      cwd: folder,
      stdio: ['ignore', 'ignore', process.env.DEBUG ? 'inherit' : 'ignore'],
    });
    await untilReady(connection, server);
  };
  const end = async (signal: NodeJS.Signals) => {
    if (!server?.pid || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    const children = signal === 'SIGKILL' ? childrenOf(server.pid) : [];
    server.kill(signal);
    for (const pid of children) killIfThere(pid);
    await ended;
  };
  const onExit = () => void server?.kill('SIGKILL');
  process.on('exit', onExit);

  await start();
  const admin = new pg.Client({ ...connection, database: 'postgres' });
  await admin.connect();
  // As on a machine whose language is not C: what the order of text depends on must show.
  await admin.query(`create database ${USER} template template0 locale_provider icu icu_locale 'en-US'`);
  await admin.end();

  let count = 0;
  return {
    host: HOST,
    port,
    user: USER,
    password: PASSWORD,
    pid: () => server?.pid ?? 0,
    records: (name = `s${++count}`) => ({
      postgres: { host: HOST, port, database: USER, user: USER, schema: name, connections: 10 },
    }),
    async query(text) {
      const client = new pg.Client({ ...connection, database: USER });
      await client.connect();
      try {
        return (await client.query(text)).rows;
      } finally {
        await client.end();
      }
    },
    kill: () => end('SIGKILL'),
    start,
    async close() {
      // SIGINT is the fast shutdown: it waits for no client.
      await end('SIGINT');
      process.off('exit', onExit);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Each connection has a process, in a session of its own. */
function childrenOf(parent: number): number[] {
  const { stdout } = spawnSync('pgrep', ['-P', String(parent)], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It went with its parent.
  }
}

function ownerIds(): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, OWNER], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

async function untilReady(connection: pg.ClientConfig, server: ChildProcess): Promise<void> {
  const until = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const client = new pg.Client({ ...connection, database: 'postgres' });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return await client.end();
    } catch (thrown) {
      if (Date.now() > until || server.exitCode !== null) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
