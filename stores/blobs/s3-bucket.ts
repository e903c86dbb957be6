/**
 * One bucket over the REST API of Amazon S3 (API reference 2006-03-01), with the few calls that blobs need. A request
 * that meets trouble which may pass is repeated: each of them may be.
 */
import { createReadStream } from 'node:fs';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import aws4 from 'aws4';
import { PermanentError } from '../../protocols/errors.ts';
import type { Configuration } from '../configuration/schema.ts';
import { isPassing, s3Error, troubleOf, type Trouble } from './s3-errors.ts';
import { element, readList, type Listed } from './s3-xml.ts';

export type S3Settings = NonNullable<Configuration['blobs']['s3']>;

/** What is uploaded; it may be read more than once. */
export type Upload = Buffer | { file: string; size: number };

export interface Bucket {
  /** For people: endpoint, bucket and prefix. */
  place: string;
  /** The whole object appears at once; the server refuses bytes that do not have the hash. */
  put(name: string, body: Upload, sha256: string): Promise<void>;
  /** The bytes from an offset on, or undefined where there is no such object. */
  get(name: string, offset: number): Promise<IncomingMessage | undefined>;
  size(name: string): Promise<number | undefined>;
  remove(name: string): Promise<void>;
  list(): AsyncIterable<Listed>;
  /** Ends the connections that are kept. */
  close(): void;
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
  const isTls = base.startsWith('https:');
  const agent = isTls ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });

  /** Resolves with the answer's head, or rejects. */
  const once = ({ method, path = '', query = '', body, sha256 = EMPTY, range }: S3Request, until: number) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const url = new URL(`${base}${path}${query}`);
      const headers = {
        'x-amz-content-sha256': sha256,
        ...(range !== undefined && { range }),
        ...(body && { 'content-length': sizeOf(body) }),
      };
      const target = { method, host: url.host, path: url.pathname + url.search };
      const signed = aws4.sign({ ...target, service: 's3', region: settings.region, headers }, credentials);
      const request = (isTls ? httpsRequest : httpRequest)(url, { method, agent, headers: signed.headers });
      const late = () => request.destroy(new Error('there was no answer in time'));
      const timer = setTimeout(late, Math.max(0, until - Date.now()));
      request.on('close', () => clearTimeout(timer));
      request.on('error', reject);
      request.on('response', (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      if (!body || !('file' in body)) request.end(body);
      else pipeline(createReadStream(body.file), request).catch(reject);
    });

  /** The answer, also a 404; anything else that is no success is thrown. */
  const ask = async (request: S3Request): Promise<IncomingMessage> => {
    const until = Date.now() + answerWait + ((request.body ? sizeOf(request.body) : 0) / SLOWEST) * 1_000;
    for (let tries = 1, pause = FIRST_PAUSE; ; tries += 1, pause *= 2) {
      let trouble: Trouble;
      try {
        const response = await once(request, until);
        const status = response.statusCode ?? 0;
        if (isSuccess(status) || (status === 404 && request.method === 'HEAD')) return response;
        trouble = await troubleOf(response);
        // It may be in the middle of the upload, which nobody waits for.
        if (request.body) response.destroy();
        if (trouble.code === 'NoSuchKey') return response;
      } catch (thrown) {
        trouble = { thrown, status: 0, code: '', message: '' };
      }
      if (tries >= TRIES || !isPassing(trouble) || Date.now() + pause > until)
        throw s3Error(`${request.method} ${place}`, trouble);
      await sleep(pause * (0.5 + Math.random()));
    }
  };

  return {
    place,
    async put(name, body, sha256) {
      (await ask({ method: 'PUT', path: prefix + name, body, sha256 })).resume();
    },
    async get(name, offset) {
      const range = offset > 0 ? `bytes=${offset}-` : undefined;
      const response = await ask({ method: 'GET', path: prefix + name, range });
      if (response.statusCode === 404) return undefined;
      if (offset === 0 || response.statusCode === 206) return response;
      response.destroy();
      throw s3Error(`GET ${place}`, { status: 0, code: '', message: 'it knows no ranges' });
    },
    async size(name) {
      const response = (await ask({ method: 'HEAD', path: prefix + name })).resume();
      return response.statusCode === 404 ? undefined : Number(response.headers['content-length']);
    },
    async remove(name) {
      (await ask({ method: 'DELETE', path: prefix + name })).resume();
    },
    async *list() {
      const query = new URLSearchParams({ 'list-type': '2', 'encoding-type': 'url', ...(prefix && { prefix }) });
      for (let next: string | undefined; ;) {
        if (next !== undefined) query.set('continuation-token', next);
        const page = await text(await ask({ method: 'GET', query: `?${query}` }));
        for (const one of readList(page)) yield { ...one, name: one.name.slice(prefix.length) };
        next = element(page, 'IsTruncated') === 'true' ? element(page, 'NextContinuationToken') : undefined;
        if (next === undefined) return;
      }
    },
    close: () => agent.destroy(),
  };
}

interface S3Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  path?: string;
  query?: string;
  body?: Upload;
  sha256?: string;
  range?: string | undefined;
}

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const sizeOf = (body: Upload): number => ('file' in body ? body.size : body.byteLength);

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
