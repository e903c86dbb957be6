/**
 * Many calls as one transaction: what is asked for while one is at work is done by the next, as much of it at once as
 * fits. Nobody waits for company: who comes alone is done alone, at once.
 */
import { TemporaryError } from '../../protocols/errors.ts';

interface Waiting<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

/**
 * @param doAll does all of them or none, and says of each what became of it, in their order; each call is there when
 *   what it asked for is
 * @param fits whether one more may be done with those that are to be done at once
 * @returns what does one of them, in the order of the calls. Where many fail together each is done alone, so that one
 *   spoils no other; but what comes of a store that is away (`TemporaryError`) is that of all, since each would wait again
 */
export function together<Item, Result>(
  doAll: (items: readonly Item[]) => Promise<Result[]>,
  fits: (items: readonly Item[], next: Item) => boolean,
): (item: Item) => Promise<Result> {
  const queue: Waiting<Item, Result>[] = [];
  let isAtWork = false;

  const take = (): Waiting<Item, Result>[] => {
    const items: Item[] = [];
    for (const { item } of queue) {
      if (items.length > 0 && !fits(items, item)) break;
      items.push(item);
    }
    return queue.splice(0, items.length);
  };
  const settle = async (calls: Waiting<Item, Result>[]): Promise<void> => {
    try {
      const results = await doAll(calls.map(({ item }) => item));
      for (const [index, { resolve }] of calls.entries()) resolve(results[index] as Result);
    } catch (thrown) {
      if (calls.length === 1 || thrown instanceof TemporaryError) for (const { reject } of calls) reject(thrown);
      else for (const one of calls) await settle([one]);
    }
  };
  const work = async (): Promise<void> => {
    isAtWork = true;
    for (let calls = take(); calls.length > 0; calls = take()) await settle(calls);
    isAtWork = false;
  };
  return (item) =>
    new Promise((resolve, reject) => {
      queue.push({ item, resolve, reject });
      if (!isAtWork) void work();
    });
}
