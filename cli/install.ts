/**
 * Set-up of a checkout: installs exactly what package-lock.json says when node_modules is missing, half made or of
 * another lock file. Loaded before anything is installed, so it imports nothing from node_modules.
 */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PermanentError, messageOf } from '../protocols/errors.ts';
import { cacheFolder } from '../stores/configuration/cache.mjs';
import { findNpm, runNpm } from './npm.mjs';
import { createProgress, type ProgressStep } from './progress.mjs';
import { waitForLock } from './up/lock.ts';

/** Holds the hash of the lock file that node_modules was made from; written last, so that half an install is seen. */
const MARK = '.switchyard-lock';

/**
 * Makes `node_modules` fit `package-lock.json`. Two at once wait for each other.
 * @param root folder of the checkout
 * @throws PermanentError `install.failed`
 */
export async function installPackages(root: string): Promise<void> {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const mark = join(root, 'node_modules', MARK);
  const isInstalled = () => existsSync(mark) && readFileSync(mark, 'utf8').trim() === wanted;
  if (!isInstalled() && isInstalledByHand(root)) writeFileSync(mark, `${wanted}\n`);
  if (!isInstalled()) {
    const locks = join(cacheFolder(), 'locks');
    mkdirSync(locks, { recursive: true });
    let waiting: ProgressStep | undefined;
    const name = `install-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.sqlite`;
    const lock = await waitForLock(join(locks, name), () => {
      waiting = createProgress().step('Another process installs the packages');
    });
    waiting?.done();
    try {
      if (!isInstalled()) await install(root, mark, wanted);
    } finally {
      lock.release();
    }
  }
  linkCommand(root);
}

/** The part of a lock file that is read here. */
interface LockFile {
  packages: Record<string, { version?: string; integrity?: string; optional?: boolean }>;
}

/**
 * Whether someone's own `npm install` or `npm ci` has done it. npm writes down what it installed, as its last act;
 * packages for other platforms are in the lock file only.
 */
function isInstalledByHand(root: string): boolean {
  const note = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(note)) return false;
  const installed = (JSON.parse(readFileSync(note, 'utf8')) as LockFile).packages;
  const { '': _root, ...wanted } = (JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile)
    .packages;
  return (
    Object.keys(installed).every((path) => path in wanted) &&
    Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
      const one = installed[path];
      return one ? one.version === version && one.integrity === integrity : optional === true;
    })
  );
}

async function install(root: string, mark: string, wanted: string): Promise<void> {
  const step = createProgress().step('Installing packages (about a minute, once)');
  try {
    rmSync(mark, { force: true });
    await runNpm({
      npm: findNpm(),
      args: ['ci', '--no-audit', '--no-fund'],
      cwd: root,
      onLine: (line) => step.detail(line),
    });
    writeFileSync(mark, `${wanted}\n`);
  } catch (error) {
    step.fail();
    throw new PermanentError({
      code: 'install.failed',
      message: `The packages could not be installed: ${messageOf(error)}`,
      fix: 'Check the network or the npm registry setting, then type the same command again: it goes on from here.',
      cause: error,
    });
  }
  step.done('Installing packages');
}

/** The root package is the n8n pack and has no `bin`; this link makes `npx switchyard` work in a checkout all the same. */
function linkCommand(root: string): void {
  const link = join(root, 'node_modules', '.bin', 'switchyard');
  if (lstatSync(link, { throwIfNoEntry: false })) return;
  try {
    mkdirSync(join(root, 'node_modules', '.bin'), { recursive: true });
    symlinkSync('../../cli/launch.mjs', link);
  } catch {
    // A read-only checkout runs all the same; only `npx switchyard` is missing then.
  }
}
