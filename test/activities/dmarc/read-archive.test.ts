/** Archives of anything: what each entry is, and that reading goes on at any of them. */
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { BEGIN, readArchive, type Archive, type Entry, type Place } from '../../../activities/dmarc/read-archive.ts';
import { TAR_BLOCK, TAR_END, tarHead, tarSpan } from '../../../protocols/tar.ts';
import { feedback } from '../../protocols/dmarc/report.ts';
import { gzipBomb, zipOf } from './archives.ts';

const LIMITS = { held: 2_000, members: 3 };
const LINE = 'From r@receiver.test Wed Nov 15 06:07:08 2023\n';
const mail = (subject: string) => `Subject: ${subject}\n\ntext\n\n`;
const FILES: [string, string | Buffer][] = [
  ['report.txt', feedback()],
  ['box', LINE + mail('1') + LINE + mail('2') + LINE + mail('3')],
  ['packed.bin', gzipSync(feedback())],
  ['large.xml', feedback() + ' '.repeat(3_000)],
  ['failure', 'User-Agent: x/1\nFeedback-Type: auth-failure\nVersion: 1\n'],
  ['failure.eml', `From: a@b.test\n${'Feedback-Type: auth-failure\n'}\n`],
  ['tls', '{"policies": []}'],
  ['mail.xml', mail('4')],
  ['page', '<html><body>no</body></html>'],
  ['empty', ''],
  ['last-box', LINE + mail('5')],
];

const archiveOf = (bytes: Buffer): Archive => ({
  size: bytes.length,
  read: async (from: number) =>
    (async function* () {
      for (let at = from; at < bytes.length; at += 999) yield bytes.subarray(at, at + 999);
    })(),
});
const tarOf = (files: [string, string | Buffer][], modifiedAt = 1_700_000_000): Buffer =>
  Buffer.concat([
    ...files.flatMap(([name, content]) => {
      const bytes = Buffer.from(content);
      const padding = Buffer.alloc(tarSpan(bytes.length) - TAR_BLOCK - bytes.length);
      return [tarHead({ name, size: bytes.length, modifiedAt }), bytes, padding];
    }),
    TAR_END,
  ]);
const archive = archiveOf(tarOf(FILES));

async function entries(from: Place, of = archive): Promise<Omit<Entry, 'read'>[]> {
  const found: Omit<Entry, 'read'>[] = [];
  for await (const { read: _, ...entry } of readArchive(of, from, LIMITS)) found.push(entry);
  return found;
}

test('what an entry is its bytes say, whatever it is called', async () => {
  const found = await entries(BEGIN);
  expect(found.map(({ name, kind, bytes }) => [name?.replace(/\d{2,}/, 'N'), kind, bytes !== null])).toEqual([
    ['report.txt', 'report', true],
    ['box, mail at byte N', 'mail', true],
    ['box, mail at byte N', 'mail', true],
    ['box, mail at byte N', 'mail', true],
    ['packed.bin', 'report', true],
    ['large.xml', 'report', false],
    ['failure', 'report', true],
    ['failure.eml', 'mail', true],
    ['tls', 'report', true],
    ['mail.xml', 'mail', true],
    ['page', 'other', true],
    ['empty', 'other', true],
    ['last-box, mail at byte N', 'mail', true],
  ]);
  expect(found[2]?.bytes?.toString()).toBe(mail('2'));
  expect(new Set(found.map(({ modifiedAt }) => modifiedAt))).toEqual(new Set([1_700_000_000]));
});

test('reading that begins where an entry ended finds the rest, inside of a mailbox too', async () => {
  const all = await entries(BEGIN);
  for (const [index, { next }] of all.entries()) expect(await entries(next)).toEqual(all.slice(index + 1));
});

test('a file that is no archive is one entry, or the mails of a mailbox', async () => {
  const single = async (text: string) => {
    const bytes = Buffer.from(text);
    const read = async (from: number) =>
      (async function* () {
        yield bytes.subarray(from);
      })();
    const found: [string | null, string][] = [];
    for await (const { name, kind, next } of readArchive({ size: bytes.length, read }, BEGIN, LIMITS)) {
      found.push([name, kind]);
      if (next.at === bytes.length) expect(next.mailbox).toBe(null);
    }
    return found;
  };
  expect(await single(feedback())).toEqual([[null, 'report']]);
  expect(await single(mail('1'))).toEqual([[null, 'mail']]);
  expect(await single(LINE + mail('1') + LINE + mail('2'))).toEqual([
    ['mail at byte 0', 'mail'],
    [expect.stringMatching(/^mail at byte \d+$/), 'mail'],
  ]);
  expect(await single('')).toEqual([[null, 'other']]);
  expect(await single(TAR_END.toString('latin1'))).toEqual([]);
});

