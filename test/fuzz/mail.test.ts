/** The short form of `npm run fuzz:mail`: what was found once, and the same few hundred inputs in every run. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fuzz } from './mail/fuzz.ts';
import { openSessionTargets, type SessionTargets } from './mail/sessions.ts';
import { reader, srs, type Target } from './mail/targets.ts';

const FIRST = 1;

describe('nothing breaks', () => {
  it.each<[string, Target]>([
    ['the reader of messages', reader],
    ['the SRS decoder', srs],
  ])('%s', { timeout: 120_000 }, async (_what, target) => {
    expect(await fuzz(target, FIRST, { count: 3_000 })).toBe(target.seeds.length + 3_000);
  });
});

describe('a session', () => {
  let sessions: SessionTargets;
  beforeAll(async () => {
    sessions = await openSessionTargets();
  });
  afterAll(() => sessions?.close());

  it('answers, ends, and leaves a record for every 250, whatever the client sends', { timeout: 180_000 }, async () => {
    for (const target of sessions.targets)
      expect(await fuzz(target, FIRST, { count: 150 }, 16)).toBe(target.seeds.length + 150);
    await sessions.finish();
  });
});
