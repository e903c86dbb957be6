/**
 * One bucket over the REST API of Amazon S3 (API reference 2006-03-01), with the few calls that blobs need. A request
 * that meets trouble which may pass is repeated: each of them may be.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AwsV4Signer } from 'aws4fetch';
import { PermanentError } from '../../protocols/errors.ts';
import type { Configuration } from '../configuration/schema.ts';
import { isPassing, s3Error, troubleOf, type Trouble } from './s3-errors.ts';
import { element, readList, type Listed } from './s3-xml.ts';

export type S3Settings = NonNullable<Configuration['blobs']['s3']>;

export interface Bucket {
  /** For people: endpoint, bucket and prefix. */
  place: string;
  /** The whole object appears at once; the server refuses bytes that do not have the hash. */
  put(name: string, body: Buffer<ArrayBuffer> | Blob, sha256: string): Promise<void>;
  /** The bytes from an offset on, or undefined where there is no such object. */
  get(name: string, offset: number): Promise<Response | undefined>;
  size(name: string): Promise<number | undefined>;
  remove(name: string): Promise<void>;
  list(): AsyncIterable<Listed>;
}

/** SHA-256 of nothing. */
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
/** ms until a request is answered, and bytes a second that an upload makes at least: 25 MiB have five minutes. */
const ANSWER_WAIT = 30_000;
const SLOWEST = 100_000;
/** Tries of one request, and ms before the second; then twice as long, with jitter. */
const TRIES = 4;
const FIRST_PAUSE = 100;

/**
 * @param answerWait ms, for tests
 * @throws PermanentError `blob.credentials_missing`
 */
export function openBucket(
  settings: S3Settings,
  environment: NodeJS.ProcessEnv = process.env,
  answerWait = ANSWER_WAIT,
): Bucket {
  const credentials = credentialsOf(environment);
  const base = baseUrl(settings);
  const prefix = settings.prefix === undefined ? '' : `${settings.prefix}/`;
  const place = `${base}${prefix}`;
  const cache = new Map<string, ArrayBuffer>();

  const once = async (request: S3Request, signal: AbortSignal): Promise<Response> => {
    const { method, path = '', query = '', body, sha256 = EMPTY, headers } = request;
    const { region } = settings;
    const signed = await new AwsV4Signer({
      ...credentials,
      ...{ service: 's3', region, cache, method, url: `${base}${path}${query}` },
      headers: { 'x-amz-content-sha256': sha256, ...headers },
    }).sign();
    // Not signed: what stands between may change it, and bytes are counted as they are stored.
    signed.headers.set('accept-encoding', 'identity');
    return fetch(signed.url, { method, headers: signed.headers, body, signal, redirect: 'manual' });
  };

  /** The answer, also a 404; anything else that is no success is thrown. */
  const ask = async (request: S3Request): Promise<Response> => {
    const upload = request.body instanceof Blob ? request.body.size : (request.body?.byteLength ?? 0);
    const until = Date.now() + answerWait + (upload / SLOWEST) * 1_000;
    for (let tries = 1, pause = FIRST_PAUSE; ; tries += 1, pause *= 2) {
      let trouble: Trouble;
      const { signal, clear } = deadline(until);
      try {
        const response = await once(request, signal);
        if (response.ok || (response.status === 404 && request.method === 'HEAD')) return response;
        trouble = await troubleOf(response);
        if (trouble.code === 'NoSuchKey') return new Response(null, { status: 404 });
      } catch (thrown) {
        trouble = { thrown, status: 0, code: '', message: '' };
      } finally {
        clear();
      }
      if (tries >= TRIES || !isPassing(trouble) || Date.now() + pause > until)
        throw s3Error(`${request.method} ${place}`, trouble);
      await sleep(pause * (0.5 + Math.random()));
    }
  };

  return {
    place,
    async put(name, body, sha256) {
      const response = await ask({ method: 'PUT', path: prefix + name, body, sha256 });
      await response.body?.cancel();
    },
    async get(name, offset) {
      const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
      const response = await ask({ method: 'GET', path: prefix + name, headers });
      if (response.status === 404) return undefined;
      if (offset === 0 || response.status === 206) return response;
      await response.body?.cancel();
      throw s3Error(`GET ${place}`, { status: response.status, code: '', message: 'it knows no ranges' });
    },
    async size(name) {
      const response = await ask({ method: 'HEAD', path: prefix + name });
      return response.status === 404 ? undefined : Number(response.headers.get('content-length'));
    },
    async remove(name) {
      const response = await ask({ method: 'DELETE', path: prefix + name });
      await response.body?.cancel();
    },
    async *list() {
      const query = new URLSearchParams({ 'list-type': '2', 'encoding-type': 'url', ...(prefix && { prefix }) });
      for (let next: string | undefined; ;) {
        if (next !== undefined) query.set('continuation-token', next);
        const page = await (await ask({ method: 'GET', query: `?${query}` })).text();
        for (const one of readList(page)) yield { ...one, name: one.name.slice(prefix.length) };
        next = element(page, 'IsTruncated') === 'true' ? element(page, 'NextContinuationToken') : undefined;
        if (next === undefined) return;
      }
    },
  };
}

interface S3Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  path?: string;
  query?: string;
  body?: Buffer<ArrayBuffer> | Blob;
  sha256?: string;
  headers?: Record<string, string>;
}

/** With a slash at its end. */
function baseUrl({ endpoint, region, bucket, pathStyle }: S3Settings): string {
  const url = new URL(endpoint ?? `https://s3.${region}.amazonaws.com`);
  if (pathStyle ?? endpoint !== undefined) return `${url.origin}/${bucket}/`;
  return `${url.protocol}//${bucket}.${url.host}/`;
}

function credentialsOf(environment: NodeJS.ProcessEnv) {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
  const sessionToken = environment.AWS_SESSION_TOKEN;
  if (accessKeyId && secretAccessKey) return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
  throw new PermanentError({
    code: 'blob.credentials_missing',
    message: 'Blobs lie in a bucket, and there is no key for it.',
    fix: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN where there is one) for every process.',
  });
}

/** Ends a request that is not answered; once it is, its body may take longer. */
function deadline(until: number): { signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new DOMException('There was no answer in time', 'TimeoutError')),
    Math.max(0, until - Date.now()),
  );
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
}
