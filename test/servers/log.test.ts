import { spawnSync } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const LOG = join(import.meta.dirname, '../../servers/log.ts');

it('a process outlives a full disk under its log', (context) => {
  if (!existsSync('/dev/full')) {
    console.log('skipped: /dev/full is of Linux');
    return context.skip();
  }
  const script = `
    const { createLog } = await import(${JSON.stringify(LOG)});
    const log = createLog('test');
    for (let i = 0; i < 20_000; i += 1) log.error({ i }, 'a line that has no room, and is long enough to be noticed');
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.stdout.write(String(process.memoryUsage().heapUsed < 100_000_000));`;
  const full = openSync('/dev/full', 'w');
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', full],
    encoding: 'utf8',
  });
  expect([status, stdout]).toEqual([0, 'true']);
});
