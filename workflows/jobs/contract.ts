/** The contract of long jobs: the lock that runs one of a key at a time, and what a job's own workflow is given. */

export const ONE_AT_A_TIME = 'oneAtATime';

/** Signal: something about the jobs of the key has changed in the records; sent with the start. */
export const WAKE = 'wake';

export interface OneAtATimeInput {
  key: string;
}

/** Input of every workflow that does a job. */
export interface JobInput<Parameters = Record<string, unknown>> {
  /** Id of the job, which its steps work under (activities/jobs/in-job.ts). */
  job: string;
  parameters: Parameters;
}

/**
 * Workflow id of a key's lock: whoever wakes it meets the one that runs.
 * @param taskQueue the main one: another installation in the same namespace has its own jobs of the same keys
 */
export const oneAtATimeId = (taskQueue: string, key: string): string => `jobs/${taskQueue}/${key}`;
