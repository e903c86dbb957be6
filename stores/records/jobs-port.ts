/**
 * The records of long jobs: what was asked for, what runs, what became of it. One job at a time has a key; which one is
 * decided here, under a lock on the key, so that requests from anywhere have one order. Every state change writes a
 * line into the job's log in the same transaction.
 */
import { TemporaryError } from '../../protocols/errors.ts';

/**
 * `waiting`, `running` and `cancelling` are open, all others final. `superseded` waited when a newer request came;
 * `cancelled` was stopped before its end, by a person or since a newer request took its place (`errorCode` says which).
 */
export type JobState = 'waiting' | 'running' | 'cancelling' | 'done' | 'failed' | 'cancelled' | 'superseded';

export interface JobProgress {
  done: number;
  /** Null while nobody knows. */
  total: number | null;
  /** One line for people: what is under way. */
  words: string;
}

export interface Job {
  /** UUIDv7. */
  id: string;
  /** One job of a key runs at a time. */
  key: string;
  /** Such as `dmarc.reparse`. */
  kind: string;
  /** The workflow that does it. */
  workflow: string;
  parameters: Record<string, unknown>;
  requestedBy: string;
  requestedAt: string;
  state: JobState;
  progress: JobProgress | null;
  startedAt: string | null;
  endedAt: string | null;
  /** Why it is being stopped, or why it did not end as done: a code and a sentence. */
  errorCode: string | null;
  errorText: string | null;
  /** Its run, from its start on. */
  workflowId: string | null;
}

export interface JobRequest extends Pick<Job, 'key' | 'kind' | 'workflow' | 'parameters' | 'requestedBy'> {
  /** The same for every repeat of the same request. */
  requestId: string;
  /**
   * When a job of the key is open: `replace` cancels the running one and takes the place of a waiting one; `join` meets
   * the one that would run last, where its kind and parameters are the same, and replaces otherwise.
   */
  ifRunning: 'replace' | 'join';
}

/** What whoever runs the jobs of a key has to do next; nothing where all is undefined. */
export interface Taken {
  /** Start this one: it is recorded as running. */
  job?: Job;
  /** Recorded as running, but by somebody else: see that its run is no more, end it, and ask again. */
  leftover?: Job;
  /** A step of an ended job may still be at work until then: ask again later. */
  leasedUntil?: string;
}

export interface JobLine {
  /** 1, 2, 3, ...; older lines of a long log go. */
  line: number;
  at: string;
  words: string;
}

export interface JobFilter {
  key?: string;
  kind?: string;
  states?: JobState[];
  since?: string;
  /** Older than this id (keyset, newest first). */
  before?: string;
  /** Default 50, at most 500. */
  limit?: number;
}

export interface JobRecords {
  /**
   * Records a request: a new waiting job, or one that is met. A job of the key that waited is superseded.
   * @throws PermanentError `job.request_reused` when the request's id has stood for another request
   */
  request(request: JobRequest): Promise<{ job: Job; met: boolean }>;
  /** The job that a request was answered with. */
  asked(requestId: string): Promise<Job | undefined>;
  get(id: string): Promise<Job | undefined>;
  /** Newest first. */
  list(filter: JobFilter): Promise<Job[]>;
  /** The next job of a key, set running. @param by whoever asks: the same asks again after a crash and gets the same */
  take(key: string, by: string): Promise<Taken>;
  /**
   * Whether the running job must stop: a person said so, or a newer one waits, which is recorded. Returns the job.
   */
  look(id: string): Promise<Job | undefined>;
  /** A waiting job is cancelled, a running one recorded as cancelling; any other is left as it is. Returns the job. */
  cancel(id: string, why: { code: string; text: string }): Promise<Job | undefined>;
  /**
   * Ends a running job; one that is final stays as it is. Without a code a cancelled job keeps the one that its
   * cancellation was recorded with. Returns the job.
   */
  end(
    id: string,
    end: { state: 'done' | 'failed' | 'cancelled'; code: string | null; text: string | null },
  ): Promise<Job | undefined>;
  /** @throws PermanentError `job.over` when it does not run any more: whoever still works on it must stop */
  progress(id: string, progress: JobProgress): Promise<void>;
  /** Adds a line, cut to 500 characters; the newest 1,000 are kept. */
  log(id: string, words: string): Promise<void>;
  /** Lines after the given number, in their order. */
  lines(id: string, after?: number, limit?: number): Promise<JobLine[]>;
  /**
   * Says that a step of the job is at work until the time. While one is, no other step of the job begins, and no other
   * job of the key is taken. @param holder this attempt at this step
   * @returns the place of the holder before, if that did not come to its end; once one is said, this one's
   * @throws PermanentError `job.over`; TemporaryError `job.leased` while another one may be at work
   */
  lease(id: string, holder: string, until: string): Promise<unknown>;
  /**
   * Says what the holder is at, as small plain JSON: it stays until the next word, or the end of the step.
   * @throws TemporaryError `job.lease_lost` to who does not hold the lease any more
   */
  place(id: string, holder: string, place: unknown): Promise<void>;
  /** Another may begin. @param isDone the step came to its end: nobody has to know what it was at */
  release(id: string, holder: string, isDone: boolean): Promise<void>;
  /** Open jobs, oldest first, at most 1,000, from after the given one. */
  open(after?: string): Promise<Job[]>;
  /** Removes jobs that ended before the time. Returns how many. */
  expire(time: string): Promise<number>;
}

export function leaseLost(job: string): TemporaryError {
  return new TemporaryError({
    code: 'job.lease_lost',
    message: `The lease of the job ${job} could not be renewed in time, so that this attempt had to stop.`,
    fix: 'It is tried again by itself; see that the records answer and that the machine is not overloaded.',
    details: { job },
  });
}
