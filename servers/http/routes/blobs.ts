/** Blobs up and down, as streams. */
import { Readable } from 'node:stream';
import { z } from 'zod';
import { BlobRef } from '../../../activities/schemas.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { BLOB_SIZE, UPLOAD_EXPIRY } from '../limits.ts';
import { defineRoute, type Route } from '../route.ts';

const DESCRIPTION = `The answer is the reference that steps take. The blob belongs to the token for a day; a step or run that keeps it longer says so itself. At most ${BLOB_SIZE / 1_048_576} MiB.`;
const Prefix = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'write a prefix of lower-case letters, digits and hyphens, such as uploads');
/** `<prefix>/<sha256>`: nothing else was ever a key, and nothing else reaches a path. */
const KEY = /^[\w-][\w.-]*(\/[\w-][\w.-]*)*\/[0-9a-f]{64}$/;

export const blobRoutes: readonly Route[] = [
  defineRoute({
    method: 'post',
    path: '/v1/blobs',
    group: 'Blobs',
    summary: 'Store bytes.',
    description: DESCRIPTION,
    scope: 'blobs:write',
    query: z.object({ prefix: Prefix.default('uploads').describe('First part of the key.') }),
    body: 'bytes',
    answers: { 201: { description: 'It is stored, and would survive a power cut.', body: BlobRef } },
    errors: ['blob.too_large', 'blob.unavailable'],
    async handle({ context: { dependencies }, http, token, query }) {
      const source = (http.req.raw.body ?? Readable.from([])) as AsyncIterable<Uint8Array>;
      const ref = await dependencies.blobs.write(source, { prefix: query.prefix, maxBytes: BLOB_SIZE });
      const expiresAt = new Date(Date.now() + UPLOAD_EXPIRY).toISOString();
      await dependencies.records.blobOwners.own(ref, `token:${token.id}`, expiresAt);
      return http.json(ref, 201);
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/blobs/{key...}',
    group: 'Blobs',
    summary: 'Read a blob. HEAD answers its size.',
    parameters: { key: 'The key of the reference, slashes as they are.' },
    scope: 'blobs:read',
    answers: { 200: { description: 'The bytes.', body: 'bytes' } },
    errors: ['blob.missing', 'blob.unavailable'],
    async handle({ context: { dependencies }, http, path }) {
      return sendBlob(
        dependencies.blobs,
        path.key ?? '',
        `${(path.key ?? '').split('/').at(-1)}.bin`,
        http.req.method === 'HEAD',
      );
    },
  }),
];

/** A blob as a download that no browser will run or show. */
export async function sendBlob(
  blobs: { size(key: string): Promise<number | undefined>; read(key: string): Promise<Readable> },
  key: string,
  filename: string,
  headOnly: boolean,
): Promise<Response> {
  const size = KEY.test(key) ? await blobs.size(key) : undefined;
  if (size === undefined)
    throw new PermanentError({
      code: 'blob.missing',
      message: `There is no blob ${JSON.stringify(key)}.`,
      fix: 'It may have expired; store it again.',
    });
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(size),
    'content-disposition': `attachment; filename="${filename.replace(/[^\w.-]/g, '_')}"`,
    'cache-control': 'private, no-store',
  };
  return new Response(headOnly ? null : (Readable.toWeb(await blobs.read(key)) as ReadableStream<Uint8Array>), {
    headers,
  });
}
