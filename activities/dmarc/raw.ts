/** The raw bytes of reports, as they came: kept by month and by content, so that they can be read anew with a better parser. */
import type { Readable } from 'node:stream';
import type { BlobRef, BlobStore } from '../../stores/blobs/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import type { Dependencies } from '../dependencies.ts';

/** ms that bytes lie here without being a report or in quarantine: longer than any ingestion that waits for a store. */
const UNSETTLED = 30 * 86_400_000;

/** `dmarc/YYYY/MM`, in UTC. */
export const rawPrefix = (receivedAt: string): string => `dmarc/${receivedAt.slice(0, 4)}/${receivedAt.slice(5, 7)}`;

/**
 * Stores the bytes and owns them for the act, until they are published or refused, or a month is over.
 * @param act whoever does it again owns the same
 * @throws PermanentError `blob.too_large`; TemporaryError `blob.unavailable`
 */
export async function storeRaw(
  source: AsyncIterable<Uint8Array>,
  { receivedAt, act, maxBytes }: { receivedAt: string; act: string; maxBytes: number },
  { blobs, records }: Pick<Dependencies, 'blobs' | 'records'>,
): Promise<BlobRef> {
  const ref = await blobs.write(source, { prefix: rawPrefix(receivedAt), maxBytes });
  const until = new Date(Date.now() + UNSETTLED).toISOString();
  await keepBlob({ blobs, records }, ref, `dmarc-act:${act}`, until);
  return ref;
}

export const asBytes = (readable: Readable): AsyncIterable<Uint8Array> => readable as AsyncIterable<Uint8Array>;

/**
 * The first bytes of what is stored, as many as there are.
 * @throws PermanentError `blob.missing`; TemporaryError `blob.unavailable`
 */
export async function headOf(blobs: BlobStore, key: string, most: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  const stream = await blobs.read(key);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= most) break;
    }
  } finally {
    stream.destroy();
  }
  return Buffer.concat(chunks);
}
