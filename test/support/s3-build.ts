/** Builds the S3 server of the tests, once, into the cache: `node test/support/s3-build.ts`. Needs Go. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findGo, goInstall } from '../../cli/go-install.ts';
import { createProgress } from '../../cli/progress.mjs';
import { waitForLock } from '../../cli/up/lock.ts';
import { cacheFolder } from '../../stores/configuration/cache.mjs';

const VERSION = 'v1.8.0';
/** Where it is, once it is built. */
export const S3_SERVER = join(cacheFolder(), 'versitygw', VERSION, 'versitygw');

/** @throws Error without Go, or with the last line that Go said */
export async function buildS3Server(): Promise<void> {
  if (existsSync(S3_SERVER)) return;
  const cache = dirname(dirname(S3_SERVER));
  mkdirSync(cache, { recursive: true });
  const lock = await waitForLock(join(cache, 'lock.sqlite'));
  try {
    if (existsSync(S3_SERVER)) return;
    const go = findGo(process.env);
    if (!go) throw new Error('Go is not installed (https://go.dev), and the S3 server of the tests is built with it');
    const step = createProgress().step('Building an S3 server for the tests with Go (about three minutes, once)');
    const module = 'github.com/versity/versitygw/cmd/versitygw';
    const onLine = (line: string) => step.detail(line);
    await goInstall({ go, module, version: VERSION, cache, environment: process.env, onLine });
    step.done();
  } finally {
    lock.release();
  }
}

if (import.meta.main) await buildS3Server();
