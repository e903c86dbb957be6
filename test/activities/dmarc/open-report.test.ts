/** What reporters send, unpacked: what is refused and how cheaply, and what is read. */
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { openReport } from '../../../activities/dmarc/open-report.ts';
import { readReport } from '../../../activities/dmarc/read-report.ts';
import { REPORT_LIMITS, type ReportLimits } from '../../../protocols/dmarc/limits.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import { feedback, metadata, NOW, POLICY, record } from '../../protocols/dmarc/report.ts';
import { gzipBomb, zipOf } from './archives.ts';

const REPORT = feedback();
/** Small ones are unpacked at once, others as a stream: what holds for one holds for the other. */
const LARGE_RECORDS = 5_000;
const SIZES = [
  { size: 'small', document: REPORT, records: 1 },
  { size: 'large', document: feedback(metadata() + POLICY + record().repeat(LARGE_RECORDS)), records: LARGE_RECORDS },
];
const MiB = 1_048_576;
/** Ceilings ten times looser than the goals: a second, and 100 MB. */
const CEILING_MS = 10_000;
const CEILING_BYTES = 1_000_000_000;

async function* inPieces(bytes: Uint8Array, size = 65_536) {
  for (let from = 0; from < bytes.length; from += size) yield bytes.subarray(from, from + size);
}

async function read(bytes: Uint8Array, { piece, limits }: { piece?: number; limits?: ReportLimits } = {}) {
  const read = [];
  for await (const file of openReport(inPieces(bytes, piece), limits)) {
    let records = 0;
    const report = await readReport(file, (some) => void (records += some.length), { now: NOW });
    if (report.kind !== 'aggregate') throw new Error(report.kind);
    const { warnings } = report.aggregate;
    read.push({ container: file.container, name: file.name, records, warnings: warnings.map(({ code }) => code) });
  }
  return read;
}

/** Reads it and holds the time and the growth of memory against the ceilings. */
async function refusal(bytes: Uint8Array, limits?: ReportLimits) {
  const before = process.memoryUsage().rss;
  const began = performance.now();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5);
  const outcome = await read(bytes, { limits }).catch((thrown: unknown) => thrown);
  clearInterval(timer);
  expect(performance.now() - began).toBeLessThan(CEILING_MS);
  expect(Math.max(most, process.memoryUsage().rss) - before).toBeLessThan(CEILING_BYTES);
  return outcome;
}

const permanent = (code: string) => expect.objectContaining({ name: 'PermanentError', code });

describe('bombs are refused early', () => {
  const bombs: Record<string, Buffer> = {};
  beforeAll(async () => {
    bombs.zeros = await gzipBomb(1_024 * MiB);
    bombs.text = await gzipBomb(1_024 * MiB, { before: '<feedback><version>' });
    bombs.elements = await gzipBomb(64 * MiB, { before: '<feedback>' + '<a/>'.repeat(9_000_000) });
    bombs.known = await gzipBomb(64 * MiB, { before: '<feedback><report_metadata>' + '<email/>'.repeat(4_500_000) });
    bombs.blanks = await gzipBomb(64 * MiB, { before: feedback(), byte: ' ' });
    bombs.zip = await zipOf({ 'report.xml': Buffer.alloc(64 * MiB, 'a') });
  });

  it.each([
    ['1 GiB of one letter in gzip', 'zeros', 'dmarc.not_a_report'],
    ['1 GiB in one element in gzip', 'text', 'dmarc.too_large'],
    ['9 million elements in gzip', 'elements', 'dmarc.too_large'],
    ['34 MiB of elements that a report has once', 'known', 'dmarc.too_large'],
    ['64 MiB of blanks after a report in gzip', 'blanks', 'dmarc.too_large'],
    ['64 MiB in zip', 'zip', 'dmarc.not_a_report'],
  ])('%s', async (_what, name, code) => {
    expect(await refusal(bombs[name] as Buffer)).toEqual(permanent(code));
  });

  it('30 MiB of XML with one record', async () => {
    const note = `<note>${'x'.repeat(30_000)}</note>`.repeat(1_000);
    const document = Buffer.from(feedback(metadata() + POLICY + record({ results: note })));
    expect(document.length).toBeGreaterThan(30_000_000);
    expect(await refusal(document)).toMatchObject([{ records: 1 }]);
  });

  it('more than the limit over all files of a zip', async () => {
    const large = feedback(metadata() + POLICY + record().repeat(40_000));
    const limits = { ...REPORT_LIMITS, bytes: 32 * MiB };
    expect(await refusal(await zipOf({ 'a.xml': large, 'b.xml': large, 'c.xml': large }), limits)).toEqual(
      permanent('dmarc.too_large'),
    );
  });
});

