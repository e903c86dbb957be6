/** `switchyard bench`: measure, beside the peers where there are any; see bench/<name>/run.ts. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runScript } from '../tool.ts';
import { UsageError } from '../usage.ts';

export const summary = 'Measure: switchyard bench mail | soak | dmarc | graph [--quick]';

export async function run([name = '', ...args]: string[]): Promise<number> {
  const script = join(dirname(dirname(import.meta.dirname)), 'bench', name, 'run.ts');
  if (!/^[a-z]+$/.test(name) || !existsSync(script))
    throw new UsageError('There are: switchyard bench mail, soak, dmarc, graph');
  return runScript(script, args);
}
