/**
 * The full Temporal server on PostgreSQL, as a cluster of one: what operators run where the development server that
 * `up` starts is too small. Built with Go, once, into the cache (about six minutes).
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { stringify } from 'yaml';
import { findGo, goInstall } from '../../cli/go-install.ts';
import { createProgress } from '../../cli/progress.mjs';
import { waitForLock } from '../../cli/up/lock.ts';
import { freePort } from '../../cli/up/ports.ts';
import { cacheFolder } from '../../stores/configuration/cache.mjs';
import type { PostgresServer } from './postgres.ts';

const VERSION = 'v1.32.1';
const MODULE = 'go.temporal.io/server/cmd';
/** Its four services and their gossip start within seconds; a busy machine takes longer. */
const READY_WITHIN_MS = 120_000;
const ANSWERED_WITHIN_MS = 10_000;
/** For an end with grace. */
const ENDED_WITHIN_MS = 5_000;
const DAY_SECONDS = 86_400;
const HOST = '127.0.0.1';

export interface TemporalServer {
  address: string;
  pid(): number;
  kill(): Promise<void>;
  /** Starts it again on the same ports; resolves when it answers. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts one on a new pair of databases.
 * @param folder for its configuration
 * @param onEnd is told when it ends though nobody asked it to, as when its database is away for too long
 */
export async function startTemporalServer(
  folder: string,
  postgres: PostgresServer,
  onEnd: (how: string) => void = () => undefined,
): Promise<TemporalServer> {
  const [server, tool] = [await provide('server'), await provide('tools/sql')];
  await makeDatabases(tool, postgres);
  // Its membership table keeps them in 16 bits with a sign: those of the ephemeral range do not fit.
  const ports = await Promise.all(Array.from({ length: 8 }, () => freePort(HOST)));
  const configuration = join(folder, 'temporal');
  await mkdir(configuration, { recursive: true });
  await writeFile(join(configuration, 'dynamic.yaml'), stringify(DYNAMIC));
  const file = join(configuration, 'server.yaml');
  await writeFile(file, stringify(serverConfiguration(postgres, ports, join(configuration, 'dynamic.yaml'))), {
    mode: 0o600,
  });
  const address = `${HOST}:${ports[0]}`;
  const said = process.env.DEBUG ? 'inherit' : 'ignore';
  let child: ChildProcess | undefined;
  const start = async () => {
    const started = spawn(server, ['--config-file', file, '--allow-no-auth', 'start'], {
      cwd: configuration,
      stdio: ['ignore', said, said],
    });
    child = started;
    started.once('exit', (code, signal) => {
      if (child === started) onEnd(signal ?? `status ${code}`);
    });
    await makeNamespace(address, () => started.exitCode !== null || started.signalCode !== null);
  };
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const ended = once(ending, 'exit');
    ending.kill(signal);
    const late = setTimeout(() => ending.kill('SIGKILL'), ENDED_WITHIN_MS);
    await ended;
    clearTimeout(late);
  };
  const onExit = () => void child?.kill('SIGKILL');
  process.on('exit', onExit);
  await start();
  return {
    address,
    pid: () => child?.pid ?? 0,
    kill: () => end('SIGKILL'),
    start,
    async close() {
      await end('SIGTERM');
      process.off('exit', onExit);
    },
  };
}

async function makeDatabases(tool: string, postgres: PostgresServer): Promise<void> {
  for (const [database, schema] of [
    ['temporal', 'temporal'],
    ['temporal_visibility', 'visibility'],
  ] as const) {
    await postgres.query(`create database ${database}`);
    const sql = (...args: string[]) =>
      execFileSync(
        tool,
        [
          ...['--plugin', 'postgres12', '--endpoint', postgres.host, '--port', String(postgres.port)],
          ...['--user', postgres.user, '--database', database, ...args],
        ],
        { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, SQL_PASSWORD: postgres.password } },
      );
    sql('setup-schema', '--version', '0.0');
    sql('update-schema', '--schema-name', `postgresql/v12/${schema}`);
  }
}

const PROGRAMS = ['server', 'tools/sql'] as const;
type Program = (typeof PROGRAMS)[number];

const cacheOf = (name: Program): string => join(cacheFolder(), `temporal-${name.replace('/', '-')}`);
const fileOf = (name: Program): string => join(cacheOf(name), VERSION, name.split('/').at(-1) ?? '');

