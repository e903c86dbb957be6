import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { migrate, migrations } from '../../../stores/records/migrations/index.ts';
import { openRecords, type RecordsConfiguration } from '../../../stores/records/open.ts';
import { openPostgres, PASSWORD_VARIABLE, type PostgresSettings } from '../../../stores/records/postgres.ts';
import { createAuthority } from '../../support/certificates.ts';
import { hasPostgres, startPostgres, type PostgresServer } from '../../support/postgres.ts';
import { activity } from '../contract/activity.ts';
import { atOnceContract } from '../contract/at-once.ts';
import { jobsContract } from '../contract/jobs.ts';
import { dmarcContract } from '../contract/dmarc.ts';
import { dmarcSumsContract } from '../contract/dmarc-sums.ts';
import { dmarcTlsContract } from '../contract/dmarc-tls.ts';
import { recordsContract, type OpenedRecords } from '../contract/records.ts';
import { triggersContract } from '../contract/triggers.ts';

let server: PostgresServer;
beforeAll(async () => {
  // A server whose defaults are not what the records need.
  const settings = ['synchronous_commit=off', 'default_transaction_isolation=serializable'];
  if (hasPostgres) server = await startPostgres({ settings });
});
afterAll(() => server?.close());

const cleanUps: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

const configured = (change: Partial<PostgresSettings> = {}) => {
  const { postgres } = server.records();
  return { state: '/nowhere', records: { postgres: { ...postgres, ...change } } } satisfies RecordsConfiguration;
};

async function opened(configuration: RecordsConfiguration) {
  const records = await openRecords(configuration);
  cleanUps.push(() => records.close());
  return records;
}

