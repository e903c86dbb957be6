import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, type FileHandle } from 'node:fs/promises';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { migrate, migrations } from '../../../stores/records/migrations/index.ts';
import { openRecords, RECORDS_FILE } from '../../../stores/records/open.ts';
import { openSqlite } from '../../../stores/records/sqlite.ts';
import { activity } from '../contract/activity.ts';
import { atOnceContract } from '../contract/at-once.ts';
import { jobsContract } from '../contract/jobs.ts';
import { dmarcContract } from '../contract/dmarc.ts';
import { dmarcSumsContract } from '../contract/dmarc-sums.ts';
import { dmarcTlsContract } from '../contract/dmarc-tls.ts';
import { recordsContract, type OpenedRecords } from '../contract/records.ts';
import { triggersContract } from '../contract/triggers.ts';

const cleanUps: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

function emptyState(): string {
  const state = mkdtempSync(join(tmpdir(), 'switchyard-records-'));
  cleanUps.push(() => rmSync(state, { recursive: true, force: true }));
  return state;
}

async function opened(state: string) {
  const records = await openRecords({ state });
  cleanUps.push(() => records.close());
  return records;
}

function another(state: string, ...args: string[]): ChildProcess {
  const child = spawn(
    process.execPath,
    [resolve('test/stores/processes/records.ts'), JSON.stringify({ state }), ...args],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  cleanUps.push(() => void child.kill('SIGKILL'));
  return child;
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  return ((await once(child, 'exit')) as [number | null])[0];
}

async function openForContract(): Promise<OpenedRecords> {
  const state = mkdtempSync(join(tmpdir(), 'switchyard-records-'));
  const records = await openRecords({ state });
  return {
    records,
    close: async () => {
      await records.close();
      rmSync(state, { recursive: true });
    },
  };
}
recordsContract('SQLite', openForContract);
triggersContract('SQLite', openForContract);
dmarcContract('SQLite', openForContract);
dmarcSumsContract('SQLite', openForContract, () => openSqlite(join(emptyState(), RECORDS_FILE)));
dmarcTlsContract('SQLite', openForContract, () => openSqlite(join(emptyState(), RECORDS_FILE)));
atOnceContract('SQLite', openForContract);
jobsContract('SQLite', openForContract);

describe('records in SQLite', () => {
  it('makes the folder and its files for their owner alone', async () => {
    const state = join(emptyState(), 'state');
    await opened(state);
    expect(statSync(state).mode & 0o777).toBe(0o700);
    const files = readdirSync(state);
    expect(files).toContain(`${RECORDS_FILE}-wal`);
    for (const file of files) expect([file, statSync(join(state, file)).mode & 0o777]).toEqual([file, 0o600]);
  });

  it('syncs the log (WAL) after every commit and before the caller goes on, one sync for several that wait', async () => {
    const database = await openSqlite(join(emptyState(), RECORDS_FILE));
    cleanUps.push(() => database.destroy());
    const { CompiledQuery } = await import('kysely');
    const [mode] = (await database.executeQuery(CompiledQuery.raw('pragma journal_mode'))).rows;
    expect(mode).toEqual({ journal_mode: 'wal' });
    await database.executeQuery(CompiledQuery.raw('create table t (n integer)'));
    const insert = () => database.executeQuery(CompiledQuery.raw('insert into t values (1)'));
    const count = () => database.executeQuery(CompiledQuery.raw('select count(*) from t'));

    const probe = await open(import.meta.filename);
    const datasync = vi.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'datasync');
    await probe.close();
    cleanUps.push(async () => datasync.mockRestore());
    await insert();
    await count();
    expect(datasync).toHaveBeenCalledTimes(1);
    await database.transaction().execute(async (transaction) => {
      await transaction.executeQuery(CompiledQuery.raw('insert into t values (1)'));
      await transaction.executeQuery(CompiledQuery.raw('insert into t values (1)'));
    });
    expect(datasync).toHaveBeenCalledTimes(2);

    datasync.mockClear();
    let held: (() => void) | undefined;
    datasync.mockImplementationOnce(() => new Promise((resolve) => (held = resolve)));
    let done = 0;
    const first = insert().then(() => (done += 1));
    await vi.waitFor(() => expect(datasync).toHaveBeenCalledTimes(1));
    const others = Array.from({ length: 10 }, () => insert().then(() => (done += 1)));
    // Readers do not wait for the disk, and see what was committed.
    expect((await count()).rows).toEqual([{ 'count(*)': 14 }]);
    expect(done).toBe(0);
    held?.();
    await Promise.all([first, ...others]);
    expect(datasync).toHaveBeenCalledTimes(2);

    datasync.mockRejectedValueOnce(Object.assign(new Error('EIO: i/o error, fdatasync'), { syscall: 'fdatasync' }));
    await expect(insert()).rejects.toMatchObject({ code: 'records.unavailable' });
    await insert();
  });

  it('says records.unavailable for a file that is no database, and for a folder that cannot be made', async () => {
    const state = emptyState();
    writeFileSync(
      join(state, RECORDS_FILE),
      'not a database, but long enough to be read as a header of one, surely'.repeat(20),
    );
    await expect(openRecords({ state })).rejects.toMatchObject({ name: 'TemporaryError', code: 'records.unavailable' });
    await expect(openRecords({ state: join(state, RECORDS_FILE, 'below') })).rejects.toMatchObject({
      code: 'records.unavailable',
    });
  });

  it('waits for a locked database without stopping the event loop, gives up after its time, and works again', async () => {
    const state = emptyState();
    const records = await opened(state);
    const holder = another(state, 'hold');
    await once(holder.stdout!, 'data');
    let ticks = 0;
    const ticking = setInterval(() => (ticks += 1), 10);
    const refusal = {
      name: 'TemporaryError',
      code: 'records.unavailable',
      fix: expect.stringContaining('holds the database'),
    };
    const ends = await Promise.allSettled([
      records.check(),
      records.activity.open([activity()]),
      records.rules.applyDeclared([{ domain: 'a.test', rules: [] }]),
    ]);
    clearInterval(ticking);
    for (const end of ends) expect(end).toMatchObject({ status: 'rejected', reason: refusal });
    // 500 would be an idle loop; a SQLite that waits by itself gives none.
    expect(ticks).toBeGreaterThan(50);
    holder.stdin!.end();
    await exitOf(holder);
    await records.check();
    expect(await records.rules.isLocalDomain('a.test')).toBe(false);
  });

  it('takes a lock that is given back in time', async () => {
    const state = emptyState();
    const records = await opened(state);
    const holder = another(state, 'hold');
    await once(holder.stdout!, 'data');
    const row = activity();
    const opening = records.activity.open([row]);
    holder.stdin!.end();
    await opening;
    expect(await records.activity.get(row.id)).toEqual(row);
  });

  it('loses no attempt that two processes count at once', async () => {
    const state = emptyState();
    const records = await opened(state);
    const row = activity();
    await records.activity.open([row]);
    const children = [another(state, 'begin', row.id, '50'), another(state, 'begin', row.id, '50')];
    expect(await Promise.all(children.map(exitOf))).toEqual([0, 0]);
    expect(await records.deliveries.get(row.id, 'c@inbox.test')).toMatchObject({ attempts: 100 });
    expect((await records.activity.get(row.id))?.attempts).toBe(100);
  });

  it('keeps whole transactions only after kill -9', async () => {
    const state = emptyState();
    const child = another(state, 'insert');
    await once(child.stdout!, 'data');
    child.kill('SIGKILL');
    await exitOf(child);
    const records = await opened(state);
    const found = await records.activity.list({ limit: 500 });
    const sizes = Object.values(Object.groupBy(found, (row) => row.messageId)).map((rows) => rows!.length);
    expect(sizes.length).toBeGreaterThanOrEqual(6);
    // The oldest of a full page may be cut by the page.
    expect(new Set(found.length === 500 ? sizes.slice(0, -1) : sizes)).toEqual(new Set([3]));
    await records.check();
  });

  it('answers a full disk with records.unavailable, and works again when there is room', async ({ skip }) => {
    const state = emptyState();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', state], { stdio: 'ignore' });
    } catch {
      console.log('skipped: a full disk is shown with a tmpfs, which only root can mount');
      skip();
    }
    cleanUps.push(() => void execFileSync('umount', [state]));
    const records = await opened(state);
    const ballast = join(state, 'ballast');
    writeFileSync(ballast, Buffer.alloc(1_000_000));
    const fill = async () => {
      for (;;) await records.activity.open(Array.from({ length: 20 }, () => activity()));
    };
    await expect(fill()).rejects.toMatchObject({
      name: 'TemporaryError',
      code: 'records.unavailable',
      fix: expect.stringContaining('space'),
    });
    rmSync(ballast);
    const row = activity();
    await records.activity.open([row]);
    expect(await records.activity.get(row.id)).toEqual(row);
  });
});