describe('an archive of files among them', async () => {
  const packed = gzipSync(feedback());
  const noise = randomBytes(3_000).toString('hex');
  const members = {
    'a.xml.gz': packed,
    'mails/box': LINE + mail('1') + LINE + mail('2'),
    'b.zip': await zipOf({ b: feedback() }),
  };
  const large = gzipSync(
    tarOf(
      [
        ['x.xml', feedback(noise)],
        ['box', LINE + mail('3') + LINE + mail('4')],
        ['y.gz', packed],
      ],
      1_600_000_000,
    ),
  );
  const exported = archiveOf(
    tarOf([
      ['report.zip', await zipOf({ 'report.xml': feedback(), 'note.txt': 'a note' })],
      ['many.zip', await zipOf(Object.fromEntries(['1', '2', '3', '4'].map((name) => [name, feedback()])))],
      ['export.zip', await zipOf(members)],
      ['export.tgz', large],
      ['old.mbox.gz', gzipSync(LINE + mail('5') + LINE + mail('6'))],
      ['plain.tar', tarOf([['z.xml', feedback()]])],
      ['last.xml', feedback()],
    ]),
  );

  test('is read as if its files lay beside it; one report in a zip stays as it came', async () => {
    expect(large.length).toBeGreaterThan(LIMITS.held);
    const found = await entries(BEGIN, exported);
    expect(found.map(({ name, kind }) => [name?.replace(/byte \d+/, 'N'), kind])).toEqual([
      ['report.zip', 'report'],
      ...['1', '2', '3', '4'].map((name) => [`many.zip: ${name}`, 'report']),
      ['export.zip: a.xml.gz', 'report'],
      ['export.zip: mails/box: mail at N', 'mail'],
      ['export.zip: mails/box: mail at N', 'mail'],
      ['export.zip: b.zip', 'report'],
      ['export.tgz: x.xml', 'report'],
      ['export.tgz: box, mail at N', 'mail'],
      ['export.tgz: box, mail at N', 'mail'],
      ['export.tgz: y.gz', 'report'],
      ['old.mbox.gz: mail at N', 'mail'],
      ['old.mbox.gz: mail at N', 'mail'],
      ['plain.tar: z.xml', 'report'],
      ['last.xml', 'report'],
    ]);
    expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
    const times = Object.fromEntries(found.map(({ name, modifiedAt }) => [name, modifiedAt]));
    expect(times).toMatchObject({ 'export.zip: a.xml.gz': 1_700_000_000, 'export.tgz: x.xml': 1_600_000_000 });
    expect(found.at(5)?.bytes).toEqual(packed);
  });

  test('is gone on with at any entry, as is what comes after it', async () => {
    const all = await entries(BEGIN, exported);
    for (const [index, { next }] of all.entries())
      // As it was in the history of a run meanwhile.
      expect(await entries(JSON.parse(JSON.stringify(next)) as Place, exported)).toEqual(all.slice(index + 1));
  });

  test('that breaks off is an entry itself, after what was read of it, and what comes after it is read', async () => {
    const cut = large.subarray(0, large.length - 300);
    const broken = archiveOf(
      tarOf([
        ['cut.tgz', cut],
        ['last.xml', feedback()],
      ]),
    );
    const found = [];
    for await (const { name, refusal, bytes, read } of readArchive(broken, BEGIN, LIMITS)) {
      found.push([name, refusal?.code]);
      if (refusal) expect([bytes, await buffer(await read())]).toEqual([null, cut]);
    }
    expect(found).toEqual([
      ['cut.tgz: x.xml', undefined],
      ['cut.tgz', 'dmarc.truncated'],
      ['last.xml', undefined],
    ]);
  });

  test('costs no other file of it where one is broken', async () => {
    const zip = await zipOf({ 'a.xml': feedback(), 'b.xml': feedback(noise.slice(0, 200)), 'c.gz': packed });
    // In the data of the second file.
    const at = zip.indexOf('b.xml') + 60;
    zip.fill(0xff, at, at + 20);
    const of = archiveOf(
      tarOf([
        ['export.zip', zip],
        ['last.xml', feedback()],
      ]),
    );
    const found = await entries(BEGIN, of);
    expect(found.map(({ name, refusal }) => [name, refusal?.code])).toEqual([
      ['export.zip: a.xml', undefined],
      ['export.zip: b.xml', 'dmarc.broken_archive'],
      ['export.zip: c.gz', undefined],
      ['last.xml', undefined],
    ]);
    for (const [index, { next }] of found.entries()) expect(await entries(next, of)).toEqual(found.slice(index + 1));
  });

  test('in another one is no archive of files any more: what lies deeper is refused where it is read', async () => {
    const deep = archiveOf(await zipOf({ 'inner.zip': await zipOf({ 'a.gz': packed }) }));
    expect((await entries(BEGIN, deep)).map(({ name, kind }) => [name, kind])).toEqual([['inner.zip', 'report']]);
  });

  test('that is a bomb ends at the limit', { timeout: 120_000 }, async () => {
    const size = 1_200 * 1_048_576;
    const bomb = await gzipBomb(size, {
      before: tarHead({ name: 'a', size, modifiedAt: 0 }).toString('latin1'),
      byte: '\0',
    });
    const before = process.memoryUsage().rss;
    const found = await entries(BEGIN, archiveOf(bomb));
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_048_576);
    expect(found.map(({ name, kind, refusal }) => [name, kind, refusal?.code])).toEqual([
      ['a', 'other', undefined],
      [null, 'report', 'dmarc.too_large'],
    ]);
  });

  test('a zip that is larger than what is held says what to do', async () => {
    const zip = await zipOf({ 'a.gz': gzipSync(randomBytes(3_000)), 'b.gz': packed });
    const [entry] = await entries(BEGIN, archiveOf(tarOf([['large.zip', zip]])));
    expect(entry).toMatchObject({ name: 'large.zip', refusal: { code: 'dmarc.too_large' } });
    expect(entry?.refusal?.message).toContain('unpack it, and import the folder');
  });
});
