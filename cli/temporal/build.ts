/** A pinned build of the Temporal program with Go: the way that needs only the Go module proxy. */
import { join } from 'node:path';
import { goInstall } from '../go-install.ts';
import type { Progress } from '../progress.mjs';

/** The newest version that `go install` takes (server 1.29): later ones have a `replace` that it refuses. */
const VERSION = 'v1.5.1';
const MODULE = 'github.com/temporalio/cli/cmd/temporal';

/**
 * Builds into the cache and returns the program's path.
 * @throws Error without Go, or with the last line that Go said
 */
export async function buildTemporal(options: {
  cache: string;
  progress: Progress;
  go: string | undefined;
  environment: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
}): Promise<string> {
  if (!options.go) throw new Error('Go is not installed');
  const step = options.progress.step('Building the Temporal server with Go (about three minutes, once)');
  let folder: string;
  try {
    const { cache, go, environment, signal } = options;
    folder = await goInstall({ go, module: MODULE, version: VERSION, cache, environment, signal, onLine: step.detail });
  } catch (error) {
    step.fail();
    throw error;
  }
  step.done('Building the Temporal server');
  return join(folder, 'temporal');
}