describe('migrations', () => {
  it('agree when processes start together on nothing', async () => {
    const state = emptyState();
    const children = [1, 2, 3, 4].map(() => another(state, 'open'));
    expect(await Promise.all(children.map(exitOf))).toEqual([0, 0, 0, 0]);
    const database = new DatabaseSync(join(state, RECORDS_FILE));
    expect(database.prepare('select number, name from migrations').all()).toEqual(
      migrations.map(({ name }, index) => Object.assign(Object.create(null), { number: index + 1, name })),
    );
    database.close();
  });

  it('refuse records of a newer build and leave them as they are', async () => {
    const state = emptyState();
    await (await openRecords({ state })).close();
    const database = new DatabaseSync(join(state, RECORDS_FILE));
    database.exec(`insert into migrations values (999, 'from the future', '')`);
    database.close();
    await expect(openRecords({ state })).rejects.toMatchObject({
      name: 'PermanentError',
      code: 'records.newer',
      message: expect.stringContaining('999'),
    });
  });

  it('are all or nothing, and go on where an older build stopped', async () => {
    const database = await openSqlite(join(emptyState(), RECORDS_FILE));
    cleanUps.push(() => database.destroy());
    const broken = {
      name: 'broken',
      up: async (at: Parameters<(typeof migrations)[0]['up']>[0]) => {
        await at.schema.createTable('half').addColumn('a', 'text').execute();
        throw new Error('half way');
      },
    };
    await expect(migrate(database, [...migrations, broken])).rejects.toThrow('half way');
    const tables = async () => (await database.introspection.getTables()).map((table) => table.name);
    expect(await tables()).toEqual([]);
    await migrate(database, migrations);
    await migrate(database, [
      ...migrations,
      { name: 'second', up: (at) => at.schema.createTable('second').addColumn('a', 'text').execute() },
    ]);
    expect(await tables()).toContain('second');
    expect(await tables()).not.toContain('half');
  });
});

describe('secrets', () => {
  it('are the same for every process, also when they start together', async () => {
    const state = emptyState();
    const secrets = await Promise.all([1, 2, 3].map(() => text(another(state, 'secret').stdout!)));
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(secrets).size).toBe(1);
  });
});
