/** Tells the lock of a key that its jobs have changed in the records; starts it where it does not run. */
import type { Client } from '@temporalio/client';
import { ONE_AT_A_TIME, oneAtATimeId, WAKE, type OneAtATimeInput } from '../../workflows/jobs/contract.ts';

export interface JobRuns {
  client: Client;
  /** The main task queue. */
  taskQueue: string;
}

/** ms that a server may take; one that is away is made up for by the sweep. */
const DEADLINE = 5_000;

/** @throws whatever the Temporal client does while the server is away */
export async function wakeKey({ client, taskQueue }: JobRuns, key: string): Promise<void> {
  const input: OneAtATimeInput = { key };
  await client.withDeadline(Date.now() + DEADLINE, () =>
    client.workflow.signalWithStart(ONE_AT_A_TIME, {
      workflowId: oneAtATimeId(taskQueue, key),
      taskQueue,
      args: [input],
      signal: WAKE,
      signalArgs: [],
      staticSummary: `one at a time: ${key}`.slice(0, 130),
      staticDetails: 'Runs the jobs of one key, one after the other. Job records say what became of each.',
    }),
  );
}
