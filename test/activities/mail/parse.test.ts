/** Messages that would cost their reader minutes or gigabytes: refused by a code, in time, and nothing else waits. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openVerification, parseWith, type Verification } from '../../support/verification.ts';

const MiB = 1_048_576;
/** The goal is a second. */
const CEILING_MS = 10_000;
const FROM = 'From: a@a.test\r\n';

let verification: Verification;
beforeAll(async () => {
  verification = await openVerification();
});
afterAll(() => verification?.close());

/** The step, while a timer of this thread shows whether it was free meanwhile. */
async function timed(message: string) {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 10);
  const began = performance.now();
  const outcome = await parseWith(verification, Buffer.from(message, 'latin1')).catch((thrown: unknown) => thrown);
  clearInterval(timer);
  expect(performance.now() - began).toBeLessThan(CEILING_MS);
  expect(longest).toBeLessThan(CEILING_MS / 10);
  return outcome;
}

const multipart = (parts: number) =>
  `${FROM}Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(parts)}--b--\r\n`;
const nested = (depth: number) =>
  FROM +
  Array.from({ length: depth }, (_, i) => `Content-Type: multipart/mixed; boundary=b${i}\r\n\r\n--b${i}\r\n`).join('');

describe('refuses for good', () => {
  it.each([
    ['100,000 parts', () => multipart(100_000), 'mail.too_complex'],
    ['24 MiB of empty lines', () => `${FROM}\r\n${'\r\n'.repeat(12 * MiB)}`, 'mail.too_complex'],
    ['parts in parts, 400 deep', () => nested(400), 'mail.malformed'],
    ['a line of 1 MiB', () => `${FROM}\r\n${'x'.repeat(MiB)}\r\n`, 'mail.line_too_long'],
    [
      'a folded field of 128 KB',
      () => `${FROM}X: a\r\n${` ${'x'.repeat(998)}\r\n`.repeat(128)}\r\n`,
      'mail.header_field_too_large',
    ],
  ])('%s', async (_what, make, code) => {
    expect(await timed(make())).toMatchObject({ name: 'PermanentError', code });
  });
});

describe('reads', () => {
  it('1,000 parts', async () => {
    expect(await timed(multipart(1_000))).toMatchObject({ from: { address: 'a@a.test' } });
  });

  it('12 MiB of attachment in base64, with its name and size', async () => {
    const line = `${'QUFB'.repeat(19)}\r\n`;
    const lines = Math.floor((12 * MiB) / line.length);
    const message = `${FROM}Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n`;
    expect(await timed(message + line.repeat(lines))).toMatchObject({
      attachments: [{ filename: 'a.pdf', mimeType: 'application/pdf', size: lines * 57 }],
    });
  });
});
