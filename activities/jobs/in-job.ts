/**
 * Work on a job inside a step. While it lasts the step holds the job's lease in the records, renewed every few seconds:
 * whatever comes next, a second attempt at the step, the clean-up, the next job of the key, begins only when this one has
 * surely stopped, be its worker dead, paused, or cut off from Temporal. So a job has one step at work at a time; one that
 * wants to do much at once does it inside a step.
 */
import { randomUUID } from 'node:crypto';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { leaseLost, type JobProgress } from '../../stores/records/jobs-port.ts';
import type { Records } from '../../stores/records/port.ts';
import type { StepContext } from '../step.ts';

export interface JobWork {
  /** Aborts when the job is to stop, the process ends, or the lease is lost: stop at once, another may begin. */
  signal: AbortSignal;
  /**
   * Throws where the work must stop. Call it before each act that others can see: a process that was paused hears of the
   * signal only after what it had begun.
   */
  check(): void;
  /** Shows how far it is: cheap, only the newest is written now and then. */
  progress(progress: JobProgress): void;
  /** Adds a line to the log of the job. */
  log(words: string): Promise<void>;
  /** What an attempt before this one was at that did not come to its end, in the words that it said it in. */
  readonly left: unknown;
  /** Says what comes next, as small plain JSON: written when this is over, so that it is known whoever is killed then. */
  place(place: unknown): Promise<void>;
}

/** ms that a lease lasts: what a dead worker delays the next job by. */
const LEASE = 15_000;
/** Renewed so often, so that one late write loses nothing. */
const RENEW_EVERY = 4_000;
/** A step has this long between the loss of its lease and the moment when another may begin. */
const MARGIN = 3_000;
/** How often progress is written. */
const PROGRESS_EVERY = 500;

/**
 * Runs work under the job's lease.
 * @param job id of the job
 * @throws PermanentError `job.over`; TemporaryError `job.leased`, `job.lease_lost`; and what the work throws
 */
export async function inJob<T>(
  job: string,
  { jobs }: Pick<Records, 'jobs'>,
  step: StepContext,
  work: (work: JobWork) => Promise<T>,
): Promise<T> {
  const holder = randomUUID();
  const lost = new AbortController();
  let until = 0;
  let isDone = false;
  let latest: JobProgress | undefined;

  async function renew(): Promise<unknown> {
    const next = Date.now() + LEASE;
    const left = await jobs.lease(job, holder, new Date(next).toISOString());
    until = next;
    return left;
  }
  const left = await renew();
  const keep = repeat(RENEW_EVERY, async () => {
    try {
      await renew();
    } catch (thrown) {
      // The job is over, or somebody else has the lease: there is nothing to hope for.
      const isGone = thrown instanceof PermanentError || (thrown as { code?: string }).code === 'job.leased';
      step.log.warn({ job, error: messageOf(thrown) }, 'the lease of a job could not be renewed');
      if (isGone) lost.abort(thrown);
    }
  });
  // Not by the renewal alone, which may itself hang.
  const loseInTime = (): void => {
    if (Date.now() > until - MARGIN) lost.abort(leaseLost(job));
  };
  const watch = setInterval(loseInTime, MARGIN / 4);
  const write = async (): Promise<void> => {
    const progress = latest;
    latest = undefined;
    if (progress) await jobs.progress(job, progress);
  };
  const show = repeat(PROGRESS_EVERY, () => write().catch(() => undefined));

  try {
    const signal = AbortSignal.any([step.signal, lost.signal]);
    const check = (): void => {
      loseInTime();
      signal.throwIfAborted();
    };
    const result = await work({
      left,
      signal,
      check,
      progress(progress) {
        latest = progress;
        step.report(progress);
      },
      log: (words) => jobs.log(job, words),
      place: (place) => jobs.place(job, holder, place),
    });
    isDone = true;
    return result;
  } catch (thrown) {
    if (!step.signal.aborted) lost.signal.throwIfAborted();
    throw thrown;
  } finally {
    for (const timer of [keep, watch, show]) clearInterval(timer);
    await write().catch(() => undefined);
    await jobs.release(job, holder, isDone).catch(() => undefined);
  }
}

/** Turns do not overlap: a slow one leaves out those that fall into it. */
function repeat(everyMs: number, turn: () => Promise<void>): NodeJS.Timeout {
  let isBusy = false;
  return setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    void turn().finally(() => (isBusy = false));
  }, everyMs);
}
