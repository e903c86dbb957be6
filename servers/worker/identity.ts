/** Which store a worker works on. While blobs lie in a folder or records in SQLite, a worker with another folder would never find the message. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Client, Connection } from '@temporalio/client';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { PermanentError } from '../../protocols/errors.ts';

const PREFIX = 'switchyard';

/** `switchyard:<store>:<pid>@<host>`, shown beside every activity in the Temporal UI. */
export function workerIdentity(configuration: Configuration): string {
  return `${PREFIX}:${storeId(configuration)}:${process.pid}@${hostname()}`;
}

/**
 * @throws PermanentError `worker.foreign_store` while workers of another state folder poll the same task queue
 */
export async function refuseForeignStore(
  client: Client,
  taskQueue: string,
  configuration: Configuration,
): Promise<void> {
  const { pollers } = await (client.connection as Connection).workflowService.describeTaskQueue({
    namespace: configuration.temporal.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: 1,
  });
  const own = storeId(configuration);
  const foreign = (pollers ?? [])
    .map((one) => one.identity ?? '')
    .find((identity) => identity.startsWith(`${PREFIX}:`) && identity.split(':')[1] !== own);
  if (!foreign) return;
  throw new PermanentError({
    code: 'worker.foreign_store',
    message: `Task queue ${taskQueue} is worked by ${foreign}, whose messages and records lie in another state folder than ${configuration.state}; this worker would not find them.`,
    fix: 'Run the workers of one installation on one state folder, or give this installation its own temporal.taskQueue.',
  });
}

/** A random name made once for a state folder; the hash ties it to the machine, so that a copied folder is another store. */
function storeId({ state }: Configuration): string {
  const file = join(state, 'store.id');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  try {
    writeFileSync(file, randomUUID(), { flag: 'wx', mode: 0o600 });
  } catch {
    // It is there already.
  }
  return createHash('sha256')
    .update(`${readFileSync(file, 'utf8')}\0${hostname()}`)
    .digest('hex')
    .slice(0, 12);
}
