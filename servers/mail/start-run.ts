/** Starts the run of a message whose sender waits for nothing, or meets the one that runs. */
import type { Client } from '@temporalio/client';
import { ROUTE_MAIL, type RouteMailInput } from '../../workflows/mail/contract.ts';
import { labelsOf } from './labels.ts';

export async function startRun(
  client: Client,
  taskQueue: string,
  workflowId: string,
  input: RouteMailInput,
): Promise<void> {
  await client.workflow.start(ROUTE_MAIL, {
    workflowId,
    taskQueue,
    args: [input],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    ...labelsOf(input),
  });
}
