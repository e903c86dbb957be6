/** Files on the disk of this machine: the folder driver's blobs, and what waits for its upload to a bucket. */
import { readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, TemporaryError } from '../../protocols/errors.ts';

/** ms after which an unfinished file is of a process that died: no message takes an hour to arrive. */
const ABANDONED = 3_600_000;

/** A write may take only a part. */
export async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    offset += (await handle.write(chunk, offset)).bytesWritten;
  }
}

/** Removes files of processes that died while they wrote them. */
export async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const found = await ifPresent(stat(path));
    if (found && found.mtimeMs < Date.now() - ABANDONED) await rm(path, { force: true });
  }
}

/** System errors of a store that may work again later. EFBIG is a limit on the process (`ulimit -f`). */
const FIXES: Record<string, string> = {
  ENOSPC: 'Free some space on the disk of the blob folder.',
  EDQUOT: 'Free some space, or raise the quota of the user that Switchyard runs as.',
  EROFS: 'Mount the disk of the blob folder for writing.',
  EACCES: 'Give the user that Switchyard runs as the right to write to the blob folder.',
  EPERM: 'Give the user that Switchyard runs as the right to write to the blob folder.',
  EIO: 'Look at the disk and the system log.',
  EFBIG: 'Raise the file size limit of the process (`ulimit -f`).',
  EMFILE: 'Raise the limit of open files (`ulimit -n`).',
  ENFILE: 'Raise the limit of open files of the system.',
  ENOENT: 'The blob folder was removed: restore it, or start Switchyard again to make it anew.',
  ENOTDIR: 'A file stands where the blob folder should be: move it away.',
};

/** Runs a file operation; what the disk cannot do becomes `blob.unavailable`. */
export async function guarded<T>(folder: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (thrown) {
    const code = systemCode(thrown);
    const fix = code === undefined ? undefined : FIXES[code];
    if (fix === undefined) throw thrown;
    throw new TemporaryError({
      code: 'blob.unavailable',
      message: `The blob folder ${folder} cannot be used: ${messageOf(thrown)}`,
      fix,
      details: { system: code as string },
      cause: thrown,
    });
  }
}

/** Undefined where the file is not there. */
export async function ifPresent<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

export const systemCode = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;
