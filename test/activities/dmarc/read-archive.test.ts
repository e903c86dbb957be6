/** Archives of anything: what each entry is, and that reading goes on at any of them. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { BEGIN, readArchive, type Entry, type Place } from '../../../activities/dmarc/read-archive.ts';
import { TAR_BLOCK, TAR_END, tarHead, tarSpan } from '../../../protocols/tar.ts';
import { feedback } from '../../protocols/dmarc/report.ts';

const HELD = 2_000;
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

const archive = ((bytes: Buffer) => ({
  size: bytes.length,
  read: async (from: number) =>
    (async function* () {
      for (let at = from; at < bytes.length; at += 999) yield bytes.subarray(at, at + 999);
    })(),
}))(
  Buffer.concat([
    ...FILES.flatMap(([name, content]) => {
      const bytes = Buffer.from(content);
      const padding = Buffer.alloc(tarSpan(bytes.length) - TAR_BLOCK - bytes.length);
      return [tarHead({ name, size: bytes.length, modifiedAt: 1_700_000_000 }), bytes, padding];
    }),
    TAR_END,
  ]),
);

async function entries(from: Place): Promise<Entry[]> {
  const found: Entry[] = [];
  for await (const entry of readArchive(archive, from, HELD)) found.push(entry);
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
    for await (const { name, kind, next } of readArchive({ size: bytes.length, read }, BEGIN, HELD)) {
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
});