describe('archives are refused', () => {
  const zip = () => zipOf({ 'a.xml': REPORT });
  it.each([
    ['a zip in a zip', async () => zipOf({ 'a.zip': await zip() }), 'dmarc.nested_archive'],
    ['a gzip in a zip', async () => zipOf({ 'a.xml.gz': gzipSync(REPORT) }), 'dmarc.nested_archive'],
    ['a zip in a gzip', async () => gzipSync(await zip()), 'dmarc.nested_archive'],
    ['a gzip in a gzip', async () => gzipSync(gzipSync(REPORT)), 'dmarc.nested_archive'],
    [
      '10,000 members',
      async () => zipOf(Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`${i}.xml`, REPORT]))),
      'dmarc.too_many_members',
    ],
    ['a zip over 10 MiB', async () => Buffer.concat([await zip(), Buffer.alloc(11 * MiB)]), 'dmarc.too_large'],
    ['half a zip', async () => (await zip()).subarray(0, 200), 'dmarc.broken_archive'],
    ['a gzip without its end', async () => gzipSync(REPORT).subarray(0, -12), 'dmarc.truncated'],
    ['a gzip of ten bytes', async () => gzipSync(REPORT).subarray(0, 10), 'dmarc.truncated'],
    [
      'a gzip with another end than line ends',
      async () => Buffer.concat([gzipSync(REPORT), Buffer.from('--b--')]),
      'dmarc.broken_archive',
    ],
    ['HTML', async () => Buffer.from('<!doctype html><p>Sign in'), 'dmarc.not_a_report'],
    ['text', async () => Buffer.from('Your report is attached.'), 'dmarc.not_a_report'],
    ['a picture', async () => Buffer.from('\x89PNG\r\n\x1a\n\0\0', 'latin1'), 'dmarc.not_a_report'],
    ['nothing', async () => Buffer.alloc(0), 'dmarc.empty'],
    ['blanks', async () => Buffer.from('\r\n \r\n'), 'dmarc.empty'],
    ['a DOCTYPE in a zip', async () => zipOf({ 'a.xml': '<!DOCTYPE a []><feedback/>' }), 'dmarc.doctype'],
  ])('%s', async (_what, make, code) => {
    expect(await refusal(await make())).toEqual(permanent(code));
  });

  /** Bytes of the entry of the central directory (APPNOTE, 4.3.12). */
  const CHECKSUM = 16;
  const UNPACKED = 24;
  const zipThatSays = async (document: string, at: number, change: number) => {
    const bytes = await zipOf({ 'a.xml': document });
    const field = bytes.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1')) + at;
    bytes.writeUInt32LE(bytes.readUInt32LE(field) + change, field);
    return bytes;
  };
  describe.each(SIZES)('$size', ({ document }) => {
    it('a gzip with a wrong checksum', async () => {
      const bytes = gzipSync(document);
      bytes.writeUInt32LE(1, bytes.length - 8);
      expect(await refusal(bytes)).toEqual(permanent('dmarc.broken_archive'));
    });

    it.each([
      ['a wrong checksum', CHECKSUM, 1],
      ['less than it says', UNPACKED, 1],
      ['more than it says', UNPACKED, -1],
    ])('a zip with %s', async (_what, at, change) => {
      expect(await refusal(await zipThatSays(document, at, change))).toEqual(permanent('dmarc.broken_archive'));
    });
  });
});

