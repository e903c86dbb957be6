/** `switchyard fault mail`: the mail path while its parts are killed; see test/fault/mail/run.ts. */
import { runScript } from '../tool.ts';
import { UsageError } from '../usage.ts';

export const summary =
  'Kill parts while mail flows: switchyard fault mail [--messages N] [--lane run|direct] [--machines N]';

export async function run([name, ...args]: string[]): Promise<number> {
  if (name !== 'mail') throw new UsageError('There is one target: switchyard fault mail [--messages N] [--seed N]');
  return runScript('test/fault/mail/run.ts', args);
}