/** It is built already: the tests do not wait for it. */
export const hasTemporalServer = PROGRAMS.every((name) => existsSync(fileOf(name)));

/** Path of a program of the server's module, built when it is missing. */
async function provide(name: Program): Promise<string> {
  const cache = cacheOf(name);
  const file = fileOf(name);
  if (existsSync(file)) return file;
  const go = findGo(process.env);
  if (!go) throw new Error('Go is not installed (https://go.dev), and the full Temporal server is built with it');
  mkdirSync(cache, { recursive: true });
  const lock = await waitForLock(join(cache, 'lock.sqlite'));
  try {
    if (existsSync(file)) return file;
    const step = createProgress().step(`Building the Temporal ${name} with Go`);
    const onLine = (line: string) => step.detail(line);
    await goInstall({ go, module: `${MODULE}/${name}`, version: VERSION, cache, environment: process.env, onLine });
    step.done();
    return file;
  } finally {
    lock.release();
  }
}

/** As for the development server (cli/temporal/program.ts): one partition a queue, timers and transfers without a wait. */
const DYNAMIC = Object.fromEntries(
  Object.entries({
    'matching.numTaskqueueReadPartitions': 1,
    'matching.numTaskqueueWritePartitions': 1,
    'history.transferProcessorMaxPollRPS': 1_000,
    'history.timerProcessorMaxPollRPS': 1_000,
    'history.visibilityProcessorMaxPollRPS': 1_000,
    'system.enableActivityEagerExecution': true,
  }).map(([key, value]) => [key, [{ value, constraints: {} }]]),
);

function serverConfiguration(postgres: PostgresServer, ports: number[], dynamic: string) {
  const next = (() => {
    const rest = [...ports];
    return () => rest.shift() as number;
  })();
  const store = (databaseName: string, maxConns: number) => ({
    sql: {
      ...{ pluginName: 'postgres12', databaseName, connectProtocol: 'tcp' },
      connectAddr: `${postgres.host}:${postgres.port}`,
      ...{ user: postgres.user, password: postgres.password, maxConns, maxIdleConns: maxConns, maxConnLifetime: '1h' },
    },
  });
  const rpc = () => ({ rpc: { grpcPort: next(), membershipPort: next(), bindOnLocalHost: true } });
  const frontend = rpc();
  return {
    log: { stdout: true, level: 'warn' },
    persistence: {
      ...{ defaultStore: 'default', visibilityStore: 'visibility', numHistoryShards: 4 },
      datastores: { default: store('temporal', 20), visibility: store('temporal_visibility', 5) },
    },
    global: { membership: { maxJoinDuration: '30s', broadcastAddress: HOST } },
    services: { frontend, matching: rpc(), history: rpc(), worker: rpc() },
    clusterMetadata: {
      ...{ enableGlobalNamespace: false, failoverVersionIncrement: 10 },
      ...{ masterClusterName: 'active', currentClusterName: 'active' },
      clusterInformation: {
        active: {
          ...{ enabled: true, initialFailoverVersion: 1, rpcName: 'frontend' },
          rpcAddress: `${HOST}:${frontend.rpc.grpcPort}`,
        },
      },
    },
    dcRedirectionPolicy: { policy: 'noop' },
    publicClient: { hostPort: `${HOST}:${frontend.rpc.grpcPort}` },
    dynamicConfigClient: { filepath: dynamic, pollInterval: '60s' },
  };
}

async function makeNamespace(address: string, hasEnded: () => boolean): Promise<void> {
  for (const until = Date.now() + READY_WITHIN_MS; ; await sleep(500)) {
    let connection: Connection | undefined;
    try {
      connection = await Connection.connect({ address, connectTimeout: 1_000 });
      const { workflowService } = connection;
      const retention = { seconds: DAY_SECONDS } as never;
      // A server whose database dies just now may never answer.
      return await connection.withDeadline(Date.now() + ANSWERED_WITHIN_MS, async () => {
        await workflowService
          .registerNamespace({ namespace: 'default', workflowExecutionRetentionPeriod: retention })
          .catch((thrown: Error) => {
            if (!/already/i.test(thrown.message)) throw thrown;
          });
        // It is known to all services a moment later.
        await workflowService.countWorkflowExecutions({ namespace: 'default' });
      });
    } catch (thrown) {
      if (hasEnded()) throw new Error('the Temporal server ended; DEBUG=1 shows why', { cause: thrown });
      if (Date.now() > until) throw thrown;
    } finally {
      await connection?.close();
    }
  }
}
