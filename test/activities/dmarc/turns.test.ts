import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createTurns } from '../../../activities/dmarc/turns.ts';

test('acts begin in order, whichever was ready first; of one name one is done before the next begins', async () => {
  const next = createTurns();
  const seen: string[] = [];
  const act = (name: string, ms: number) => async () => {
    seen.push(`${name} begins`);
    await sleep(ms);
    seen.push(`${name} ends`);
  };
  const [a, b, none, c, again] = [next(), next(), next(), next(), next()];
  const acts = [again.take('a', act('a again', 1)), c.take('c', act('c', 20)), b.take('b', act('b', 1))];
  await sleep(5);
  expect(seen).toEqual([]);
  acts.push(a.take('a', act('a', 40)));
  await acts[2];
  expect(seen.slice(0, 2)).toEqual(['a begins', 'b begins']);
  none.leave();
  await Promise.all(acts);
  expect(seen.slice(2)).toEqual(['b ends', 'c begins', 'c ends', 'a ends', 'a again begins', 'a again ends']);
});

test('one that fails holds up no other', async () => {
  const next = createTurns();
  const [one, two, three] = [next(), next(), next()];
  const failed = one.take('x', async () => Promise.reject(new Error('no')));
  two.leave();
  expect(await three.take('x', async () => 'done')).toBe('done');
  await expect(failed).rejects.toThrow('no');
});
