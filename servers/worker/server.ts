/** The worker: workflows and every step, the first attempts of deliveries and their retries on task queues of their own. */
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type LogLevel,
  type WorkerOptions,
} from '@temporalio/worker';
import type { Logger } from 'pino';
import type { Client } from '@temporalio/client';
import { createGeo } from '../../activities/dmarc/geo.ts';
import { openDependencies } from '../../activities/open.ts';
import { messageOf, TemporaryError } from '../../protocols/errors.ts';
import { taskQueues } from '../../workflows/mail/contract.ts';
import { refuseForeignStore, storeIdOf, workerIdentity } from '../own-store.ts';
import type { RunningServer, ServerOptions } from '../server.ts';
import { connectionOptions, ensureSearchAttributes, lazyTemporal } from '../temporal.ts';
import { createActivities } from './activities.ts';
import { workflowBundle } from './bundle.ts';
import { startPlaces } from './places.ts';
import { terminateRun } from './terminate.ts';
import { startSweep } from './sweep.ts';
import { startTriggers } from './triggers.ts';

/** Activities may finish this long after a stop was asked for; what does not is tried again elsewhere. */
const SHUTDOWN_GRACE = '20 seconds';
/** Deliveries wait for other hosts most of the time. */
const DELIVERY_SLOTS = 100;
/** Those of local activities among them (LOCAL_WAITS), with room for the rest. */
const WORKFLOW_TASK_SLOTS = 100;
/** A cancelled or dead delivery must be noticed within seconds, so heartbeats are not held back for long. */
const HEARTBEAT_THROTTLE = '2 seconds';
/** The server may be a moment behind at start. */
const CONNECT_TRIES = 30;

export async function startWorker({ configuration, addresses, log }: ServerOptions): Promise<RunningServer> {
  // Here and not in the smtp process: a file about places must not keep mail out.
  await createGeo(configuration).version();
  const { host, port } = addresses.workerMetrics;
  Runtime.install({
    logger: sdkLogger(log),
    telemetryOptions: { metrics: { prometheus: { bindAddress: `${host}:${port}` } } },
    // servers/process.ts decides when to stop.
    shutdownSignals: [],
  });
  const client = lazyTemporal(configuration, addresses);
  const connection = await connect(connectionOptions(configuration, addresses));
  await ensureSearchAttributes(client);
  const queues = taskQueues(configuration.temporal.taskQueue);
  const dependencies = await openDependencies(configuration, addresses);
  const storeId = await storeIdOf(configuration, dependencies.keys);
  await refuseForeignStore(client, configuration, storeId);
  const activities = createActivities(dependencies, log);

  const common: Omit<WorkerOptions, 'taskQueue'> = {
    connection,
    namespace: configuration.temporal.namespace,
    identity: workerIdentity(storeId),
    shutdownGraceTime: SHUTDOWN_GRACE,
    maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
    defaultHeartbeatThrottleInterval: HEARTBEAT_THROTTLE,
  };
  const relay = { 'mail.relay': activities['mail.relay'] };
  const workers = await Promise.all([
    Worker.create({
      ...common,
      taskQueue: queues.main,
      workflowBundle: await workflowBundle(),
      activities: { ...activities, ...terminateRun(client) },
      maxConcurrentWorkflowTaskExecutions: WORKFLOW_TASK_SLOTS,
    }),
    Worker.create({
      ...common,
      taskQueue: queues.first,
      activities: relay,
      maxConcurrentActivityTaskExecutions: DELIVERY_SLOTS,
    }),
    Worker.create({
      ...common,
      taskQueue: queues.retry,
      activities: relay,
      maxConcurrentActivityTaskExecutions: DELIVERY_SLOTS,
    }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));
  running.catch((thrown: unknown) => {
    log.fatal({ error: messageOf(thrown) }, 'the worker stopped');
    process.exit(1);
  });
  const sweep = startSweep({ dependencies, client, log, taskQueue: queues.main });
  const places = startPlaces({ dependencies, log });
  const { namespace } = configuration.temporal;
  const triggers = startTriggers({ dependencies, client, log, taskQueue: queues.main, addresses, namespace });
  log.info({ queues, temporal: addresses.temporal }, 'worker is polling');

  return {
    async close() {
      sweep.stop();
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await Promise.all([running, triggers.stop(), places.stop()]);
      await dependencies.close();
      await connection.close();
      await (client as Client).connection.close();
    },
  };
}

/** The SDK's words in our log lines. */
function sdkLogger(log: Logger): DefaultLogger {
  const levels = {
    TRACE: 'trace',
    DEBUG: 'debug',
    INFO: 'info',
    WARN: 'warn',
    ERROR: 'error',
  } as const satisfies Record<LogLevel, string>;
  return new DefaultLogger('INFO', ({ level, message, meta }) => log[levels[level]](meta ?? {}, message));
}

async function connect(options: ReturnType<typeof connectionOptions>): Promise<NativeConnection> {
  for (let tries = 1; ; tries++) {
    try {
      return await NativeConnection.connect(options);
    } catch (thrown) {
      if (tries >= CONNECT_TRIES)
        throw new TemporaryError({
          code: 'temporal.unavailable',
          message: `The Temporal server at ${options.address} does not answer: ${messageOf(thrown)}`,
          fix: 'Start it, or set TEMPORAL_ADDRESS to one that runs; `switchyard doctor` says more.',
          cause: thrown,
        });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
}
