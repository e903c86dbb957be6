/** A real S3 server for one test file: versitygw over a folder, built by test/support/s3-build.ts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import aws4 from 'aws4';
import { freePort } from '../../cli/up/ports.ts';
import type { S3Settings } from '../../stores/blobs/s3-bucket.ts';
import { S3_SERVER } from './s3-build.ts';

export const hasS3 = existsSync(S3_SERVER);
if (!hasS3) console.log('skipped: no S3 server in the cache; node test/support/s3-build.ts makes one');

export interface S3Server {
  endpoint: string;
  pid(): number;
  /** The configuration's `blobs`, for a new bucket. */
  blobs(): Promise<{ s3: S3Settings }>;
  /** Files of a bucket as the server keeps them, unfinished ones too. */
  filesOf(bucket: string): string[];
  kill(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const READY_WITHIN_MS = 30_000;
const KEYS = { AWS_ACCESS_KEY_ID: 'switchyard-test', AWS_SECRET_ACCESS_KEY: 'only-for-tests' };

/**
 * Starts one on a port of its own in a temporary folder, and sets the variables with its keys.
 * @param tls PEM of the server's certificate and key
 */
export async function startS3(tls?: { key: string; cert: string }): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-s3-'));
  const root = join(folder, 'buckets');
  const sidecar = join(folder, 'sidecar');
  for (const path of [root, sidecar]) mkdirSync(path);
  for (const [name, text] of Object.entries(tls ?? {})) writeFileSync(join(folder, name), text, { mode: 0o600 });
  const certificate = tls ? ['--cert', join(folder, 'cert'), '--key', join(folder, 'key')] : [];
  const port = await freePort(HOST);
  const endpoint = `${tls ? 'https' : 'http'}://${HOST}:${port}`;
  Object.assign(process.env, KEYS);

  let server: ChildProcess | undefined;
  const start = async () => {
    // Metadata beside the files: not every file system of a CI machine has extended attributes.
    const where = ['posix', '--sidecar', sidecar, root];
    server = spawn(S3_SERVER, ['--quiet', '--keep-alive', ...certificate, '--port', `${HOST}:${port}`, ...where], {
      env: { ...process.env, ROOT_ACCESS_KEY: KEYS.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: KEYS.AWS_SECRET_ACCESS_KEY },
      stdio: ['ignore', 'ignore', process.env.DEBUG ? 'inherit' : 'ignore'],
    });
    await untilReady(port, server);
  };
  const end = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  };
  const onExit = () => void server?.kill('SIGKILL');
  process.on('exit', onExit);
  await start();

  let count = 0;
  return {
    endpoint,
    pid: () => server?.pid ?? 0,
    async blobs() {
      const bucket = `bucket-${++count}`;
      await signedRequest(endpoint, 'PUT', `/${bucket}`);
      return { s3: { bucket, endpoint, region: 'us-east-1' } };
    },
    filesOf: (bucket) =>
      readdirSync(join(root, bucket), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name)),
    kill: end,
    start,
    async close() {
      await end();
      process.off('exit', onExit);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What another program does with the same keys. @param path as it is written in a URL */
export async function signedRequest(endpoint: string, method: string, path: string, body?: string): Promise<void> {
  const { host } = new URL(endpoint);
  const [accessKeyId, secretAccessKey] = [KEYS.AWS_ACCESS_KEY_ID, KEYS.AWS_SECRET_ACCESS_KEY];
  const signed = aws4.sign(
    { method, host, path, body, service: 's3', region: 'us-east-1' },
    { accessKeyId, secretAccessKey },
  );
  const headers = Object.entries(signed.headers ?? {}).map(([name, value]): [string, string] => [name, String(value)]);
  const response = await fetch(endpoint + path, { method, body, headers });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
}

async function untilReady(port: number, server: ChildProcess): Promise<void> {
  const { connect } = await import('node:net');
  const until = Date.now() + READY_WITHIN_MS;
  for (;;) {
    const socket = connect(port, HOST);
    try {
      await once(socket, 'connect');
      return;
    } catch (thrown) {
      if (Date.now() > until || server.exitCode !== null) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      socket.destroy();
    }
  }
}
