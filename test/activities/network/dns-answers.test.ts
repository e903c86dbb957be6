import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createAnswers } from '../../../activities/network/dns-answers.ts';

/** Asks, and counts how often it was asked. */
function server(answer: () => Promise<string[]>) {
  let asked = 0;
  return {
    ask: () => {
      asked += 1;
      return answer();
    },
    asked: () => asked,
  };
}

it('asks once for those who ask at the same time, and for those who come shortly after', async () => {
  const answers = createAnswers<string>(200);
  const dns = server(async () => (await sleep(10), ['b', 'a']));
  const [one, other] = await Promise.all([answers('TXT a', dns.ask), answers('TXT a', dns.ask)]);
  one?.sort();
  expect([one, other, await answers('TXT a', dns.ask)]).toEqual([
    ['a', 'b'],
    ['b', 'a'],
    ['b', 'a'],
  ]);
  expect(dns.asked()).toBe(1);
  await answers('MX a', dns.ask);
  expect(dns.asked()).toBe(2);
  await sleep(250);
  await answers('TXT a', dns.ask);
  expect(dns.asked()).toBe(3);
});

it('keeps nothing where it must not, no failure, and nothing that is large', async () => {
  const none = createAnswers<string>(0);
  const dns = server(async () => ['a']);
  await none('TXT a', dns.ask);
  await none('TXT a', dns.ask);
  expect(dns.asked()).toBe(2);

  const answers = createAnswers<string>(60_000);
  const away = server(async () => Promise.reject(new Error('ESERVFAIL')));
  for (let i = 0; i < 2; i += 1) await expect(answers('TXT b', away.ask)).rejects.toThrow('ESERVFAIL');
  expect(away.asked()).toBe(2);
  const large = server(async () => ['x'.repeat(60_000)]);
  await answers('TXT c', large.ask);
  await answers('TXT c', large.ask);
  expect(large.asked()).toBe(2);
});

it('forgets the oldest where strangers ask for thousands of names', async () => {
  const answers = createAnswers<string>(60_000);
  const dns = server(async () => ['a']);
  for (let i = 0; i <= 1_000; i += 1) await answers(`TXT ${i}`, dns.ask);
  await answers('TXT 1000', dns.ask);
  expect(dns.asked()).toBe(1_001);
  await answers('TXT 0', dns.ask);
  expect(dns.asked()).toBe(1_002);
});
