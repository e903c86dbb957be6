import { describe, expect, it } from 'vitest';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import { together } from '../../../stores/records/together.ts';

const wrong = new PermanentError({ code: 'test.wrong', message: 'This one is wrong.', fix: 'Nothing.' });
const away = new TemporaryError({ code: 'test.away', message: 'The store is away.', fix: 'Nothing.' });

/** Doubles numbers, three at once at most; notes what was done at once. */
function doubling(refuse: (numbers: readonly number[]) => unknown = () => undefined) {
  const batches: number[][] = [];
  const double = together<number, number>(
    async (numbers) => {
      batches.push([...numbers]);
      await Promise.resolve();
      const refusal = refuse(numbers);
      if (refusal) throw refusal;
      return numbers.map((number) => number * 2);
    },
    (numbers) => numbers.length < 3,
  );
  return { batches, double };
}

describe('calls that are done together', () => {
  it('are done at once where one comes alone, and else with those that came meanwhile, in their order', async () => {
    const { batches, double } = doubling();
    expect(await Promise.all([1, 2, 3, 4, 5, 6].map(double))).toEqual([2, 4, 6, 8, 10, 12]);
    expect(batches).toEqual([[1], [2, 3, 4], [5, 6]]);
    expect(await double(7)).toBe(14);
    expect(batches.at(-1)).toEqual([7]);
  });

  it('spoil no other where one of them fails', async () => {
    const { double } = doubling((numbers) => (numbers.includes(3) ? wrong : undefined));
    const ends = await Promise.allSettled([1, 2, 3, 4, 5].map(double));
    expect(ends.map((end) => (end.status === 'fulfilled' ? end.value : end.reason))).toEqual([2, 4, wrong, 8, 10]);
  });

  it('fail together, without a try of each, where the store is away', async () => {
    let isAway = false;
    const { batches, double } = doubling(() => (isAway ? away : undefined));
    const first = double(1);
    isAway = true;
    const ends = await Promise.allSettled([2, 3, 4].map(double));
    expect(ends.map((end) => end.status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(batches).toEqual([[1], [2, 3, 4]]);
    await expect(first).rejects.toBe(away);
    isAway = false;
    expect(await double(5)).toBe(10);
  });
});
