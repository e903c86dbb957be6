/** The part of the sweep that is about jobs: whatever is open has a run that will come to it. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Job } from '../../stores/records/jobs-port.ts';
import { oneAtATimeId } from '../../workflows/jobs/contract.ts';
import { wakeKey, type JobRuns } from './wake.ts';

/** A request may take this long from its record to its signal. */
const SETTLED_AFTER = 20_000;

/**
 * Wakes the lock of every key whose signal may have been lost, or whose run is no more: it starts what waits and settles
 * what an ended run left open. Returns how many keys it woke.
 */
export async function settleJobs(
  options: JobRuns & { dependencies: Pick<Dependencies, 'records'> },
  now: number,
): Promise<number> {
  const { jobs } = options.dependencies.records;
  const keys = new Set<string>();
  for (let page = await jobs.open(); page.length > 0; page = await jobs.open(page.at(-1)?.id))
    for (const job of page) if (await needsCall(job, options, now)) keys.add(job.key);
  for (const key of keys) await wakeKey(options, key);
  return keys.size;
}

/** A running job has its lock beside it, which knows the rest. */
async function needsCall(job: Job, { client, taskQueue }: JobRuns, now: number): Promise<boolean> {
  if (now - Date.parse(job.requestedAt) < SETTLED_AFTER) return false;
  return job.state !== 'running' || !(await isRunning(oneAtATimeId(taskQueue, job.key), client));
}

async function isRunning(workflowId: string, client: Client): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (thrown) {
    if (thrown instanceof WorkflowNotFoundError) return false;
    throw thrown;
  }
}
