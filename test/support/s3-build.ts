/** Builds the S3 server that the tests use, once, into the cache: `node test/support/s3-build.ts`. Needs Go. */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { findGo, goInstall } from '../../cli/go-install.ts';
import { createProgress } from '../../cli/progress.mjs';
import { waitForLock } from '../../cli/up/lock.ts';
import { S3_SERVER, S3_SERVER_VERSION } from './s3.ts';

if (existsSync(S3_SERVER)) process.exit(0);
const cache = dirname(dirname(S3_SERVER));
mkdirSync(cache, { recursive: true });
const lock = await waitForLock(join(cache, 'lock.sqlite'));
if (!existsSync(S3_SERVER)) {
  const go = findGo(process.env);
  if (!go) throw new Error('Go is not installed');
  const step = createProgress().step('Building an S3 server with Go (about three minutes, once)');
  const module = 'github.com/versity/versitygw/cmd/versitygw';
  await goInstall({
    go,
    module,
    version: S3_SERVER_VERSION,
    cache,
    environment: process.env,
    onLine: (line) => step.detail(line),
  });
  step.done();
}
lock.release();
