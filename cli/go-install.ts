/** A program built with Go from the module proxy, once, into a cache folder. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

export interface GoBuild {
  go: string;
  /** Path of the program's package. */
  module: string;
  version: string;
  /** The program goes to `<cache>/<version>/`, whole or not at all. */
  cache: string;
  environment: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
  /** Is told each package as it is compiled. */
  onLine?: (line: string) => void;
}

/**
 * Returns the folder with the program.
 * @throws Error with the last line that Go said
 */
export async function goInstall({ go, module, version, cache, environment, signal, onLine }: GoBuild): Promise<string> {
  const folder = join(cache, version);
  const half = `${folder}.${process.pid}.part`;
  try {
    mkdirSync(half, { recursive: true });
    const env = { ...environment, GOBIN: half, GOFLAGS: '' };
    await run(go, ['install', '-v', `${module}@${version}`], { env, signal }, onLine ?? (() => undefined));
    rmSync(folder, { recursive: true, force: true });
    renameSync(half, folder);
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  return folder;
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

/** The program `go`, or undefined where it is absent. */
export function findGo(environment: NodeJS.ProcessEnv): string | undefined {
  // The installer's own folder is often not on the PATH of services and of CI.
  return findOnPath('go', environment) ?? ['/usr/local/go/bin/go'].find((path) => existsSync(path));
}

export function findOnPath(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  return (environment.PATH ?? '')
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}
