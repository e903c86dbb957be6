/** The step's face towards Temporal: one activity a step, errors translated once, heartbeats by a timer. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Logger } from 'pino';
import { steps as houseSteps } from '../../activities/registry.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { elsewhere, type Step } from '../../activities/step.ts';
import { PermanentError, SwitchyardError, TemporaryError } from '../../protocols/errors.ts';
import { RUN_STEP } from '../../workflows/contract.ts';

/** Well below the heartbeat time-out of the proxies (workflows/activities.ts), so that one late beat is no loss. */
const HEARTBEAT_EVERY = 4_000;

/**
 * Steps that wait for others may run inside a workflow task as long as few do: each holds one of the slots for
 * workflow tasks (servers/worker/server.ts), and with no slot left no run would get on.
 */
export const LOCAL_WAITS = 60;
/**
 * ms after which such a step is to move on: before the workflow task has to be renewed, and after the six seconds that
 * postfix's postscreen keeps strangers waiting for its greeting.
 */
const LOCAL_TIME = 7_000;

/** Activities by step name. */
export function createActivities(
  dependencies: Dependencies,
  log: Logger,
  steps: readonly Step[] = houseSteps,
): Record<string, (input: unknown) => Promise<unknown>> {
  const waits = { count: 0 };
  return Object.fromEntries(
    steps.map((step) => [
      step.name,
      async (input: unknown) => {
        if (step.takes === 'cpu' || !Context.current().info.isLocal) return runActivity(step, input, dependencies, log);
        if (waits.count >= LOCAL_WAITS) throw asFailure(elsewhere());
        waits.count += 1;
        try {
          return await runActivity(step, input, dependencies, log, AbortSignal.timeout(LOCAL_TIME));
        } finally {
          waits.count -= 1;
        }
      },
    ]),
  );
}

async function runActivity(
  step: Step,
  input: unknown,
  dependencies: Dependencies,
  log: Logger,
  moveOn?: AbortSignal,
): Promise<unknown> {
  const context = Context.current();
  const { workflowExecution, workflowType, activityId, attempt, isLocal } = context.info;
  const run = workflowExecution?.workflowId ?? 'none';
  // One step and one run are one act, also when a run that failed or was cancelled begins again under its id. In any
  // other workflow the same activity id may be another act the next time.
  const act = workflowType === RUN_STEP ? '' : `/${workflowExecution?.runId ?? ''}/${activityId}`;
  let progress: unknown;
  // A local activity lives as long as its workflow task and has no heartbeat.
  const heartbeat = () => isLocal || context.heartbeat(progress);
  const beat = setInterval(heartbeat, HEARTBEAT_EVERY);
  try {
    return await step.call(input, dependencies, {
      signal: context.cancellationSignal,
      report(next) {
        progress = next;
        heartbeat();
      },
      log: log.child({ run, step: step.name, attempt }),
      idempotencyKey: `run/${run}${act}`,
      run: workflowExecution?.workflowId,
      moveOn,
    });
  } catch (thrown) {
    // A step that was told to stop reports the stop, not the broken socket that came of it.
    context.cancellationSignal.throwIfAborted();
    throw asFailure(thrown);
  } finally {
    clearInterval(beat);
  }
}

/** The house's two errors as Temporal reads them. Details travel into the history: they are small and hold no secret. */
export function asFailure(thrown: unknown): unknown {
  if (!(thrown instanceof SwitchyardError)) return thrown;
  return ApplicationFailure.create({
    message: thrown.message,
    type: thrown.code,
    nonRetryable: thrown instanceof PermanentError,
    nextRetryDelay: thrown instanceof TemporaryError ? thrown.retryAfterMs : undefined,
    details: [{ code: thrown.code, fix: thrown.fix, ...thrown.details }],
    cause: thrown.cause instanceof Error ? thrown.cause : undefined,
  });
}
