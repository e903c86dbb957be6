/** Waiting for a Temporal server to answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { connectionOptions } from '../../servers/temporal.ts';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';

/** A server of our own makes its schema and reads 250 MB from a cold disk. */
export const START_TIMEOUT_MS = 60_000;
/** A server that runs already answers at once or not. */
export const REACHABLE_TIMEOUT_MS = 10_000;

const ONE_TRY_MS = 1_000;
const PAUSE_MS = 100;

/**
 * Resolves when the server answers for the namespace.
 * @throws PermanentError `temporal.unreachable`
 */
export async function connectTemporal(
  configuration: Configuration,
  addresses: Addresses,
  timeoutMs: number,
): Promise<void> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    try {
      const connection = await Connection.connect({
        ...connectionOptions(configuration, addresses),
        connectTimeout: ONE_TRY_MS,
      });
      try {
        await connection.workflowService.describeNamespace({ namespace: configuration.temporal.namespace });
        return;
      } finally {
        await connection.close();
      }
    } catch (error) {
      if (Date.now() > until) throw unreachable(configuration, addresses, error);
      await sleep(PAUSE_MS);
    }
  }
}

function unreachable(configuration: Configuration, addresses: Addresses, cause: unknown): PermanentError {
  return new PermanentError({
    code: 'temporal.unreachable',
    message: `The Temporal server at ${addresses.temporal} does not answer for namespace ${configuration.temporal.namespace}: ${messageOf(cause)}`,
    fix: 'Start it, or make the namespace with `temporal operator namespace create`; without TEMPORAL_ADDRESS and temporal.address a server is started here.',
    cause,
  });
}
