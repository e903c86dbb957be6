/** Runs a development tool of node_modules on this terminal, for `switchyard test`, `lint` and `build`; and scripts, for `bench`, `fuzz` and `fault`. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);

/**
 * @param name npm package, such as `vitest`
 * @param command the name in its `bin`, where it has several
 * @param output where its standard output goes: to stderr where our own is read by a program
 * @returns the tool's exit status
 */
export function runTool(
  name: string,
  args: string[],
  command: string = name,
  output: 'stdout' | 'stderr' = 'stdout',
): Promise<number> {
  const require = createRequire(join(root, 'package.json'));
  const manifest = join(root, 'node_modules', name, 'package.json');
  const { bin } = require(manifest) as { bin: string | Record<string, string> };
  const script = join(dirname(manifest), typeof bin === 'string' ? bin : (bin[command] ?? ''));
  return runScript(script, args, output);
}

/** Runs a script of the checkout in the same way. @param script its path, from the root of the checkout or absolute */
export function runScript(script: string, args: string[], output: 'stdout' | 'stderr' = 'stdout'): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      cwd: root,
      stdio: ['inherit', output === 'stdout' ? 'inherit' : process.stderr, 'inherit'],
    });
    // The terminal sends Ctrl-C to the tool as well; a TERM comes only here.
    process.on('SIGINT', () => undefined);
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(signal ? 128 + (constants.signals[signal] ?? 0) : (code ?? 1)));
  });
}
