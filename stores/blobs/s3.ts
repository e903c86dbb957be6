/**
 * Blobs in a bucket. The name of a blob is its hash, which is known only at the end of its stream: it is spooled and
 * then put in one request. S3 shows an object only when all of its bytes have arrived and have the hash that was
 * signed, so that a name is there only with all of its bytes; and it answers when they are safe.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { guarded, removeAbandoned } from './disk.ts';
import { checkKey, checkPrefix, isKey, missing } from './names.ts';
import type { BlobRef, BlobStore } from './port.ts';
import { openBucket, type Bucket, type S3Settings } from './s3-bucket.ts';
import { s3Error } from './s3-errors.ts';
import { spool } from './spool.ts';

/** Not a blob's name, so that no list shows it. */
const PROBE = '.check';
/** Times that a broken answer is gone on with before any more of it came. */
const RESUMES = 3;
/** ms that a part of an answer may take; the time of a slow reader does not count. */
const PART_WAIT = 30_000;
const PROBE_BODY = Buffer.from('probe');
const PROBE_SHA256 = createHash('sha256').update(PROBE_BODY).digest('hex');

/**
 * @param folder on this machine, for what is larger than memory should hold; made when it is missing
 * @throws TemporaryError `blob.unavailable` for the folder; the bucket is not asked yet
 * @throws PermanentError `blob.credentials_missing`
 */
export async function openS3Blobs(
  settings: S3Settings,
  folder: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<BlobStore> {
  const bucket = openBucket(settings, environment);
  await guarded(folder, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await removeAbandoned(folder);
  });
  return {
    async write(source, { prefix, maxBytes }) {
      checkPrefix(prefix);
      const { sha256, size, body, remove } = await spool(source, folder, maxBytes);
      try {
        const ref: BlobRef = { key: `${prefix}/${sha256}`, sha256, size };
        // Over an equal blob too: its new time keeps the sweep away from it.
        await bucket.put(ref.key, body, sha256);
        return ref;
      } finally {
        await remove().catch(() => undefined);
      }
    },
    async read(key, from = 0) {
      checkKey(key);
      // S3 answers 416 where a range begins at the end or after it.
      const size = from === 0 ? undefined : await bucket.size(key);
      if (size !== undefined && from >= size) return Readable.from([], { objectMode: false });
      const response = await bucket.get(key, from);
      if (!response) throw missing(key);
      return Readable.from(bytesOf(bucket, key, response, from), { objectMode: false });
    },
    size: async (key) => bucket.size(checkKey(key)),
    remove: async (key) => bucket.remove(checkKey(key)),
    async *list() {
      for await (const { name, size, modifiedAt } of bucket.list())
        if (isKey(name)) yield { key: name, size, modifiedAt };
    },
    async check() {
      const name = `${PROBE}/${randomUUID()}`;
      await bucket.put(name, PROBE_BODY, PROBE_SHA256);
      await bucket.remove(name);
    },
    close: async () => bucket.close(),
  };
}

/** The bytes of an object, gone on with where the connection broke: a slow reader may outlast it. */
async function* bytesOf(bucket: Bucket, key: string, first: IncomingMessage, from: number): AsyncGenerator<Buffer> {
  const size = from + Number(first.headers['content-length']);
  let parts = first[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let offset = from;
  let failures = 0;
  try {
    while (offset < size) {
      let part: Buffer | undefined;
      try {
        part = (await withinTime(parts.next())).value as Buffer | undefined;
        if (part === undefined) throw new Error(`it ended after ${offset} of ${size} bytes`);
      } catch (thrown) {
        void parts.return?.();
        failures += 1;
        if (failures > RESUMES) throw s3Error(`GET ${bucket.place}`, { status: 0, code: '', message: '', thrown });
        const again = await bucket.get(key, offset);
        if (!again) throw missing(key);
        parts = again[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
        continue;
      }
      offset += part.byteLength;
      failures = 0;
      yield part;
    }
  } finally {
    void parts.return?.();
  }
}

async function withinTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${PART_WAIT / 1_000} s`)), PART_WAIT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
