import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { inSessionFor } from '../../../servers/mail/direct-record.ts';
import { startDeliveryWait } from '../../../servers/smtp/delivery-wait.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';

const SESSION = 20_000;
const DOT = 240_000;
const configuration = Configuration.parse({});
const never = new AbortController().signal;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** ms after which the session gives up, when the attempt reaches these stages at these times. */
function givesUpAfter(stages: [at: number, name: string][], settings = configuration): number {
  const began = Date.now();
  const wait = startDeliveryWait(settings, never);
  for (const [at, name] of stages) {
    vi.advanceTimersByTime(began + at - Date.now());
    wait.stage(name);
  }
  while (!wait.signal.aborted) vi.advanceTimersToNextTimer();
  return Date.now() - began;
}

describe('a session gives up its own delivery', () => {
  it('after sessionWait, whatever stage before the final dot it has reached', () => {
    expect(givesUpAfter([])).toBe(SESSION);
    expect(
      givesUpAfter([
        [19_000, 'connect'],
        [19_500, 'data'],
      ]),
    ).toBe(SESSION);
  });

  it('after finalDotWait more, where the destination has the whole message', () => {
    expect(
      givesUpAfter([
        [500, 'data'],
        [1_000, 'final dot'],
      ]),
    ).toBe(SESSION + DOT);
    const short = Configuration.parse({ outbound: { dataTimeout: '30s' } });
    expect(givesUpAfter([[1_000, 'final dot']], short)).toBe(SESSION + 30_000);
  });

  it('at once, where a host says later after sessionWait and the way to the next one begins', () => {
    expect(
      givesUpAfter([
        [1_000, 'final dot'],
        [5_000, 'connect'],
      ]),
    ).toBe(SESSION);
    expect(
      givesUpAfter([
        [1_000, 'final dot'],
        [90_000, 'connect'],
      ]),
    ).toBe(90_000);
  });

  it('never after the time in which its record is left to it', () => {
    const dots: [number, string][] = [
      [1_000, 'final dot'],
      [9_000, 'connect'],
      [19_000, 'final dot'],
    ];
    expect(givesUpAfter(dots)).toBe(SESSION + DOT);
    expect(SESSION + DOT + configuration.mail.limits.verification).toBeLessThan(inSessionFor(configuration));
    // RFC 5321, 4.5.3.2.6 says ten minutes for the sender; some wait five.
    expect(inSessionFor(configuration)).toBeLessThan(300_000);
  });

  it('when the process ends', () => {
    const ending = new AbortController();
    const wait = startDeliveryWait(configuration, ending.signal);
    wait.stage('final dot');
    ending.abort();
    expect(wait.signal.aborted).toBe(true);
    wait.end();
    expect(vi.getTimerCount()).toBe(0);
  });
});
