/**
 * Which stores a process works on. While blobs lie in a folder or records in SQLite they are of one machine, and a
 * process with others would never find the message: it is refused at its start. With a bucket and PostgreSQL every
 * process that names them has the same stores, wherever it runs.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Client, Connection } from '@temporalio/client';
import { PermanentError, messageOf } from '../protocols/errors.ts';
import type { Configuration } from '../stores/configuration/schema.ts';
import { openKeys } from '../stores/keys/open.ts';
import type { KeyStore } from '../stores/keys/port.ts';
import { openRecords, recordsPlace } from '../stores/records/open.ts';
import { taskQueues } from '../workflows/mail/contract.ts';
import type { StartServer } from './server.ts';
import { lazyTemporal } from './temporal.ts';

const PREFIX = 'switchyard';
/** Name of the secret that tells records apart; whoever has other records, or another master key, has another. */
const SECRET = 'store';
/** A worker asks for work anew at least every minute; the server names those that ended for five. */
const POLLS_WITHIN_MS = 90_000;
/** A server that is away is no reason not to start. */
const ANSWER_WITHIN_MS = 3_000;

/**
 * Twelve hexadecimal digits, the same for every process on the same stores.
 * @throws PermanentError `key.unreadable` when the master key is not the one that these records were written with
 */
export async function storeIdOf(configuration: Configuration, keys: Pick<KeyStore, 'secret'>): Promise<string> {
  const { records, blobs } = configuration;
  const secret = await keys.secret(SECRET);
  const parts: (string | Buffer)[] = [secret, '\0'];
  if (records.postgres && blobs.s3) parts.push(blobs.s3.bucket, '\0', blobs.s3.prefix ?? '');
  // The name of the machine, so that a copied folder is another store.
  else parts.push(nameOfFolder(configuration.state), '\0', hostname());
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 12);
}

/** `switchyard:<store>:<pid>@<host>`, shown beside every activity in the Temporal UI. */
export function workerIdentity(storeId: string): string {
  return `${PREFIX}:${storeId}:${process.pid}@${hostname()}`;
}

/**
 * @throws PermanentError `worker.foreign_store` while workers on other stores poll the same task queue
 */
export async function refuseForeignStore(client: Client, configuration: Configuration, storeId: string): Promise<void> {
  const taskQueue = taskQueues(configuration.temporal.taskQueue).main;
  const { pollers } = await (client.connection as Connection).workflowService.describeTaskQueue({
    namespace: configuration.temporal.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: 1,
  });
  const since = Date.now() - POLLS_WITHIN_MS;
  const foreign = (pollers ?? [])
    .filter(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1_000 > since)
    .map((one) => one.identity ?? '')
    .find((identity) => identity.startsWith(`${PREFIX}:`) && identity.split(':')[1] !== storeId);
  if (foreign) throw foreignStore(taskQueue, foreign, configuration);
}

function foreignStore(taskQueue: string, foreign: string, configuration: Configuration): PermanentError {
  const { records, blobs, state } = configuration;
  const local = [...(records.postgres ? [] : ['records in SQLite']), ...(blobs.s3 ? [] : ['blobs in a folder'])];
  const own =
    local.length === 0 ? `${recordsPlace(configuration)} and the bucket ${blobs.s3?.bucket}` : `those of ${state}`;
  const otherQueue = 'give this installation its own temporal.taskQueue';
  return new PermanentError({
    code: 'worker.foreign_store',
    message: `Task queue ${taskQueue} is worked by ${foreign}, whose messages and records are others than ${own}: neither would find what the other took.`,
    fix:
      local.length === 0
        ? `Name the same records.postgres and blobs.s3 everywhere, or ${otherQueue}. A worker that was stopped counts for ${POLLS_WITHIN_MS / 1_000} s.`
        : `Here lie ${local.join(' and ')}, which only this machine has: name records.postgres and blobs.s3 for processes on several, or ${otherQueue}.`,
  });
}

/**
 * The same for a process that is no worker. Only where Temporal is a server of its own: the one that `up` starts is
 * reached from its machine alone.
 */
export function onOwnStore(start: StartServer): StartServer {
  return async (options) => {
    const { configuration, addresses, log } = options;
    if (process.env.TEMPORAL_ADDRESS || configuration.temporal.address) {
      const records = await openRecords(configuration);
      const client = lazyTemporal(configuration, addresses);
      try {
        const storeId = await storeIdOf(configuration, await openKeys(records, configuration));
        const { connection } = client;
        await connection.withDeadline(Date.now() + ANSWER_WITHIN_MS, () =>
          refuseForeignStore(client, configuration, storeId),
        );
      } catch (thrown) {
        if (thrown instanceof PermanentError) throw thrown;
        log.warn({ error: messageOf(thrown) }, 'whose workers poll could not be asked');
      } finally {
        await records.close();
        await client.connection.close();
      }
    }
    return start(options);
  };
}

/** A random name made once for a state folder. */
function nameOfFolder(state: string): string {
  const file = join(state, 'store.id');
  mkdirSync(state, { recursive: true, mode: 0o700 });
  try {
    writeFileSync(file, randomUUID(), { flag: 'wx', mode: 0o600 });
  } catch {
    // It is there already.
  }
  return readFileSync(file, 'utf8');
}
