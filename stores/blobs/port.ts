/** The port every blob driver implements. Mail, pages and model answers live here and travel as a `BlobRef`. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';

/** A reference to stored bytes: small enough for any workflow input. */
export interface BlobRef {
  /** `<prefix>/<sha256>`: the same bytes under the same prefix are stored once. */
  key: string;
  /** Lower-case hex SHA-256 of the bytes. */
  sha256: string;
  /** Bytes. */
  size: number;
}

export interface BlobStore {
  /**
   * Stores a stream and answers only when the bytes would survive a power cut, unless `durable` is false: then a crash
   * of this process is what they survive for certain.
   * @throws PermanentError `blob.too_large` when more than `maxBytes` arrive; nothing is kept then.
   * @throws TemporaryError `blob.unavailable` when the store cannot be written (full, read-only, away).
   * An error thrown by `source` itself passes through unchanged, and nothing is kept.
   */
  write(
    source: AsyncIterable<Uint8Array>,
    options: { prefix: string; maxBytes: number; durable?: boolean },
  ): Promise<BlobRef>;
  /**
   * Opens a blob for reading.
   * @param from bytes that are left out at its beginning; at its end or after it nothing is read
   * @throws PermanentError `blob.missing`; TemporaryError `blob.unavailable`.
   */
  read(key: string, from?: number): Promise<Readable>;
  /** Size in bytes, or undefined when there is no such blob. */
  size(key: string): Promise<number | undefined>;
  /** Removes a blob; removing what is not there is no error. */
  remove(key: string): Promise<void>;
  /** Every blob, for the sweep. */
  list(): AsyncIterable<{ key: string; size: number; modifiedAt: Date }>;
  /** Writes and removes a small probe; throws `blob.unavailable` when the store cannot be written. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** The reference that bytes in memory have once they are stored. */
export function blobRefOf(bytes: Uint8Array, prefix: string): BlobRef {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { key: `${prefix}/${sha256}`, sha256, size: bytes.byteLength };
}
