/**
 * The download that the Temporal SDK makes for its tests (core-bridge, `ephemeral_server`): ask temporal.download
 * which archive fits the SDK, fetch it, take the program out. Done here so that an offline machine goes on in
 * seconds and a slow one sees progress.
 */
import { execFile } from 'node:child_process';
import { createWriteStream, mkdirSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { promisify } from 'node:util';
import type { Progress } from '../progress.mjs';

const DOWNLOAD_URL = 'https://temporal.download/cli/default';
/** An answer this late means no internet: building with Go is the next way. */
const ANSWER_TIMEOUT_MS = 4_000;
/** The archive has some 60 MB. */
const ARCHIVE_TIMEOUT_MS = 15 * 60_000;

/**
 * Downloads into the cache and returns the program's path.
 * @throws Error when the host is not reached, has nothing for this platform, or the archive is not what it says
 */
export async function downloadTemporal(options: {
  cache: string;
  progress: Progress;
  url?: string | undefined;
  signal?: AbortSignal | undefined;
}): Promise<string> {
  const { version } = createRequire(import.meta.url)('@temporalio/client/package.json') as { version: string };
  const query = new URLSearchParams({
    arch: process.arch === 'x64' ? 'amd64' : process.arch,
    platform: process.platform,
    format: 'tar.gz',
    'sdk-name': 'sdk-typescript',
    'sdk-version': version,
  });
  const answer = await get(`${options.url ?? DOWNLOAD_URL}?${query}`, ANSWER_TIMEOUT_MS, options.signal);
  const { archiveUrl, fileToExtract } = (await answer.json()) as { archiveUrl: string; fileToExtract: string };

  const step = options.progress.step('Downloading the Temporal server');
  const folder = join(options.cache, `sdk-${version}`);
  const half = `${folder}.${process.pid}.part`;
  try {
    mkdirSync(half, { recursive: true });
    const archive = await get(archiveUrl, ARCHIVE_TIMEOUT_MS, options.signal);
    const total = Number(archive.headers.get('content-length')) || undefined;
    let bytes = 0;
    await pipeline(
      Readable.fromWeb(archive.body as ReadableStream),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          bytes += chunk.length;
          step.detail(`${megabytes(bytes)}${total ? ` of ${megabytes(total)}` : ''} MB`);
          yield chunk;
        }
      },
      createWriteStream(join(half, 'archive.tar.gz')),
    );
    await promisify(execFile)('tar', ['-xzf', 'archive.tar.gz', fileToExtract], { cwd: half });
    rmSync(join(half, 'archive.tar.gz'));
    if (fileToExtract !== 'temporal') renameSync(join(half, fileToExtract), join(half, 'temporal'));
    rmSync(folder, { recursive: true, force: true });
    renameSync(half, folder);
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
  step.done();
  return join(folder, 'temporal');
}

async function get(url: string, timeout: number, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      signal: AbortSignal.any([AbortSignal.timeout(timeout), ...(signal ? [signal] : [])]),
    });
  } catch {
    throw new Error(`${new URL(url).host} was not reached`);
  }
  if (!response.ok) throw new Error(`${new URL(url).host} answered ${response.status}`);
  return response;
}

function megabytes(bytes: number): string {
  return Math.round(bytes / 1_000_000).toLocaleString('en');
}
