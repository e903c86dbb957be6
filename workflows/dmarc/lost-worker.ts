/** A step over a stranger's bytes: it may be what ends its worker, so it is begun again a few times and not for ever. */
import { ActivityFailure, ApplicationFailure, sleep, TimeoutFailure } from '@temporalio/workflow';

/** Workers that one file may cost. A deploy costs one; three in a row within one step is no chance. */
export const MOST_LOST = 3;
/** ms to the next try, at most and times the tries: what ran beside a file that ends workers meets it no second time. */
const APART = 5_000;

/**
 * @param step begins one; the same again is the same act
 * @throws ApplicationFailure `dmarc.worker_lost`; whatever the step throws
 */
export async function survived<T>(step: () => Promise<T>): Promise<T> {
  for (let lost = 1; ; lost++) {
    try {
      return await step();
    } catch (thrown) {
      if (!isLost(thrown)) throw thrown;
      if (lost === MOST_LOST)
        throw ApplicationFailure.nonRetryable(`Its worker was lost ${MOST_LOST} times in a row.`, WORKER_LOST);
    }
    await sleep(Math.ceil(Math.random() * APART * lost));
  }
}

export const WORKER_LOST = 'dmarc.worker_lost';

/** No heartbeat any more: the process was killed, or ran out of memory. Or it beats, and comes to no end. */
function isLost(thrown: unknown): boolean {
  return thrown instanceof ActivityFailure && thrown.cause instanceof TimeoutFailure;
}
