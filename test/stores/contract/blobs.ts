/** What every blob driver must do. */
import { createHash, randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobStore } from '../../../stores/blobs/port.ts';

export interface OpenedBlobs {
  blobs: BlobStore;
  /** Files or objects that the store holds in any form, unfinished ones included. */
  leftovers(): Promise<number>;
  close(): Promise<void>;
}

export async function* chunks(...parts: (Uint8Array | string | Error)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    yield typeof part === 'string' ? Buffer.from(part) : part;
  }
}

export async function listed(blobs: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of blobs.list()) keys.push(key);
  return keys.sort();
}

export const hashOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

export function blobContract(name: string, open: () => Promise<OpenedBlobs>): void {
  describe(`${name}: blobs`, () => {
    let opened: OpenedBlobs;
    let blobs: BlobStore;
    beforeEach(async () => {
      opened = await open();
      ({ blobs } = opened);
    });
    afterEach(() => opened.close());
    const options = { prefix: 'mail', maxBytes: 10_000_000 };

    it.each(['', '.', '..', '../up', '/etc', 'a/../b', 'a//b', 'a/', '.incoming', 'a\\b', 'a\0b', 'a b', 'ä'])(
      'refuses the prefix %j and stores nothing',
      async (prefix) => {
        await expect(blobs.write(chunks('x'), { prefix, maxBytes: 10 })).rejects.toMatchObject({
          name: 'PermanentError',
          code: 'blob.key_invalid',
        });
        expect(await opened.leftovers()).toBe(0);
      },
    );

    const sha = hashOf('x');
    it.each([
      '',
      sha,
      `../${sha}`,
      `mail/../../${sha}`,
      `mail/${sha}/..`,
      '/etc/passwd',
      `mail/${sha.toUpperCase()}`,
      `mail/${sha}\n`,
    ])('refuses the key %j in every operation', async (key) => {
      const refusal = { name: 'PermanentError', code: 'blob.key_invalid' };
      await expect(blobs.read(key)).rejects.toMatchObject(refusal);
      await expect(blobs.size(key)).rejects.toMatchObject(refusal);
      await expect(blobs.remove(key)).rejects.toMatchObject(refusal);
    });

    it('says blob.missing for a blob that is not there; its removal is no error', async () => {
      await expect(blobs.read(`mail/${sha}`)).rejects.toMatchObject({ name: 'PermanentError', code: 'blob.missing' });
      expect(await blobs.size(`mail/${sha}`)).toBeUndefined();
      await blobs.remove(`mail/${sha}`);
    });

    it('keeps nothing of what is larger than allowed, and takes what is exactly as large', async () => {
      await expect(blobs.write(chunks('12345', '6'), { prefix: 'mail', maxBytes: 5 })).rejects.toMatchObject({
        name: 'PermanentError',
        code: 'blob.too_large',
      });
      expect(await opened.leftovers()).toBe(0);
      expect((await blobs.write(chunks('12', '345'), { prefix: 'mail', maxBytes: 5 })).size).toBe(5);
    });

    it('passes an error of the source through as it is, and keeps nothing', async () => {
      const broken = Object.assign(new Error('the sender hung up'), { code: 'ENOSPC' });
      await expect(blobs.write(chunks('half', broken), options)).rejects.toBe(broken);
      expect(await opened.leftovers()).toBe(0);
    });

    it('returns the bytes that were written, with their SHA-256 and size', async () => {
      const bytes = randomBytes(1_000_003);
      const ref = await blobs.write(
        chunks(bytes.subarray(0, 1), bytes.subarray(1, 70_000), bytes.subarray(70_000)),
        options,
      );
      expect(ref).toEqual({ key: `mail/${hashOf(bytes)}`, sha256: hashOf(bytes), size: bytes.length });
      expect(bytes.equals(await buffer(await blobs.read(ref.key)))).toBe(true);
      for await (const chunk of await blobs.read(ref.key)) expect(Buffer.isBuffer(chunk)).toBe(true);
      expect(await blobs.size(ref.key)).toBe(bytes.length);
    });

    it('reads a blob from any byte on, and nothing from its end on', async () => {
      const bytes = randomBytes(200_000);
      const { key } = await blobs.write(chunks(bytes), options);
      for (const from of [0, 1, 70_000, 199_999, 200_000, 300_000])
        expect(bytes.subarray(from).equals(await buffer(await blobs.read(key, from)))).toBe(true);
      await expect(blobs.read(`mail/${sha}`, 5)).rejects.toMatchObject({ code: 'blob.missing' });
    });

    it('stores an empty blob', async () => {
      const ref = await blobs.write(chunks(), options);
      // SHA-256 of nothing, NIST's example value.
      expect(ref.sha256).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
      expect((await buffer(await blobs.read(ref.key))).length).toBe(0);
    });

    it('stores the same bytes once under one prefix, also when written at once, and apart under another', async () => {
      const refs = await Promise.all(Array.from({ length: 10 }, () => blobs.write(chunks('same'), options)));
      expect(new Set(refs.map((ref) => ref.key)).size).toBe(1);
      await blobs.write(chunks('same'), { prefix: 'page/raw', maxBytes: 10 });
      expect(await listed(blobs)).toEqual([`mail/${hashOf('same')}`, `page/raw/${hashOf('same')}`]);
      expect(await opened.leftovers()).toBe(2);
    });

    it('lists size and time, and no longer what was removed', async () => {
      const ref = await blobs.write(chunks('abc'), options);
      const found = [];
      for await (const blob of blobs.list()) found.push(blob);
      expect(found).toEqual([{ key: ref.key, size: 3, modifiedAt: expect.any(Date) }]);
      expect(Math.abs(found[0]!.modifiedAt.getTime() - Date.now())).toBeLessThan(60_000);
      await blobs.remove(ref.key);
      expect(await listed(blobs)).toEqual([]);
    });

    it('leaves no trace of a check', async () => {
      await blobs.check();
      expect(await opened.leftovers()).toBe(0);
    });
  });
}
