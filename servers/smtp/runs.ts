/** The session's side of `routeMail`: start or meet the run of a recipient, take its answer, settle what was refused. */
import { WithStartWorkflowOperation, type Client } from '@temporalio/client';
import type { MailActivity } from '../../stores/records/port.ts';
import {
  FIRST_ANSWER,
  ROUTE_MAIL,
  SETTLE,
  type FirstAnswer,
  type RouteMailInput,
  type Settlement,
} from '../../workflows/mail/contract.ts';
import { labelsOf } from '../mail/labels.ts';

/** What a run needs beside the record: the run's input without what the record says. */
export type Dispatch = (
  record: MailActivity,
  change?: Pick<RouteMailInput, 'settlement'> & { refusedBefore?: RouteMailInput['refusedBefore'] },
) => RouteMailInput;

/** The run ends its part of the session by its own timer; a session that waits this much longer has lost it. */
const RUN_GRACE = 10_000;

/**
 * Starts the run, or meets the running one of the same message, and waits for its answer.
 * @throws whatever keeps the run from being reached; the caller answers 451
 */
export async function askRun(
  client: Client,
  taskQueue: string,
  workflowId: string,
  input: RouteMailInput,
): Promise<FirstAnswer> {
  const startWorkflowOperation = new WithStartWorkflowOperation(ROUTE_MAIL, {
    workflowId,
    taskQueue,
    args: [input],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    ...labelsOf(input),
  });
  // Left alone, a failed start would surface as an unhandled rejection beside the one that is thrown.
  startWorkflowOperation.workflowHandle().catch(() => undefined);
  return client.withDeadline(Date.now() + input.policy.sessionWait + RUN_GRACE, () =>
    client.workflow.executeUpdateWithStart<(input: RouteMailInput) => Promise<unknown>, FirstAnswer, []>(FIRST_ANSWER, {
      startWorkflowOperation,
    }),
  );
}

/**
 * Tells a run that waits what became of its refusal.
 * @returns what holds: an earlier session may have settled it otherwise
 */
export async function settleRun(client: Client, workflowId: string, settlement: Settlement): Promise<Settlement> {
  const handle = client.workflow.getHandle(workflowId);
  return client.withDeadline(Date.now() + RUN_GRACE, () =>
    handle.executeUpdate<Settlement, [Settlement]>(SETTLE, { args: [settlement] }),
  );
}
