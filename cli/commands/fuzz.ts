/** `switchyard fuzz mail`: the mail path against inputs that nobody would send; see test/fuzz/mail/run.ts. */
import { runScript } from '../tool.ts';
import { UsageError } from '../usage.ts';

export const summary = 'Try what breaks the mail path: switchyard fuzz mail [--seconds N] [--seed N]';

export async function run([name, ...args]: string[]): Promise<number> {
  if (name !== 'mail') throw new UsageError('There is one target: switchyard fuzz mail [--seconds N] [--seed N]');
  return runScript('test/fuzz/mail/run.ts', args);
}
