/** Tar heads: those of other programs are read, ours are read by them, and what is broken is said to be. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readTarHead, tarHead, TAR_BLOCK, TAR_END, tarSpan } from '../../protocols/tar.ts';
import { BEGIN, readArchive } from '../../activities/dmarc/read-archive.ts';

const folder = mkdtempSync(join(tmpdir(), 'switchyard-tar-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NAMES = ['plain.xml', `${'long'.repeat(40)}.xml`, 'grüße/ä.xml', `${'d'.repeat(90)}/${'e'.repeat(60)}.xml`];

const archiveOf = (bytes: Buffer, size = bytes.length) => ({
  size,
  read: async (from: number) =>
    (async function* () {
      for (let at = from; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
    })(),
});

async function read(bytes: Buffer, held = 1_000_000): Promise<[string | null, string | undefined][]> {
  const found: [string | null, string | undefined][] = [];
  for await (const { name, bytes: content } of readArchive(archiveOf(bytes), BEGIN, { held }))
    found.push([name, content?.toString()]);
  return found;
}

test('GNU tar lists and unpacks what we pack', () => {
  const parts = NAMES.flatMap((name, index) => {
    const bytes = Buffer.from(`<${index}/>`);
    const padding = Buffer.alloc(tarSpan(bytes.length) - TAR_BLOCK - bytes.length);
    return [tarHead({ name, size: bytes.length, modifiedAt: 1_700_000_000 }), bytes, padding];
  });
  const file = join(folder, 'ours.tar');
  writeFileSync(file, Buffer.concat([...parts, TAR_END]));
  const listed = execFileSync('tar', ['--list', '--quoting-style=literal', '-f', file]).toString().trim().split('\n');
  expect(listed).toEqual(NAMES);
  const second = execFileSync('tar', ['--extract', '--to-stdout', '-f', file, NAMES[1] ?? '']);
  expect(second.toString()).toBe('<1/>');
});

test.each(['gnu', 'pax', 'ustar'])(
  'files that tar packed as %s are found under their names, folders and links are not',
  async (format) => {
    const root = join(folder, format);
    const names = format === 'ustar' ? NAMES.filter((name) => !name.startsWith('long')) : NAMES;
    for (const name of names) {
      mkdirSync(join(root, name, '..'), { recursive: true });
      writeFileSync(join(root, name), `<a>${name}</a>`);
    }
    const file = join(folder, `${format}.tar`);
    execFileSync('tar', ['--create', `--format=${format}`, '-f', file, '-C', root, '--sort=name', '.']);
    const found = await read(readFileSync(file));
    expect(new Map(found)).toEqual(new Map(names.map((name) => [`./${name}`, `<a>${name}</a>`])));
  },
);

test('a head that was tampered with, and an archive that is cut off, are broken; what came before is read', async () => {
  const good = Buffer.concat([tarHead({ name: 'a', size: 4, modifiedAt: 0 }), Buffer.from('<a/>'), Buffer.alloc(508)]);
  const head = tarHead({ name: 'b', size: 5_000, modifiedAt: 0 });
  const tampered = Buffer.from(head);
  tampered[0] = 0x63;
  for (const rest of [tampered, head, head.subarray(0, 100)]) {
    const found: (string | null)[] = [];
    const reading = (async () => {
      for await (const { name } of readArchive(archiveOf(Buffer.concat([good, rest])), BEGIN, { held: 100 }))
        found.push(name);
    })();
    await expect(reading).rejects.toMatchObject({ name: 'PermanentError', code: 'archive.broken' });
    expect(found).toEqual(['a']);
  }
});

test('sizes of 8 GiB and more are said in another way', () => {
  const size = 9 * 1_073_741_824;
  const head = tarHead({ name: 'large', size, modifiedAt: 0 });
  expect(head.subarray(TAR_BLOCK).toString()).toContain(`size=${size}\n`);
  const gnu = Buffer.from(tarHead({ name: 'large', size: 0, modifiedAt: 0 }));
  gnu.writeUIntBE(size, 130, 6);
  gnu.fill(0, 124, 130)[124] = 0x80;
  const sum = gnu.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 0x20 : byte), 0);
  gnu.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  expect(readTarHead(gnu)?.size).toBe(size);
});
