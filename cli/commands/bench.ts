/** `switchyard bench mail`: measure beside the peers; see bench/mail/run.ts. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runScript } from '../tool.ts';
import { UsageError } from '../usage.ts';

export const summary = 'Measure beside the peers: switchyard bench mail [--quick]';

export async function run([name = '', ...args]: string[]): Promise<number> {
  const script = join(dirname(dirname(import.meta.dirname)), 'bench', name, 'run.ts');
  if (!/^[a-z]+$/.test(name) || !existsSync(script)) throw new UsageError('There is one bench: switchyard bench mail');
  return runScript(script, args);
}
