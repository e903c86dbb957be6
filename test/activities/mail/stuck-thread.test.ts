/** A message that gets past every limit and costs its thread a computation without end: the last line of defence. */
import { availableParallelism } from 'node:os';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openAuthenticator } from '../../../activities/mail/authenticator/threads.ts';
import type { Authenticator } from '../../../activities/mail/authenticator/port.ts';
import { openVerification, type Verification } from '../../support/verification.ts';

const DEADLINE_MS = 1_000;
const CEILING_MS = 15_000;

let verification: Verification;
let authenticator: Authenticator;
beforeAll(async () => {
  verification = await openVerification();
  const { configuration } = verification;
  const limits = { ...configuration.mail.limits, verification: DEADLINE_MS };
  authenticator = openAuthenticator({ ...configuration, mail: { ...configuration.mail, limits } });
});
afterAll(async () => {
  await authenticator?.close();
  await verification?.close();
});

it('ends the thread and defers that message, takes up the others in it once more, and goes on', async () => {
  // 128 KB in 32,000 folds cost mailauth 18 seconds in one piece (measured); the door takes no more than 1,000 lines.
  const hog = await verification.store(
    Buffer.from(`From: a@a.test\r\nX: a\r\n${' x\r\n'.repeat(32_000)}\r\nHello.\r\n`),
  );
  const good = await verification.store(Buffer.from('From: a@a.test\r\n\r\nHello.\r\n'));
  const request = { sourceAddress: '192.0.2.1', helo: 'client.test', sender: 'a@a.test' };
  await authenticator.verify({ key: good, ...request });
  const began = performance.now();
  const hogs = Array.from({ length: Math.min(4, availableParallelism()) }, () =>
    authenticator.verify({ key: hog, ...request }).catch((thrown: unknown) => thrown),
  );
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const others = Array.from({ length: 5 }, () => authenticator.verify({ key: good, ...request }));
  for (const end of await Promise.all(hogs))
    expect(end).toMatchObject({ name: 'TemporaryError', code: 'mail.verification_timeout' });
  for (const found of await Promise.all(others)) expect(found.authentication.spf.result).toBe('none');
  expect(performance.now() - began).toBeLessThan(CEILING_MS);
  await expect(authenticator.verify({ key: good, ...request })).resolves.toMatchObject({ headerFrom: 'a@a.test' });
});
