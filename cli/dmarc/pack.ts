/**
 * A file or a folder as one stream: a tar archive, in the order of the names, without owners, so that the same files make
 * the same bytes. A file at a time is open, and none is held that is large.
 */
import { open, opendir, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { messageOf } from '../../protocols/errors.ts';
import { TAR_END, tarHead, tarSpan, TAR_BLOCK } from '../../protocols/tar.ts';

export interface PackEvents {
  packed(name: string, size: number): void;
  /** It cannot be read; the others are packed. */
  skipped(path: string, why: string): void;
}

/** @throws the file system's error where the path itself cannot be read */
export async function* pack(path: string, events: PackEvents): AsyncGenerator<Uint8Array> {
  const isFolder = (await stat(path)).isDirectory();
  // Before anything is written: a folder that may not be read is an error, not an empty archive.
  if (isFolder) await (await opendir(path)).close();
  for await (const name of isFolder ? namesIn(path, '', events) : [basename(path)]) {
    const file = isFolder ? join(path, name) : path;
    yield* packFile(file, name, events);
  }
  yield TAR_END;
}

/** Names of the files below a folder. Links to folders are not followed: they may lead back. */
async function* namesIn(root: string, folder: string, events: PackEvents): AsyncGenerator<string> {
  const path = join(root, folder);
  const entries = await readdir(path, { withFileTypes: true }).catch((thrown: unknown) => {
    events.skipped(path, messageOf(thrown));
    return [];
  });
  entries.sort((one, other) => (one.name < other.name ? -1 : 1));
  const names = new Set(entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name));
  for (const entry of entries) {
    const name = folder === '' ? entry.name : `${folder}/${entry.name}`;
    // Mails that are being delivered into a Maildir: they come to its folder "new" when they are whole.
    const isUnfinished = entry.name === 'tmp' && names.has('cur') && names.has('new');
    if (entry.isDirectory()) {
      if (!isUnfinished) yield* namesIn(root, name, events);
    } else if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(join(root, name))))) yield name;
  }
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );

async function* packFile(path: string, name: string, events: PackEvents): AsyncGenerator<Uint8Array> {
  const handle = await open(path, 'r').catch((thrown: unknown) => {
    events.skipped(path, messageOf(thrown));
    return undefined;
  });
  if (!handle) return;
  try {
    const { size, mtimeMs } = await handle.stat();
    yield tarHead({ name, size, modifiedAt: Math.floor(mtimeMs / 1_000) });
    let left = size;
    // What is appended meanwhile is for the next time.
    if (size > 0)
      for await (const chunk of handle.createReadStream({ autoClose: false, end: size - 1 })) {
        left -= (chunk as Buffer).length;
        yield chunk as Buffer;
      }
    if (left > 0) throw new Error(`${path} became shorter while it was read. Try again when nobody writes to it.`);
    const padding = tarSpan(size) - TAR_BLOCK - size;
    if (padding > 0) yield Buffer.alloc(padding);
    events.packed(name, size);
  } finally {
    await handle.close();
  }
}
