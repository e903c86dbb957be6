/** Installs parsedmarc, the peer of the DMARC tests, once, into the cache: `node test/support/parsedmarc-install.ts`. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createProgress } from '../../cli/progress.mjs';
import { waitForLock } from '../../cli/up/lock.ts';
import { cacheFolder } from '../../stores/configuration/cache.mjs';

const VERSION = '11.1.0';
const FOLDER = join(cacheFolder(), 'parsedmarc', VERSION);
/** Written last: a folder without it is what an interrupted installation left. */
const DONE = join(FOLDER, 'done');
/** A Python that has it, once it is installed. */
export const PARSEDMARC_PYTHON = join(FOLDER, 'bin', 'python');
export const hasParsedmarc = existsSync(DONE);

/** @throws Error with what Python or pip said */
export async function installParsedmarc(): Promise<void> {
  if (existsSync(DONE)) return;
  mkdirSync(dirname(FOLDER), { recursive: true });
  const lock = await waitForLock(join(dirname(FOLDER), 'lock.sqlite'));
  try {
    if (existsSync(DONE)) return;
    const step = createProgress().step('Installing parsedmarc for the tests of DMARC reports (about a minute, once)');
    rmSync(FOLDER, { recursive: true, force: true });
    run('python3', ['-m', 'venv', FOLDER]);
    run(PARSEDMARC_PYTHON, [
      '-m',
      'pip',
      'install',
      '--quiet',
      '--disable-pip-version-check',
      `parsedmarc==${VERSION}`,
    ]);
    writeFileSync(`${DONE}.new`, '');
    renameSync(`${DONE}.new`, DONE);
    step.done();
  } finally {
    lock.release();
  }
}

function run(command: string, args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')}: ${error?.message ?? stderr.trim()}`);
}

if (import.meta.main) await installParsedmarc();
