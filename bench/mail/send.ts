/** Runs the load client in a process of its own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LoadOptions, LoadResult } from './load.ts';

export type { LoadOptions, LoadResult };

/** Bytes of its answer. */
const ANSWER = 1_048_576;

export async function send(options: LoadOptions): Promise<LoadResult> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(import.meta.dirname, 'load.ts'), JSON.stringify(options)],
    { maxBuffer: ANSWER },
  );
  return JSON.parse(stdout) as LoadResult;
}