describe('reports are read', () => {
  it('from a zip with names that no file system takes, and folders', async () => {
    const bytes = await zipOf({ 'a/b.xml': REPORT });
    const evil = Buffer.from(bytes.toString('latin1').replaceAll('a/b.xml', '../b.xm'), 'latin1');
    expect(await read(evil)).toEqual([{ container: 'zip', name: '../b.xm', records: 1, warnings: [] }]);
  });

  it('from a zip with a name that is longer than is shown', async () => {
    const bytes = await zipOf({ [`${'n'.repeat(60_000)}.xml`]: REPORT });
    expect(await read(bytes)).toMatchObject([{ name: 'n'.repeat(200), records: 1 }]);
  });

  it('each of a zip of several, with its own warnings', async () => {
    const odd = feedback(metadata() + POLICY + record() + 'x');
    expect(await read(await zipOf({ 'a.xml': odd, 'b.xml': REPORT }))).toMatchObject([
      { name: 'a.xml', warnings: ['stray_text'] },
      { name: 'b.xml', warnings: [] },
    ]);
  });

  describe.each(SIZES)('$size', ({ document, records }) => {
    it.each([
      ['gzip', () => gzipSync(document)],
      ['zip', () => zipOf({ 'a.xml': document })],
      ['none', () => Buffer.from(document)],
    ])('to the limit of bytes and not above it (%s)', async (container, pack) => {
      const size = Buffer.byteLength(document);
      const bytes = await pack();
      expect(await read(bytes, { limits: { ...REPORT_LIMITS, bytes: size } })).toMatchObject([{ container, records }]);
      expect(await refusal(bytes, { ...REPORT_LIMITS, bytes: size - 1 })).toEqual(permanent('dmarc.too_large'));
    });

    it.each(['gzip', 'zip'])('from a %s that line ends follow, however it is cut', async (container) => {
      const packed = container === 'gzip' ? gzipSync(document) : await zipOf({ 'a.xml': document });
      const bytes = Buffer.concat([packed, Buffer.from('\r\n\r\n')]);
      for (const piece of [1, 3, packed.length, packed.length + 1, bytes.length])
        expect(await read(bytes, { piece })).toMatchObject([{ container, records, warnings: ['trailing_bytes'] }]);
    });
  });

  it('from a gzip of two streams, which is one document (RFC 1952, 2.2)', async () => {
    const bytes = Buffer.concat([gzipSync(REPORT.slice(0, 100)), gzipSync(REPORT.slice(100))]);
    expect(await read(bytes)).toMatchObject([{ records: 1 }]);
  });
});

describe('the source', () => {
  const failing = (bytes: Buffer, error: Error) =>
    Readable.from(
      (async function* () {
        yield bytes;
        throw error;
      })(),
    );

  it.each(['gzip', 'none'])('passes its own error through (%s)', async (container) => {
    const error = new TemporaryError({ code: 'blob.unavailable', message: 'away', fix: 'wait' });
    const bytes = container === 'gzip' ? gzipSync(REPORT).subarray(0, 60) : Buffer.from(REPORT);
    await expect(async () => {
      for await (const file of openReport(failing(bytes, error))) await readReport(file, () => undefined);
    }).rejects.toBe(error);
  });

  it('is ended when the report is refused before its end', async () => {
    for (const first of [Buffer.from('<html>'), gzipSync(gzipSync(REPORT)), Buffer.from('<a/>')]) {
      const source = Readable.from([first, Buffer.alloc(100_000, ' '), Buffer.alloc(100_000, ' ')]);
      await expect(async () => {
        for await (const file of openReport(source)) await readReport(file, () => undefined);
      }).rejects.toThrow(PermanentError);
      expect(source.destroyed).toBe(true);
    }
  });
});
