/**
 * Blobs in a folder. A blob is written beside its place, synced, and renamed into it, so that a name is there
 * only with all of its bytes; the names are synced too, so that it survives a power cut.
 *
 *     <folder>/.incoming/<uuid>            being written
 *     <folder>/<prefix>/<aa>/<sha256>      there; `aa` is the hash's first byte, to keep folders small
 */
import { createHash, randomUUID } from 'node:crypto';
import { linkSync, unlinkSync, writeFileSync } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { guarded, ifPresent, removeAbandoned, systemCode, writeAll } from './disk.ts';
import { checkKey, checkPrefix, isKey, missing, tooLarge } from './names.ts';
import { blobRefOf, type BlobRef, type BlobStore } from './port.ts';

const INCOMING = '.incoming';

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
    async write(source, { prefix, maxBytes, durable = true }) {
      checkPrefix(prefix);
      const temporary = join(incoming, randomUUID());
      try {
        if (!durable) return await writeInMemory(folder, temporary, source, { prefix, maxBytes });
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
    async read(key, from = 0) {
      const path = pathOf(folder, key);
      const handle = await guarded(folder, () => ifPresent(open(path, 'r')));
      if (!handle) throw missing(key);
      return handle.createReadStream({ start: from });
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

/** Systems without hard links, such as some that containers mount. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/**
 * Writes what fits into memory without a promise that it lasts: it goes to the page cache and no further. On this
 * thread, since a way to the thread pool for each call costs several times what the call does.
 */
async function writeInMemory(
  folder: string,
  temporary: string,
  source: AsyncIterable<Uint8Array>,
  { prefix, maxBytes }: { prefix: string; maxBytes: number },
): Promise<BlobRef> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  const bytes = Buffer.concat(chunks);
  const ref = blobRefOf(bytes, prefix);
  await guarded(folder, async () => {
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o600 });
    await moveUnsynced(temporary, pathOf(folder, ref.key));
  });
  return ref;
}

/** Never over a blob that is there: it may be promised to somebody. The folder is there but for the first blobs. */
async function moveUnsynced(temporary: string, path: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      linkSync(temporary, path);
      return unlinkSync(temporary);
    } catch (thrown) {
      const code = systemCode(thrown) ?? '';
      if (code === 'EEXIST') {
        const now = new Date();
        await ifPresent(utimes(path, now, now));
        return unlinkSync(temporary);
      }
      if (code === 'ENOENT' && tries === 0) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      else if (NO_LINKS.has(code)) return place(dirname(dirname(path)), temporary, path);
      else throw thrown;
    }
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
    const found = isKey(key) && (await guarded(folder, () => ifPresent(stat(path))));
    if (found) yield { key, size: found.size, modifiedAt: found.mtime };
  }
}

function pathOf(folder: string, key: string): string {
  checkKey(key);
  const cut = key.lastIndexOf('/');
  const sha256 = key.slice(cut + 1);
  return join(folder, key.slice(0, cut), sha256.slice(0, 2), sha256);
}
