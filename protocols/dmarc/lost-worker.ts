/**
 * What ends its worker, as a report that is too large for the memory would, is begun again a few times and not for ever.
 * A step over one report is counted by its run; this is the rule for one over many, where it has to be found out first.
 */

/** Workers that one report may cost. A deploy costs one; three in a row within one step is no chance. */
export const MOST_LOST = 3;
export const WORKER_LOST = 'dmarc.worker_lost';
export const workerLostWords = (times = MOST_LOST): string => `Its worker was lost ${times} times in a row.`;

/** What a step over many says before it begins the next of them. */
export interface Place<Position> {
  /** Where it is. */
  position: Position;
  /** Whether it is at the next one alone; at some of them otherwise. */
  isAlone: boolean;
}

/**
 * `together`: some at once. `one by one`: one of the next may have ended the worker. `one`: the next one may, and is done
 * alone. `aside`: the next one did, as often as it may.
 */
export type Pace = 'together' | 'one by one' | 'one' | 'aside';

/**
 * @param position where the step began
 * @param lost workers that were lost at it in a row
 * @param left what the last of them said
 * @returns where to go on, and how
 */
export function goOn<Position>(
  position: Position,
  lost: number,
  left: Place<Position> | undefined,
): { position: Position; pace: Pace } {
  if (lost === 0 || !left) return { position, pace: 'together' };
  if (!left.isAlone) return { position: left.position, pace: 'one by one' };
  return { position: left.position, pace: lost < MOST_LOST ? 'one' : 'aside' };
}
