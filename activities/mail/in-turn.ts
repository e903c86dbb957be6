/** Order among calls of one process: one at a time for a key, some at a time for a list. */

const queues = new WeakMap<object, Map<string, Promise<void>>>();

/** Runs the work when all earlier work of the same key has ended, whatever its end. Keys are those of one `scope`. */
export async function inTurn<T>(scope: object, key: string, work: () => Promise<T>): Promise<T> {
  const queue = queues.get(scope) ?? new Map<string, Promise<void>>();
  queues.set(scope, queue);
  const before = queue.get(key);
  const result = (async () => {
    await before;
    return work();
  })();
  const over = result.then(
    () => undefined,
    () => undefined,
  );
  queue.set(key, over);
  void over.then(() => queue.get(key) === over && queue.delete(key));
  return result;
}

/** Runs the work for every item, so many at once. All have ended when it throws what the first failure threw. */
export async function inLanes<T>(items: readonly T[], lanes: number, work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const lane = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(lanes, items.length) }, lane));
  const failed = ends.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
}
