/** A step over a stranger's bytes: it may be what ends its worker, so it is begun again a few times and not for ever. */
import { ActivityFailure, ApplicationFailure, sleep, TimeoutFailure } from '@temporalio/workflow';
import { MOST_LOST, WORKER_LOST, workerLostWords } from '../../protocols/dmarc/lost-worker.ts';

/** ms to the next try, at most and times the tries: what ran beside a file that ends workers meets it no second time. */
const APART = 5_000;

/**
 * @param step begins one, told how many workers were lost at it in a row; the same again is the same act
 * @param most workers that it may cost
 * @throws ApplicationFailure `dmarc.worker_lost`; whatever the step throws
 */
export async function survived<T>(step: (lost: number) => Promise<T>, most = MOST_LOST): Promise<T> {
  for (let lost = 0; ;) {
    try {
      return await step(lost);
    } catch (thrown) {
      if (!isLost(thrown)) throw thrown;
      lost += 1;
      if (lost === most) throw ApplicationFailure.nonRetryable(workerLostWords(lost), WORKER_LOST);
    }
    await sleep(Math.ceil(Math.random() * APART * lost));
  }
}

/** The same for a step over many files, which sets the one aside that cost as many workers as it may (`goOn`). */
export const survivedByAll = <T>(step: (lost: number) => Promise<T>): Promise<T> => survived(step, MOST_LOST + 1);

/** No heartbeat any more: the process was killed, or ran out of memory. Or it beats, and comes to no end. */
function isLost(thrown: unknown): boolean {
  return thrown instanceof ActivityFailure && thrown.cause instanceof TimeoutFailure;
}
