/**
 * `oneAtATime`: runs the jobs of one key, one at a time. What is to run is decided in the records, where every request
 * is before this run hears of it (stores/records/jobs-port.ts); a signal only says that there is something new. So a
 * request needs no living worker, a lost signal loses no request, and a run that ends has nothing to hand over.
 */
import {
  CancellationScope,
  ChildWorkflowCancellationType,
  condition,
  continueAsNew,
  defineSignal,
  executeChild,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { inline } from '../../protocols/markdown.ts';
import { jobKeeping, type HouseActivities } from '../activities.ts';
import { WAKE, type JobInput, type OneAtATimeInput } from './contract.ts';
import { endOf, TERMINATED, type JobEnd } from './ending.ts';

const wake = defineSignal(WAKE);
const kindAttribute = defineSearchAttributeKey('SwitchyardStep', SearchAttributeType.KEYWORD);

type Job = NonNullable<Awaited<ReturnType<HouseActivities['jobs.take']>>['job']>;

/** What this run has been told and not yet looked at. */
interface Bell {
  rung: boolean;
  /** A person cancelled this run: whatever is open of the key is to stop. */
  stopAll: boolean;
}

/** A lease is looked at again after this at the latest: it may be given back before its time. */
const LEASE_LOOK = 2_000;

export async function oneAtATime(input: OneAtATimeInput): Promise<void> {
  const { key } = input;
  const bell: Bell = { rung: false, stopAll: false };
  setHandler(wake, () => {
    bell.rung = true;
  });
  CancellationScope.current().cancelRequested.catch(() => {
    bell.rung = true;
    bell.stopAll = true;
  });

  await CancellationScope.nonCancellable(async () => {
    for (;;) {
      bell.rung = false;
      if (bell.stopAll) await look(key, null, bell);
      const next = await jobKeeping['jobs.take'].executeWithOptions({ summary: 'what is next' }, [{ key }]);
      if (next.leftover) await endLeftover(next.leftover);
      else if (next.leasedUntil) await waitForLease(next.leasedUntil);
      else if (next.job) await runJob(key, next.job, next.cleanUp, bell);
      else if (!bell.rung) return;
      // Here no child runs, which would not come along. A cancellation would not either: it is looked at first.
      if (workflowInfo().continueAsNewSuggested && !bell.stopAll) await continueAsNew<typeof oneAtATime>(input);
    }
  });
  setCurrentDetails(`**Idle.** Nothing of ${inline(key)} runs or waits.`);
}

/** Runs one job to its end. A newer request and a cancellation stop it; its clean-up is waited for, but not for ever. */
async function runJob(key: string, job: Job, cleanUp: number, bell: Bell): Promise<void> {
  const scope = new CancellationScope();
  let end: JobEnd | undefined;
  show(job, 'Running');
  scope
    .run(() => executeChild(job.workflow, optionsOf(job)))
    .then(
      () => (end = { state: 'done', code: null, text: null }),
      (thrown: unknown) => (end = endOf(thrown)),
    );
  const over = () => end !== undefined;

  let isStopped = false;
  while (!isStopped && !over()) {
    await condition(() => over() || bell.rung);
    if (over()) break;
    bell.rung = false;
    isStopped = await look(key, job.id, bell);
  }
  if (!over()) {
    show(job, 'Stopping');
    scope.cancel();
    if (!(await condition(over, cleanUp))) {
      await endRun(job, 'Its clean-up took too long.');
      await condition(over);
      end = afterTermination(end, cleanUp);
    }
  }
  await record(job.id, isStopped || end?.state !== 'cancelled' ? end : { ...end, ...CANCELLED_IN_TEMPORAL });
}

const CANCELLED_IN_TEMPORAL = { code: 'job.cancelled', text: 'Its run was cancelled in Temporal.' };

/** It may have come to its own end a moment before. */
function afterTermination(end: JobEnd | undefined, cleanUp: number): JobEnd | undefined {
  if (end?.code !== TERMINATED) return end;
  const text = `Its clean-up was not done after ${Math.round(cleanUp / 1_000)} s and was ended.`;
  return { state: 'cancelled', code: 'job.clean_up_ended', text };
}

function optionsOf(job: Job) {
  return {
    args: [{ job: job.id, parameters: job.parameters } satisfies JobInput],
    workflowId: job.workflowId,
    // A job is done once, whatever became of its run.
    workflowIdReusePolicy: 'REJECT_DUPLICATE' as const,
    cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    staticSummary: job.kind,
    staticDetails: `Job ${inline(job.id)}, asked for by ${inline(job.requestedBy)}.`,
    typedSearchAttributes: [{ key: kindAttribute, value: job.kind }],
  };
}

/** Whether the job has to stop. */
async function look(key: string, job: string | null, bell: Bell): Promise<boolean> {
  const all = bell.stopAll;
  bell.stopAll = false;
  const summary = all ? 'stop all that is open' : 'what has changed';
  return (await jobKeeping['jobs.look'].executeWithOptions({ summary }, [{ key, job, all }])).stop;
}

async function record(job: string, end: JobEnd | undefined): Promise<void> {
  if (end) await jobKeeping['jobs.end'].executeWithOptions({ summary: end.state }, [{ job, ...end }]);
}

/** Ends the run of a job without waiting for it. */
async function endRun(job: Pick<Job, 'workflowId'>, reason: string): Promise<void> {
  const input = { workflowId: job.workflowId, reason };
  await jobKeeping['jobs.terminate'].executeWithOptions({ summary: reason }, [input]);
}

/** An earlier run of this lock did not come to the end of its job: a person terminated it, or Temporal's database is another. */
async function endLeftover(job: Pick<Job, 'id' | 'workflowId'>): Promise<void> {
  await endRun(job, 'The run that watched over it is no more.');
  const text = 'The run that watched over it was ended before it.';
  await record(job.id, { state: 'failed', code: 'job.abandoned', text });
}

async function waitForLease(until: string): Promise<void> {
  setCurrentDetails('**Waiting** until the last step of the job before has surely stopped.');
  const left = Math.max(Date.parse(until) - Date.now(), 100);
  await sleep(Math.min(left, LEASE_LOOK), { summary: 'a step of the job before may still be at work' });
}

function show(job: Job, phase: 'Running' | 'Stopping'): void {
  const facts = `job ${inline(job.id)} (${inline(job.kind)}), asked for by ${inline(job.requestedBy)}`;
  const next = phase === 'Stopping' ? ' What was asked for next starts after its clean-up.' : '';
  setCurrentDetails(`**${phase}:** ${facts}. Its run is \`${job.workflowId}\`.${next}`);
}
