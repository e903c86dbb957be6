/**
 * Where the Temporal program comes from, in order: TEMPORAL_CLI; `temporal` on the PATH; what an earlier start put
 * into the cache; the download that the SDK makes; a pinned build with Go. (TEMPORAL_ADDRESS, a server that runs
 * already, needs no program at all: see cli/up/installation.ts.)
 */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { cacheFolder } from '../../stores/configuration/cache.mjs';
import { findGo, findOnPath } from '../go-install.ts';
import type { Progress, ProgressStep } from '../progress.mjs';
import { waitForLock } from '../up/lock.ts';
import { buildTemporal } from './build.ts';
import { downloadTemporal } from './download.ts';
import { inspectTemporal, type TemporalProgram } from './program.ts';

export interface TemporalSources {
  environment?: NodeJS.ProcessEnv;
  /** Default: the folder `temporal` in the cache. */
  cache?: string;
  progress: Progress;
  /** Ends a download or build that is under way. */
  signal?: AbortSignal | undefined;
  /** Server version that an existing database file needs; a cached program of that version goes first. */
  preferServer?: string | undefined;
  /** Where the SDK's download is asked for. */
  downloadUrl?: string;
}

/**
 * Finds or makes a Temporal program. Two at once wait for each other.
 * @throws PermanentError `temporal.missing`, with every way out
 */
export async function provideTemporal(sources: TemporalSources): Promise<TemporalProgram> {
  const environment = sources.environment ?? process.env;
  if (environment.TEMPORAL_CLI) return inspectTemporal(environment.TEMPORAL_CLI);
  const onPath = findOnPath('temporal', environment);
  if (onPath) return inspectTemporal(onPath);

  const cache = sources.cache ?? join(cacheFolder(), 'temporal');
  const cached = await findCached(cache, sources.preferServer);
  if (cached) return cached;

  mkdirSync(cache, { recursive: true });
  let waiting: ProgressStep | undefined;
  const lock = await waitForLock(join(cache, 'lock.sqlite'), () => {
    waiting = sources.progress.step('Another process gets the Temporal server ready');
  });
  waiting?.done();
  try {
    return (await findCached(cache, sources.preferServer)) ?? (await makeProgram(cache, environment, sources));
  } finally {
    lock.release();
  }
}

async function makeProgram(
  cache: string,
  environment: NodeJS.ProcessEnv,
  sources: TemporalSources,
): Promise<TemporalProgram> {
  const failures: string[] = [];
  for (const [way, make] of [
    [
      'download',
      () => downloadTemporal({ cache, progress: sources.progress, url: sources.downloadUrl, signal: sources.signal }),
    ],
    [
      'build with Go',
      () =>
        buildTemporal({
          cache,
          progress: sources.progress,
          go: findGo(environment),
          environment,
          signal: sources.signal,
        }),
    ],
  ] as const) {
    try {
      return await inspectTemporal(await make());
    } catch (error) {
      sources.signal?.throwIfAborted();
      failures.push(`${way}: ${messageOf(error)}`);
    }
  }
  throw new PermanentError({
    code: 'temporal.missing',
    message: `There is no Temporal server to start (${failures.join('; ')}).`,
    fix: [
      'One of these helps:',
      'install the Temporal CLI (https://docs.temporal.io/cli) so that `temporal` is on the PATH, or name it in TEMPORAL_CLI;',
      'set TEMPORAL_ADDRESS=host:port to use a server that runs already;',
      'install Go (https://go.dev) and start again: it is then built, in about three minutes.',
    ].join('\n    '),
  });
}

/** The cached program whose server is the preferred one, else any. */
async function findCached(cache: string, preferServer: string | undefined): Promise<TemporalProgram | undefined> {
  if (!existsSync(cache)) return undefined;
  const paths = readdirSync(cache)
    .filter((name) => !name.endsWith('.part'))
    .map((name) => join(cache, name, 'temporal'))
    .filter((path) => existsSync(path));
  const programs: TemporalProgram[] = [];
  for (const path of paths) {
    // A broken file in the cache is passed over and made anew.
    await inspectTemporal(path).then(
      (program) => programs.push(program),
      () => undefined,
    );
  }
  return programs.find((program) => program.serverVersion === preferServer) ?? programs[0];
}
