import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentProgress } from '../../cli/progress.mjs';
import { claimDatabase } from '../../cli/temporal/program.ts';
import { provideTemporal } from '../../cli/temporal/provide.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-temporal-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program that says about itself what the Temporal CLI says. */
function program(path: string, server: string): string {
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho 'temporal version 9.9.9 (Server ${server}, UI 2.42.1)'\n`);
  chmodSync(path, 0o755);
  return path;
}

const nowhere = 'http://127.0.0.1:1/cli/default';
/** No Go, no Temporal, but the tools that a system has. */
const barePath = { PATH: '' };

async function serve(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

describe('where the Temporal program comes from', () => {
  const provide = (environment: NodeJS.ProcessEnv, more: { preferServer?: string; downloadUrl?: string } = {}) =>
    provideTemporal({
      environment,
      cache: join(folder, 'cache'),
      progress: silentProgress,
      downloadUrl: nowhere,
      ...more,
    });

  it('takes TEMPORAL_CLI before the PATH, and the PATH before the cache', async () => {
    const named = program(join(folder, 'named/temporal'), '1.1.0');
    program(join(folder, 'bin/temporal'), '1.2.0');
    program(join(folder, 'cache/v1/temporal'), '1.3.0');
    const PATH = join(folder, 'bin');
    expect((await provide({ PATH, TEMPORAL_CLI: named })).serverVersion).toBe('1.1.0');
    expect((await provide({ PATH })).serverVersion).toBe('1.2.0');
    expect((await provide(barePath)).serverVersion).toBe('1.3.0');
  });

  it('refuses a TEMPORAL_CLI that is something else, and does not quietly take another', async () => {
    program(join(folder, 'cache/v1/temporal'), '1.3.0');
    await expect(provide({ ...barePath, TEMPORAL_CLI: '/bin/true' })).rejects.toMatchObject({
      code: 'temporal.unusable',
    });
    await expect(provide({ ...barePath, TEMPORAL_CLI: join(folder, 'absent') })).rejects.toMatchObject({
      code: 'temporal.unusable',
    });
  });

  it('prefers the cached program that made the database, and passes over a broken one', async () => {
    program(join(folder, 'cache/a/temporal'), '1.3.0');
    program(join(folder, 'cache/b/temporal'), '1.4.0');
    mkdirSync(join(folder, 'cache/0'));
    writeFileSync(join(folder, 'cache/0/temporal'), 'half a download');
    expect((await provide(barePath, { preferServer: '1.4.0' })).serverVersion).toBe('1.4.0');
    expect((await provide(barePath, { preferServer: '1.9.0' })).serverVersion).toBe('1.3.0');
  });

  it('downloads what the SDK would, when there is a network, and keeps it in the cache', async () => {
    program(join(folder, 'archive/temporal'), '1.5.0');
    execFileSync('tar', ['-czf', 'temporal.tar.gz', 'temporal'], { cwd: join(folder, 'archive') });
    const asked: string[] = [];
    const site = await serve((request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.startsWith('/cli/default'))
        response.end(JSON.stringify({ archiveUrl: `${site.url}/temporal.tar.gz`, fileToExtract: 'temporal' }));
      else response.end(readFileSync(join(folder, 'archive/temporal.tar.gz')));
    });
    try {
      // The system's tar is still needed.
      const found = await provide(barePath, { downloadUrl: `${site.url}/cli/default` });
      expect(found.serverVersion).toBe('1.5.0');
      expect((await provide(barePath, { downloadUrl: `${site.url}/cli/default` })).path).toBe(found.path);
      expect(asked).toHaveLength(2);
      const query = new URLSearchParams(asked[0]?.split('?')[1]);
      expect([query.get('sdk-name'), query.get('format'), query.get('platform')]).toEqual([
        'sdk-typescript',
        'tar.gz',
        process.platform,
      ]);
      expect(readdirSync(join(folder, 'cache')).filter((name) => name.endsWith('.part'))).toEqual([]);
    } finally {
      site.close();
    }
  });

  it('says every way out when none of them works', async () => {
    const withBrokenGo = { PATH: join(folder, 'bin') };
    mkdirSync(join(folder, 'bin'));
    writeFileSync(join(folder, 'bin/go'), '#!/bin/sh\necho "dial tcp: no route to host" >&2\nexit 1\n', {
      mode: 0o755,
    });
    const error = (await provide(withBrokenGo).catch((thrown: unknown) => thrown)) as Error & {
      code: string;
      fix: string;
    };
    expect(error.code).toBe('temporal.missing');
    expect(error.message).toContain('no route to host');
    for (const way of ['TEMPORAL_CLI', 'TEMPORAL_ADDRESS', 'https://go.dev', 'docs.temporal.io/cli'])
      expect(error.fix).toContain(way);
    expect(readdirSync(join(folder, 'cache')).filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});

describe("the Temporal server's database file", () => {
  it('is refused to another server version, which would not migrate it', () => {
    const database = join(folder, 'temporal.sqlite');
    claimDatabase(database, { path: 'temporal', serverVersion: '1.29.1' });
    writeFileSync(database, '');
    claimDatabase(database, { path: 'temporal', serverVersion: '1.29.1' });
    expect(() => claimDatabase(database, { path: 'temporal', serverVersion: '1.30.0' })).toThrowError(
      expect.objectContaining({ code: 'temporal.version' }) as Error,
    );
  });

  it('may be made anew by another version once it is gone', () => {
    const database = join(folder, 'temporal.sqlite');
    claimDatabase(database, { path: 'temporal', serverVersion: '1.29.1' });
    claimDatabase(database, { path: 'temporal', serverVersion: '1.30.0' });
  });
});
