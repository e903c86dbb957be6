/** A pinned build of the Temporal program with Go: the way that needs only the Go module proxy. */
import { spawn } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
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
  const folder = join(options.cache, VERSION);
  const half = `${folder}.${process.pid}.part`;
  try {
    mkdirSync(half, { recursive: true });
    const env = { ...options.environment, GOBIN: half, GOFLAGS: '' };
    await run(options.go, ['install', '-v', `${MODULE}@${VERSION}`], { env, signal: options.signal }, step.detail);
    rmSync(folder, { recursive: true, force: true });
    renameSync(half, folder);
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  step.done('Building the Temporal server');
  return join(folder, 'temporal');
}

/** `-v` names each package on stderr as it is compiled. */
function run(
  go: string,
  args: string[],
  options: { env: NodeJS.ProcessEnv; signal: AbortSignal | undefined },
  onLine: (line: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(go, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
    let last = '';
    createInterface({ input: child.stderr }).on('line', (line) => {
      last = line;
      onLine(line);
    });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`go install ended with ${code}: ${last}`))));
  });
}
