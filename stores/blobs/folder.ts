/**
 * Blobs in a folder. A blob is written beside its place, synced, and renamed into it, so that a name is there
 * only with all of its bytes; the names are synced too, so that it survives a power cut.
 *
 *     <folder>/.incoming/<uuid>            being written
 *     <folder>/<prefix>/<aa>/<sha256>      there; `aa` is the hash's first byte, to keep folders small
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { messageOf, PermanentError, TemporaryError } from '../../protocols/errors.ts';
import type { BlobRef, BlobStore } from './port.ts';

const INCOMING = '.incoming';
/** ms after which an unfinished file is of a process that died: no message takes an hour to arrive. */
const ABANDONED = 3_600_000;

/**
 * Opens or makes the folder and removes what dead processes left unfinished.
 * @throws TemporaryError `blob.unavailable`
 */
export async function openFolderBlobs(folder: string): Promise<BlobStore> {
  const incoming = join(folder, INCOMING);
  await guarded(folder, async () => {
    await mkdir(incoming, { recursive: true, mode: 0o700 });
    await removeAbandoned(incoming);
  });
  return {
    async write(source, { prefix, maxBytes }) {
      if (!PREFIX.test(prefix)) throw invalidKey(prefix);
      const temporary = join(incoming, randomUUID());
      try {
        const { sha256, size } = await receive(folder, temporary, source, maxBytes);
        const ref: BlobRef = { key: `${prefix}/${sha256}`, sha256, size };
        // Over an equal blob too: its new time keeps the sweep away from it.
        await guarded(folder, () => place(folder, temporary, pathOf(folder, ref.key)));
        return ref;
      } catch (thrown) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw thrown;
      }
    },
    async read(key) {
      const path = pathOf(folder, key);
      const handle = await guarded(folder, () => ifPresent(open(path, 'r')));
      if (!handle) throw missing(key);
      return handle.createReadStream();
    },
    async size(key) {
      const path = pathOf(folder, key);
      return (await guarded(folder, () => ifPresent(stat(path))))?.size;
    },
    async remove(key) {
      const path = pathOf(folder, key);
      await guarded(folder, () => rm(path, { force: true }));
    },
    list: () => walk(folder, folder),
    async check() {
      const probe = join(incoming, randomUUID());
      await guarded(folder, async () => {
        try {
          const handle = await open(probe, 'wx', 0o600);
          await handle.writeFile('probe').finally(() => handle.close());
        } finally {
          await rm(probe, { force: true });
        }
      });
    },
    close: async () => undefined,
  };
}

/** Writes the source into a new file, synced, while hashing and counting. */
async function receive(
  folder: string,
  path: string,
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ sha256: string; size: number }> {
  const handle = await guarded(folder, () => open(path, 'wx', 0o600));
  try {
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of source) {
      size += chunk.byteLength;
      if (size > maxBytes) throw tooLarge(maxBytes);
      hash.update(chunk);
      await guarded(folder, () => writeAll(handle, chunk));
    }
    await guarded(folder, () => handle.sync());
    return { sha256: hash.digest('hex'), size };
  } finally {
    await handle.close();
  }
}

/** A write may take only a part. */
async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    offset += (await handle.write(chunk, offset)).bytesWritten;
  }
}

async function place(folder: string, temporary: string, path: string): Promise<void> {
  const parent = dirname(path);
  const made = await mkdir(parent, { recursive: true, mode: 0o700 });
  await rename(temporary, path);
  await syncFolder(parent);
  // A new folder is a name in its parent, up to the first one that was there before.
  if (made === undefined) return;
  for (let up = parent; up !== folder && up.length >= made.length;) {
    up = dirname(up);
    await syncFolder(up);
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().finally(() => handle.close());
}

async function removeAbandoned(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name);
    const found = await ifPresent(stat(path));
    if (found && found.mtimeMs < Date.now() - ABANDONED) await rm(path, { force: true });
  }
}

async function* walk(folder: string, at: string): AsyncGenerator<{ key: string; size: number; modifiedAt: Date }> {
  const entries = (await guarded(folder, () => ifPresent(readdir(at, { withFileTypes: true })))) ?? [];
  for (const entry of entries) {
    const path = join(at, entry.name);
    if (entry.name.startsWith('.')) continue;
    if (entry.isDirectory()) {
      yield* walk(folder, path);
      continue;
    }
    const names = relative(folder, path).split(sep);
    names.splice(-2, 1);
    const key = names.join('/');
    const found = KEY.test(key) && (await guarded(folder, () => ifPresent(stat(path))));
    if (found) yield { key, size: found.size, modifiedAt: found.mtime };
  }
}

/** Names of letters, digits, `_`, `-` and inner dots: none can leave the folder or hide in it. */
const NAME = '[A-Za-z0-9_-][A-Za-z0-9_.-]*';
const PREFIX = new RegExp(`^${NAME}(?:/${NAME})*$`);
const KEY = new RegExp(`^${NAME}(?:/${NAME})*/[0-9a-f]{64}$`);

function pathOf(folder: string, key: string): string {
  if (!KEY.test(key)) throw invalidKey(key);
  const cut = key.lastIndexOf('/');
  const sha256 = key.slice(cut + 1);
  return join(folder, key.slice(0, cut), sha256.slice(0, 2), sha256);
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
async function guarded<T>(folder: string, operation: () => Promise<T>): Promise<T> {
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
async function ifPresent<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (thrown) {
    if (systemCode(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

const systemCode = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;

const invalidKey = (key: string): PermanentError =>
  new PermanentError({
    code: 'blob.key_invalid',
    message: `${JSON.stringify(key.slice(0, 200))} is no blob key.`,
    fix: 'Use the key of a blob reference as it was returned: prefix/sha256.',
  });

const missing = (key: string): PermanentError =>
  new PermanentError({
    code: 'blob.missing',
    message: `There is no blob ${key}.`,
    fix: 'It was removed after its time, or never stored: store it again.',
    details: { key },
  });

const tooLarge = (maxBytes: number): PermanentError =>
  new PermanentError({
    code: 'blob.too_large',
    message: `More than ${maxBytes} bytes arrived.`,
    fix: 'Send less, or raise the limit in the configuration.',
    details: { maxBytes },
  });
