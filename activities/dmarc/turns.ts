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
