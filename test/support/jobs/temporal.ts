/** A Temporal server of a test's own, which it may kill and start again on the same file. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { silentProgress } from '../../../cli/progress.mjs';
import { serverArguments } from '../../../cli/temporal/program.ts';
import { provideTemporal } from '../../../cli/temporal/provide.ts';
import { freePort } from '../../../cli/up/ports.ts';
import { ensureSearchAttributes } from '../../../servers/temporal.ts';

export interface OwnTemporal {
  address: string;
  kill(): Promise<void>;
  start(): Promise<void>;
  close(): Promise<void>;
}

const READY_WITHIN_MS = 60_000;

/** @param settings dynamic configuration, `name=value` */
export async function startOwnTemporal(settings: string[] = []): Promise<OwnTemporal> {
  const program = await provideTemporal({ progress: silentProgress });
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-temporal-'));
  const grpc = { host: '127.0.0.1', port: await freePort('127.0.0.1') };
  const address = `${grpc.host}:${grpc.port}`;
  const database = join(folder, 'temporal.sqlite');
  let server: ChildProcess | undefined;

  const own: OwnTemporal = {
    address,
    async kill() {
      if (!server || server.exitCode !== null || server.signalCode !== null) return;
      const gone = once(server, 'exit');
      server.kill('SIGKILL');
      await gone;
    },
    async start() {
      const args = serverArguments({ database, grpc, ui: null, namespace: 'default' });
      const extra = settings.flatMap((one) => ['--dynamic-config-value', one]);
      server = spawn(program.path, [...args, ...extra], { stdio: ['ignore', 'ignore', 'inherit'] });
      await untilReady(address);
    },
    async close() {
      await own.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await own.start();
  return own;
}

async function untilReady(address: string): Promise<void> {
  for (const until = Date.now() + READY_WITHIN_MS; ;) {
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1_000 });
      await ensureSearchAttributes(new Client({ connection }));
      return await connection.close();
    } catch (thrown) {
      if (Date.now() > until) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
