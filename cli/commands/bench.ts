/** `switchyard bench mail`: measure beside the peers; see bench/mail/run.ts. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../usage.ts';

export const summary = 'Measure beside the peers: switchyard bench mail [--quick]';

export async function run([name = '', ...args]: string[]): Promise<number> {
  const script = join(dirname(dirname(import.meta.dirname)), 'bench', name, 'run.ts');
  if (!/^[a-z]+$/.test(name) || !existsSync(script)) throw new UsageError('There is one bench: switchyard bench mail');
  const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit' });
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}
