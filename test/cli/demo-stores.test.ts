/** The demo on PostgreSQL and a bucket. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { hasPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts';
import { hasS3, startS3, type S3Server } from '../support/s3.ts';

const CEILING_MS = 240_000;

describe.skipIf(!hasPostgres || !hasS3)('npm start -- --demo --stores FILE', () => {
  const folder = mkdtempSync(join(tmpdir(), 'demo-stores-'));
  let postgres: PostgresServer;
  let s3: S3Server;
  beforeAll(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
  });
  afterAll(async () => {
    await Promise.all([postgres?.close(), s3?.close()]);
    rmSync(folder, { recursive: true, force: true });
  });

  it(
    'finds every message as it must be on a database and a bucket, and leaves nothing there',
    async () => {
      const file = join(folder, 'switchyard.yaml');
      const { bucket } = (await s3.blobs()).s3;
      const blobs = { s3: { bucket, endpoint: s3.endpoint, prefix: 'ours' } };
      writeFileSync(file, stringify({ records: postgres.records('public'), blobs }));
      const launcher = join(import.meta.dirname, '..', '..', 'cli', 'launch.mjs');
      const child = spawn(process.execPath, [launcher, 'up', '--demo', '--json', '--stores', file], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let most = 0;
      const looking = setInterval(() => (most = Math.max(most, s3.filesOf(bucket).length)), 200);
      const [json, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
      clearInterval(looking);
      const { ok, messages } = JSON.parse(json || '{}') as { ok: boolean; messages: { differences: unknown[] }[] };
      expect({ errors, wrong: messages?.filter(({ differences }) => differences.length > 0) }).toEqual({
        errors: '',
        wrong: [],
      });
      expect([ok, messages.length]).toEqual([true, 18]);
      // It was there, and is gone.
      expect(most).toBeGreaterThan(5);
      expect(s3.filesOf(bucket)).toEqual([]);
      const [rows] = await postgres.query<{ count: string }>(
        `select tup_inserted as count from pg_stat_database where datname = current_database()`,
      );
      expect(Number(rows?.count)).toBeGreaterThan(50);
      expect(await postgres.query(`select nspname from pg_namespace where nspname like 'demo%'`)).toEqual([]);
    },
    CEILING_MS,
  );
});