function another(configuration: RecordsConfiguration, ...args: string[]): ChildProcess {
  const file = resolve('test/stores/processes/records.ts');
  const child = spawn(process.execPath, [file, JSON.stringify(configuration), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  cleanUps.push(() => void child.kill('SIGKILL'));
  return child;
}
const exitOf = async (child: ChildProcess) => ((await once(child, 'exit')) as [number | null])[0];

async function openForContract(): Promise<OpenedRecords> {
  const records = await openRecords(configured());
  return { records, close: () => records.close() };
}

const refusal = { name: 'TemporaryError', code: 'records.unavailable' };

describe.skipIf(!hasPostgres)('with a server', () => {
  recordsContract('PostgreSQL', openForContract);
  triggersContract('PostgreSQL', openForContract);
  dmarcContract('PostgreSQL', openForContract);
  dmarcSumsContract('PostgreSQL', openForContract, () =>
    openPostgres(configured().records.postgres, 'as long as it takes'),
  );
  dmarcTlsContract('PostgreSQL', openForContract, () =>
    openPostgres(configured().records.postgres, 'as long as it takes'),
  );
  atOnceContract('PostgreSQL', openForContract);
  jobsContract('PostgreSQL', openForContract);

  describe('records in PostgreSQL', () => {
    it('syncs every commit and reads what is committed, whatever the defaults of the server', async () => {
      const database = await openPostgres(configured().records.postgres);
      cleanUps.push(() => database.destroy());
      const { CompiledQuery } = await import('kysely');
      const setting = async (name: string) =>
        Object.values((await database.executeQuery(CompiledQuery.raw(`show ${name}`))).rows[0] as object)[0];
      expect(await setting('synchronous_commit')).toBe('on');
      expect(await setting('default_transaction_isolation')).toBe('read committed');
    });

    it('loses no attempt that two processes count at once', async () => {
      const configuration = configured();
      const records = await opened(configuration);
      const row = activity();
      await records.activity.open([row]);
      const children = [1, 2].map(() => another(configuration, 'begin', row.id, '50'));
      expect(await Promise.all(children.map(exitOf))).toEqual([0, 0]);
      expect(await records.deliveries.get(row.id, 'c@inbox.test')).toMatchObject({ attempts: 100 });
      expect((await records.activity.get(row.id))?.attempts).toBe(100);
    });

    it('keeps whole transactions only after kill -9', async () => {
      const configuration = configured();
      const child = another(configuration, 'insert');
      await once(child.stdout!, 'data');
      child.kill('SIGKILL');
      await exitOf(child);
      const found = await (await opened(configuration)).activity.list({ limit: 500 });
      const sizes = Object.values(Object.groupBy(found, (row) => row.messageId)).map((rows) => rows!.length);
      expect(sizes.length).toBeGreaterThanOrEqual(6);
      expect(new Set(found.length === 500 ? sizes.slice(0, -1) : sizes)).toEqual(new Set([3]));
    });

    it('says records.unavailable while the server is dead, and works again when it is back', async () => {
      const own = await startPostgres();
      cleanUps.push(() => own.close());
      const records = await opened({ state: '/nowhere', records: own.records() });
      const row = activity();
      await records.activity.open([row]);
      const work = async () => {
        for (;;) await records.activity.open([activity()]);
      };
      const ends = Promise.allSettled(Array.from({ length: 20 }, work));
      await own.kill();
      for (const end of await ends) expect(end).toMatchObject({ status: 'rejected', reason: refusal });
      await expect(records.check()).rejects.toMatchObject({ ...refusal, fix: expect.stringContaining('Start the') });
      await own.start();
      await records.check();
      expect(await records.activity.get(row.id)).toEqual(row);
    });

    it('answers a lock that is not given back with records.unavailable, and others wait for none', async () => {
      const configuration = configured();
      const records = await opened(configuration);
      const { schema } = configuration.records.postgres;
      const held = server.query(`lock table "${schema}".probe in access exclusive mode; select pg_sleep(8)`);
      await new Promise((resolve) => setTimeout(resolve, 500));
      const check = records.check();
      await records.activity.open([activity()]);
      await expect(check).rejects.toMatchObject({ ...refusal, fix: expect.stringContaining('lock') });
      await held;
      await records.check();
    });

    it('waits for a free connection of its own, and gives up in time', async () => {
      const records = await opened(configured({ connections: 2 }));
      const rows = Array.from({ length: 50 }, () => activity());
      await Promise.all(rows.map((row) => records.activity.open([row])));
      expect(await records.activity.list({ limit: 100 })).toHaveLength(50);
    });
  });

  describe('what is wrong is said with what to do', () => {
    const withPassword = async <T>(password: string | undefined, work: () => Promise<T>): Promise<T> => {
      const before = process.env[PASSWORD_VARIABLE];
      if (password === undefined) delete process.env[PASSWORD_VARIABLE];
      else process.env[PASSWORD_VARIABLE] = password;
      return work().finally(() => (process.env[PASSWORD_VARIABLE] = before));
    };

    it.each([['not-the-password'], [undefined]])('the password %j', async (password) => {
      const error: Error & { fix: string } = await withPassword(password, () =>
        openRecords(configured()).catch((thrown) => thrown),
      );
      expect(error).toMatchObject({ ...refusal, fix: expect.stringContaining(PASSWORD_VARIABLE) });
      expect(JSON.stringify({ ...error, text: error.message, stack: error.stack })).not.toContain('not-the-password');
    });

    it.each([
      ['a database that is not there', { database: 'nothing' }, 'createdb'],
      ['a host without an address', { host: 'nowhere.invalid' }, 'records.postgres.host'],
      ['a port where nobody listens', { port: 1 }, 'Start the PostgreSQL server'],
      ['a folder without a socket', { host: '/nowhere' }, 'socket'],
      ['TLS that the server does not speak', { tls: true }, 'records.postgres.tls'],
    ])('%s', async (_what, change, fix) => {
      await expect(openRecords(configured(change))).rejects.toMatchObject({
        ...refusal,
        fix: expect.stringContaining(fix),
      });
    });

    it('a server that takes the connection and says nothing', async () => {
      const sockets: Socket[] = [];
      const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
      await once(silent, 'listening');
      cleanUps.push(() => {
        for (const socket of sockets) socket.destroy();
        silent.close();
      });
      const { port } = silent.address() as AddressInfo;
      await expect(openRecords(configured({ port }))).rejects.toMatchObject(refusal);
    });

    it('a user who may not make tables', async () => {
      await server.query(`create role guest login password 'only-for-tests'; create schema guarded`);
      await expect(openRecords(configured({ user: 'guest', schema: 'guarded' }))).rejects.toMatchObject({
        ...refusal,
        fix: expect.stringContaining('right'),
      });
    });
  });

  describe('TLS', () => {
    let secure: PostgresServer;
    let folder: string;
    const authority = createAuthority();
    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-ca-'));
      writeFileSync(join(folder, 'ca.pem'), authority.ca);
      writeFileSync(join(folder, 'other.pem'), createAuthority().ca);
      secure = await startPostgres({ tls: authority.issue('localhost') });
    });
    afterAll(async () => {
      await secure.close();
      rmSync(folder, { recursive: true });
    });
    const over = (change: Partial<PostgresSettings>): RecordsConfiguration => ({
      state: '/nowhere',
      records: { postgres: { ...secure.records().postgres, tls: true, ...change } },
    });

    it('is verified against the authority of the configuration', async () => {
      const records = await opened(over({ host: 'localhost', ca: join(folder, 'ca.pem') }));
      await records.check();
      const [row] = await secure.query<{ count: string }>(
        `select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and application_name = 'switchyard'`,
      );
      expect(Number(row?.count)).toBeGreaterThan(0);
    });

    it.each([
      ['of an unknown authority', { host: 'localhost' }],
      ['of another authority', { host: 'localhost', ca: 'other.pem' }],
      ['for another host', { host: '127.0.0.1', ca: 'ca.pem' }],
    ])('refuses a certificate %s', async (_what, { ca, ...change }: { host: string; ca?: string }) => {
      const given = over({ ...change, ...(ca ? { ca: join(folder, ca) } : {}) });
      await expect(openRecords(given)).rejects.toMatchObject({
        ...refusal,
        fix: expect.stringContaining('records.postgres.ca'),
      });
    });

    it('names the file of the authority that cannot be read', async () => {
      await expect(openRecords(over({ ca: '/nowhere/ca.pem' }))).rejects.toMatchObject({
        code: 'configuration.invalid',
        message: expect.stringContaining('/nowhere/ca.pem'),
      });
    });
  });

  describe('migrations', () => {
    it('agree when processes start together on nothing', async () => {
      const configuration = configured();
      const children = [1, 2, 3, 4].map(() => another(configuration, 'open'));
      expect(await Promise.all(children.map(exitOf))).toEqual([0, 0, 0, 0]);
      const { schema } = configuration.records.postgres;
      expect(await server.query(`select number, name from "${schema}".migrations order by number`)).toEqual(
        migrations.map(({ name }, index) => ({ number: index + 1, name })),
      );
    });

    it('agree when many start together in one process', async () => {
      for (let round = 0; round < 5; round += 1) {
        const configuration = configured();
        const all = await Promise.all(Array.from({ length: 8 }, () => openRecords(configuration)));
        await Promise.all(all.map((one) => one.check()));
        await Promise.all(all.map((one) => one.close()));
      }
    });

    it('wait for one that takes long', async () => {
      const configuration = configured();
      const { schema } = configuration.records.postgres;
      let over = false;
      const other = server
        .query(`select pg_advisory_xact_lock(hashtextextended('${schema}/migrations', 0)), pg_sleep(6)`)
        .then(() => (over = true));
      await new Promise((resolve) => setTimeout(resolve, 300));
      await opened(configuration);
      expect(over).toBe(true);
      await other;
    });

    it('refuse records of a newer build and leave them as they are', async () => {
      const configuration = configured();
      await (await openRecords(configuration)).close();
      const { schema } = configuration.records.postgres;
      await server.query(`insert into "${schema}".migrations values (999, 'from the future', '')`);
      await expect(openRecords(configuration)).rejects.toMatchObject({ name: 'PermanentError', code: 'records.newer' });
    });

    it('are all or nothing, and go on where an older build stopped', async () => {
      const database = await openPostgres(configured().records.postgres);
      cleanUps.push(() => database.destroy());
      const broken = {
        name: 'broken',
        up: async (at: Parameters<(typeof migrations)[0]['up']>[0]) => {
          await at.schema.createTable('half').addColumn('a', 'text').execute();
          throw new Error('half way');
        },
      };
      await expect(migrate(database, [...migrations, broken])).rejects.toThrow('half way');
      const { sql } = await import('kysely');
      const tables = async () =>
        (
          await sql<{
            name: string;
          }>`select tablename as name from pg_tables where schemaname = current_schema()`.execute(database)
        ).rows.map(({ name }) => name);
      expect(await tables()).toEqual([]);
      await migrate(database, migrations);
      expect(await tables()).toContain('activity');
      expect(await tables()).not.toContain('half');
    });
  });

  it('secrets are the same for every process, also when they start together', async () => {
    const state = mkdtempSync(join(tmpdir(), 'switchyard-keys-'));
    cleanUps.push(() => rmSync(state, { recursive: true, force: true }));
    const configuration = { ...configured(), state };
    const secrets = await Promise.all([1, 2, 3].map(() => text(another(configuration, 'secret').stdout!)));
    expect(secrets[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(new Set(secrets).size).toBe(1);
  });
});
