/**
 * Switchyard as on two machines: a whole one each, with nothing between them but a database, a bucket and a full
 * Temporal server that keeps its runs in the same PostgreSQL.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startInstallation, type Installation } from '../../cli/up/installation.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openInTurn } from '../../test/support/in-turn.ts';
import { hasPostgres, startPostgres } from '../../test/support/postgres.ts';
import { hasS3, startS3 } from '../../test/support/s3.ts';
import { startTemporalServer } from '../../test/support/temporal-server.ts';
import type { Candidate, Running } from './candidate.ts';
import { checksOf, configurationFor } from './switchyard.ts';
import type { World } from './world.ts';

const MACHINES = ['one', 'two'];

export function machines(lane: 'run' | 'direct'): Candidate {
  return {
    name: `Switchyard, ${lane}, two machines`,
    does: `${checksOf(lane)}; records in PostgreSQL, blobs in S3, Temporal on PostgreSQL`,
    async start(world, folder) {
      if (!hasPostgres || !hasS3) throw new Error('PostgreSQL or the S3 server is absent (test/support)');
      const closing: (() => Promise<unknown>)[] = [];
      const close = async () => {
        for (const one of closing.splice(0).reverse()) await one();
      };
      try {
        return await start(lane, world, folder, closing, close);
      } catch (thrown) {
        await close();
        throw thrown;
      }
    },
  };
}

async function start(
  lane: 'run' | 'direct',
  world: World,
  folder: string,
  closing: (() => Promise<unknown>)[],
  close: () => Promise<void>,
): Promise<Running> {
  // What is measured is durable here too.
  const postgres = await startPostgres({ settings: ['fsync=on', 'full_page_writes=on', 'shared_buffers=256MB'] });
  closing.push(() => postgres.close());
  const s3 = await startS3();
  closing.push(() => s3.close());
  const temporal = await startTemporalServer(folder, postgres);
  closing.push(() => temporal.close());
  process.env.SWITCHYARD_MASTER_KEY = randomBytes(32).toString('base64');
  const shared: Pick<Configuration, 'records' | 'blobs'> = { records: postgres.records(), blobs: await s3.blobs() };
  const installations: Installation[] = [];
  for (const name of MACHINES) {
    const own = join(folder, name);
    await mkdir(own);
    const configuration = { ...configurationFor(lane, world), ...shared, temporal: { address: temporal.address } };
    await writeFile(join(own, 'switchyard.yaml'), stringify(configuration));
    const installation = await startInstallation({ folder: own, anyPort: true, quiet: true });
    closing.push(() => installation.stop());
    installations.push(installation);
  }
  const parts: Record<string, number[]> = { temporal: [temporal.pid()], postgres: [postgres.pid()], s3: [s3.pid()] };
  for (const { processes } of installations)
    for (const { name, pid } of processes) parts[name] = [...(parts[name] ?? []), pid];
  const entrance = await openInTurn(installations.map(({ addresses }) => addresses.smtp));
  closing.push(async () => entrance.close());
  return { port: entrance.port, parts, close };
}
