/**
 * n8n in the cache: a folder of its own outside every checkout, one pinned version, made once.
 *
 * Its install scripts are left out and two packages built after: a plain install fails where one of its many
 * prebuilt binaries cannot be downloaded, and of those only these two are needed.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { cacheFolder } from '../../stores/configuration/cache.mjs';
import { findNpm, runNpm } from '../npm.mjs';
import type { Progress, ProgressStep } from '../progress.mjs';
import { waitForLock } from '../up/lock.ts';

/** Later ones need more than a new number: the set-up reads n8n's own tables. */
export const N8N_VERSION = '2.40.5';

export interface EditorProgram {
  version: string;
  /** Folder with n8n's `node_modules`. */
  folder: string;
  /** The script that node runs. */
  script: string;
}

export interface EditorSources {
  /** Default: the folder `n8n` in the cache. */
  cache?: string;
  progress: Progress;
  /** Ends an install that is under way. */
  signal?: AbortSignal | undefined;
  npm?: string;
}

/** Packages whose install script brings what they need at run time. */
const BUILT = ['sqlite3', 'isolated-vm'];
/** What it takes on the disk, and npm's own cache of it (measured: 2.8 GB and 0.6 GB), with some air. */
const NEEDED_BYTES = 4_000_000_000;
/** Packages of this version, for the progress line. */
const PACKAGES = 2_350;

/** The n8n that the cache holds, or undefined. */
export function findEditor(cache: string = join(cacheFolder(), 'n8n')): EditorProgram | undefined {
  const folder = join(cache, N8N_VERSION);
  const script = join(folder, 'node_modules', 'n8n', 'bin', 'n8n');
  return existsSync(script) ? { version: N8N_VERSION, folder, script } : undefined;
}

/**
 * Finds n8n in the cache or installs it there. Two at once wait for each other.
 * @throws PermanentError `editor.no_space`, `editor.install_failed`; half an install is never left as a whole one
 */
export async function provideEditor(sources: EditorSources): Promise<EditorProgram> {
  const cache = sources.cache ?? join(cacheFolder(), 'n8n');
  const found = findEditor(cache);
  if (found) return found;

  mkdirSync(cache, { recursive: true });
  let waiting: ProgressStep | undefined;
  const lock = await waitForLock(join(cache, 'lock.sqlite'), () => {
    waiting = sources.progress.step('Another process installs the editor');
  });
  waiting?.done();
  try {
    return findEditor(cache) ?? (await install(cache, sources));
  } finally {
    lock.release();
  }
}

async function install(cache: string, sources: EditorSources): Promise<EditorProgram> {
  // Under the lock nobody works on them any more: an earlier install was killed.
  for (const name of readdirSync(cache).filter((one) => one.endsWith('.part')))
    rmSync(join(cache, name), { recursive: true, force: true });
  await demandSpace(cache);

  const step = sources.progress.step(`Installing the editor, n8n ${N8N_VERSION} (about four minutes, once)`);
  const half = join(cache, `${N8N_VERSION}.${process.pid}.part`);
  try {
    mkdirSync(half);
    // Without a package.json npm looks for one in the folders above.
    writeFileSync(join(half, 'package.json'), `${JSON.stringify({ name: 'switchyard-editor', private: true })}\n`);
    const npm = (args: string[], onLine: (line: string) => void) =>
      runNpm({ npm: sources.npm ?? findNpm(), args, cwd: half, onLine, signal: sources.signal });
    const fetched = new Set<string>();
    await npm(
      [
        'install',
        `n8n@${N8N_VERSION}`,
        '--save-exact',
        '--ignore-scripts',
        '--omit=dev',
        '--no-audit',
        '--no-fund',
        '--loglevel=http',
      ],
      (line) => {
        // One from the network and one from npm's cache are told alike, and some are told twice.
        const archive = /\/-\/(\S+)\.tgz/.exec(line)?.[1];
        if (!archive) return;
        fetched.add(archive);
        step.detail(`${fetched.size} of about ${PACKAGES} packages`);
      },
    );
    step.detail(`building ${BUILT.join(' and ')}`);
    await npm(['rebuild', ...BUILT], () => undefined);
    demandVersion(half);
    const whole = join(cache, N8N_VERSION);
    rmSync(whole, { recursive: true, force: true });
    renameSync(half, whole);
  } catch (error) {
    step.fail();
    sources.signal?.throwIfAborted();
    throw installFailed(error);
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  step.done(`Installing the editor, n8n ${N8N_VERSION}`);
  const installed = findEditor(cache);
  if (!installed) throw installFailed(new Error('npm brought no n8n'));
  return installed;
}

async function demandSpace(cache: string): Promise<void> {
  const { bavail, bsize } = await statfs(cache);
  const free = bavail * bsize;
  if (free >= NEEDED_BYTES) return;
  throw new PermanentError({
    code: 'editor.no_space',
    message: `The editor needs ${gigabytes(NEEDED_BYTES)} GB, and ${cache} has ${gigabytes(free)} GB free.`,
    fix: 'Free some space, or name a folder on another disk in SWITCHYARD_CACHE; --no-editor starts without it.',
    details: { free, needed: NEEDED_BYTES },
  });
}

function demandVersion(folder: string): void {
  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules', 'n8n', 'package.json'), 'utf8')) as {
    version: string;
  };
  if (version !== N8N_VERSION) throw new Error(`npm brought n8n ${version}`);
}

function installFailed(cause: unknown): PermanentError {
  return new PermanentError({
    code: 'editor.install_failed',
    message: `The editor (n8n ${N8N_VERSION}) could not be installed: ${messageOf(cause)}`,
    fix: 'Check the network or the npm registry setting; where sqlite3 must be compiled, install a C++ compiler, make and python3. Then: switchyard editor install',
    cause,
  });
}

function gigabytes(bytes: number): string {
  return (bytes / 1_000_000_000).toFixed(1);
}
