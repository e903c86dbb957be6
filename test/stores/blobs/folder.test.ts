import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { openFolderBlobs } from '../../../stores/blobs/folder.ts';
import { blobContract, chunks, listed } from '../contract/blobs.ts';

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
});

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-blobs-'));
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Files below the folder, hidden ones too. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Whether the mount worked; only root may, and not in every container. */
function mount(folder: string, ...args: string[]): boolean {
  try {
    execFileSync('mount', [...args, folder], { stdio: 'ignore' });
    cleanUps.push(() => execFileSync('umount', [folder]));
    return true;
  } catch {
    return false;
  }
}
const mayMount = (() => {
  const folder = emptyFolder();
  const may = mount(folder, '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs');
  for (const cleanUp of cleanUps.splice(0).reverse()) cleanUp();
  if (!may) console.log('skipped: a full and a read-only disk are shown with mounts, which only root can make');
  return may;
})();

const options = { prefix: 'mail', maxBytes: 10_000_000 };

blobContract('a folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-blobs-'));
  const blobs = await openFolderBlobs(folder);
  return {
    blobs,
    leftovers: async () => filesIn(folder).length,
    close: async () => {
      await blobs.close();
      rmSync(folder, { recursive: true });
    },
  };
});

describe('blobs in a folder', () => {
  it.skipIf(!mayMount)(
    'answers a full disk with blob.unavailable, keeps nothing, and works again when there is room',
    async () => {
      const folder = emptyFolder();
      mount(folder, '-t', 'tmpfs', '-o', 'size=512k', 'tmpfs');
      const blobs = await openFolderBlobs(folder);
      await expect(blobs.write(chunks(Buffer.alloc(1_000_000)), options)).rejects.toMatchObject({
        name: 'TemporaryError',
        code: 'blob.unavailable',
        fix: expect.stringContaining('space'),
        details: { system: 'ENOSPC' },
      });
      expect(filesIn(folder)).toEqual([]);
      expect((await blobs.write(chunks(Buffer.alloc(100_000)), options)).size).toBe(100_000);
    },
  );

  it.skipIf(!mayMount)('answers a read-only disk with blob.unavailable and still reads', async () => {
    const folder = emptyFolder();
    mount(folder, '-t', 'tmpfs', 'tmpfs');
    const blobs = await openFolderBlobs(folder);
    const ref = await blobs.write(chunks('kept'), options);
    execFileSync('mount', ['-o', 'remount,ro', folder]);
    const refusal = { name: 'TemporaryError', code: 'blob.unavailable', details: { system: 'EROFS' } };
    await expect(blobs.write(chunks('more'), options)).rejects.toMatchObject(refusal);
    await expect(blobs.check()).rejects.toMatchObject(refusal);
    await expect(blobs.remove(ref.key)).rejects.toMatchObject(refusal);
    expect(String(await buffer(await blobs.read(ref.key)))).toBe('kept');
    execFileSync('mount', ['-o', 'remount,rw', folder]);
    await blobs.check();
  });

  it('never replaces a blob that is promised to last by one that is not', async () => {
    const folder = emptyFolder();
    const blobs = await openFolderBlobs(folder);
    const bytes = Buffer.from('the same');
    await blobs.write(chunks(bytes), options);
    const [file = ''] = filesIn(folder);
    utimesSync(file, new Date(0), new Date(0));
    const { ino } = statSync(file);
    await blobs.write(chunks(bytes), { ...options, durable: false });
    expect(filesIn(folder)).toEqual([file]);
    // The sweep goes by the time.
    expect(statSync(file)).toMatchObject({ ino, mtimeMs: expect.closeTo(Date.now(), -5) });
  });

  it('answers with blob.unavailable when a file stands in the place of the folder', async () => {
    const folder = join(emptyFolder(), 'blobs');
    writeFileSync(folder, '');
    await expect(openFolderBlobs(folder)).rejects.toMatchObject({ name: 'TemporaryError', code: 'blob.unavailable' });
  });

  it('answers with blob.unavailable when the folder goes away under it', async () => {
    const folder = join(emptyFolder(), 'blobs');
    const blobs = await openFolderBlobs(folder);
    rmSync(folder, { recursive: true });
    await expect(blobs.write(chunks('x'), options)).rejects.toMatchObject({ code: 'blob.unavailable' });
    await expect(blobs.check()).rejects.toMatchObject({ code: 'blob.unavailable' });
  });

  it('makes files and folders for its owner alone', async () => {
    const folder = join(emptyFolder(), 'blobs');
    const blobs = await openFolderBlobs(folder);
    await blobs.write(chunks('secret'), options);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(filesIn(folder)[0]!).mode & 0o777).toBe(0o600);
  });

  it('shows no blob after kill -9 in the middle of a write; the rest is removed when it is an hour old', async () => {
    const state = emptyFolder();
    const child = spawn(
      process.execPath,
      [resolve('test/stores/processes/write-forever.ts'), JSON.stringify({ state })],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const folder = join(state, 'blobs');
    const [unfinished] = filesIn(folder);
    expect(statSync(unfinished!).size).toBeGreaterThan(1_000_000);

    const blobs = await openFolderBlobs(folder);
    expect(await listed(blobs)).toEqual([]);
    expect(existsSync(unfinished!)).toBe(true);
    const old = Date.now() / 1_000 - 3_601;
    utimesSync(unfinished!, old, old);
    await openFolderBlobs(folder);
    expect(existsSync(unfinished!)).toBe(false);
  });

  it('makes an old blob young again when the same bytes arrive, so that the sweep leaves it', async () => {
    const folder = emptyFolder();
    const blobs = await openFolderBlobs(folder);
    await blobs.write(chunks('again'), options);
    const [file] = filesIn(folder);
    utimesSync(file!, 1, 1);
    await blobs.write(chunks('again'), options);
    expect(statSync(file!).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
  });

  it('lists only blobs: files of others in the folder are left alone', async () => {
    const folder = emptyFolder();
    mkdirSync(join(folder, 'mail', 'aa'), { recursive: true });
    writeFileSync(join(folder, 'mail', 'aa', 'notes.txt'), '');
    writeFileSync(join(folder, 'README'), '');
    expect(await listed(await openFolderBlobs(folder))).toEqual([]);
  });
});
