/**
 * What the test files share: one real Temporal server, started when the first test asks for it. Test processes ask
 * over a loopback port (test/setup/temporal.ts).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type { TestProject } from 'vitest/node';
import { createProgress } from '../../cli/progress.mjs';
import { serverArguments } from '../../cli/temporal/program.ts';
import { provideTemporal } from '../../cli/temporal/provide.ts';
import { freePort } from '../../cli/up/ports.ts';
import { ensureSearchAttributes } from '../../servers/temporal.ts';
import { installParsedmarc } from '../support/parsedmarc-install.ts';
import { buildS3Server } from '../support/s3-build.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Base URL of this service. */
    sharedParts: string;
  }
}

/** A cold start on a busy machine. */
const READY_TIMEOUT_MS = 60_000;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  let server: ChildProcess | undefined;
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-test-'));

  // Before any test: building it takes minutes where the cache is empty, longer than a test may. A machine that has no
  // way to it runs the other tests.
  const provided = provideTemporal({ progress: createProgress() });
  await provided.catch(() => undefined);
  // In CI no test may skip; elsewhere those of the bucket and of parsedmarc wait until somebody makes them.
  if (process.env.CI === 'true') {
    await buildS3Server();
    await installParsedmarc();
  }

  const startTemporal = async (): Promise<string> => {
    const program = await provided;
    const grpc = { host: '127.0.0.1', port: await freePort('127.0.0.1') };
    const database = join(folder, 'temporal.sqlite');
    server = spawn(program.path, serverArguments({ database, grpc, ui: null, namespace: 'default' }), {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const address = `${grpc.host}:${grpc.port}`;
    const connection = await connectWhenReady(address);
    await ensureSearchAttributes(new Client({ connection }));
    await connection.close();
    return address;
  };

  let temporal: Promise<string> | undefined;
  const service = createServer((_request, response) => {
    temporal ??= startTemporal();
    temporal.then(
      (address) => response.end(address),
      (error: unknown) => response.writeHead(500).end(error instanceof Error ? error.message : String(error)),
    );
  });
  service.requestTimeout = 0;
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  project.provide('sharedParts', `http://127.0.0.1:${(service.address() as AddressInfo).port}`);

  return async () => {
    service.close();
    service.closeAllConnections();
    await temporal?.catch(() => undefined);
    if (server && server.exitCode === null) {
      server.kill('SIGKILL');
      await once(server, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  };
}

async function connectWhenReady(address: string): Promise<Connection> {
  const until = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      const connection = await Connection.connect({ address, connectTimeout: 1_000 });
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      return connection;
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
