/**
 * Work that is done side by side and whose acts begin in order, so that of two reports of one name the first one counts,
 * whichever was ready first. Acts of one name are done one after the other, all others at once.
 */
export interface Turn {
  /** Does the act when all turns before have begun theirs or left, and no act of that name is under way. */
  take<T>(name: string, act: () => Promise<T>): Promise<T>;
  /** It has nothing (more) to do. */
  leave(): void;
}

/**
 * Reports on their way at once: while some are being published in one transaction, the next are read. What a transaction
 * costs besides is then a thirtieth of one a report; and of each a thousand records may be in memory.
 */
const LANES = 32;

/**
 * Does work with each report, some of them at once; when this ends, all that was begun has ended.
 * @throws what the first of them threw; no more are begun then
 */
export async function inLanes<Item, Result>(
  items: readonly Item[],
  work: (item: Item, turn: Turn) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const nextTurn = createTurns();
  const queue = items.entries();
  let isOver = false;
  const lane = async (): Promise<void> => {
    for (const [index, item] of queue) {
      if (isOver) return;
      const turn = nextTurn();
      try {
        results[index] = await work(item, turn);
      } catch (thrown) {
        isOver = true;
        throw thrown;
      } finally {
        turn.leave();
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: LANES }, lane));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  return results;
}

/** @returns the next turn, with each call */
export function createTurns(): () => Turn {
  let before: Promise<void> = Promise.resolve();
  const underWay = new Map<string, Promise<unknown>>();
  return () => {
    const mine = before;
    const { promise: begun, resolve: leave } = Promise.withResolvers<void>();
    before = mine.then(() => begun);
    return {
      leave,
      async take(name, act) {
        await mine;
        const work = (underWay.get(name) ?? Promise.resolve()).then(act);
        const over = work.then(
          () => undefined,
          () => undefined,
        );
        underWay.set(name, over);
        leave();
        try {
          return await work;
        } finally {
          if (underWay.get(name) === over) underWay.delete(name);
        }
      },
    };
  };
}
