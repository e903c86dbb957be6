/**
 * Takes a stream whose hash and size are known only at its end. What is small stays in memory, the rest waits in a file
 * of this machine; nothing of it must survive the process.
 */
import { createHash, randomUUID } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { guarded, writeAll } from './disk.ts';
import { tooLarge } from './names.ts';
import type { Upload } from './s3-bucket.ts';

/** Bytes kept in memory: most mail is smaller, and 500 sessions at once need 128 MB at most. */
const IN_MEMORY = 262_144;

export interface Spooled {
  sha256: string;
  size: number;
  /** There until `remove`. */
  body: Upload;
  remove(): Promise<void>;
}

/**
 * @throws PermanentError `blob.too_large`; TemporaryError `blob.unavailable` when the folder cannot be written.
 * An error thrown by `source` passes through unchanged. Nothing is left behind then.
 */
export async function spool(source: AsyncIterable<Uint8Array>, folder: string, maxBytes: number): Promise<Spooled> {
  const hash = createHash('sha256');
  const file = join(folder, randomUUID());
  let size = 0;
  let held: Uint8Array[] = [];
  let handle: FileHandle | undefined;
  const remove = () => rm(file, { force: true });
  try {
    for await (const chunk of source) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge(maxBytes);
      hash.update(chunk);
      held.push(chunk);
      if (size <= IN_MEMORY) continue;
      handle ??= await guarded(folder, () => open(file, 'wx', 0o600));
      for (const part of held) await guarded(folder, () => writeAll(handle as FileHandle, part));
      held = [];
    }
    await handle?.close();
    const sha256 = hash.digest('hex');
    if (!handle) return { sha256, size, body: Buffer.concat(held), remove: async () => undefined };
    return { sha256, size, body: { file, size }, remove };
  } catch (thrown) {
    await handle?.close().catch(() => undefined);
    await remove().catch(() => undefined);
    throw thrown;
  }
}
