import { existsSync, globSync, readFileSync } from 'node:fs';
import PostalMime from 'postal-mime';
import { describe, expect, it } from 'vitest';
import { messageParts } from '../../../protocols/mail/parts.ts';

const lines = (...all: string[]) => Buffer.from(all.join('\r\n'));
const parts = (message: Buffer) =>
  [...messageParts(message)].map(({ decoded, ...part }) => ({
    ...part,
    text: Buffer.concat([...decoded()]).toString(),
  }));

describe('a message that is broken', () => {
  it('of no bytes, or of a header alone, is one part of text', () => {
    expect(parts(Buffer.alloc(0))).toEqual([{ path: '1', type: 'text/plain', name: null, isBody: true, text: '' }]);
    expect(parts(lines('Subject: x'))).toMatchObject([{ text: '' }]);
  });

  it('without its boundary is read as far as it goes', () => {
    const unnamed = lines('Content-Type: multipart/mixed', '', '--x', '', 'a', '--x--');
    expect(parts(unnamed)).toMatchObject([{ type: 'multipart/mixed', text: '--x\r\n\r\na\r\n--x--' }]);
    const absent = lines('Content-Type: multipart/mixed; boundary=x', '', 'nothing of it');
    expect(parts(absent)).toEqual([]);
    const cut = lines('Content-Type: multipart/mixed; boundary=x', '', '--x', '', 'whole', '--x', '', 'cut');
    expect(parts(cut).map(({ text }) => text)).toEqual(['whole', 'cut']);
  });

  it('of containers without end is read to a depth', () => {
    let message = 'a';
    for (let depth = 0; depth < 40; depth++)
      message = `Content-Type: multipart/mixed; boundary=b${depth}x\r\n\r\n--b${depth}x\r\n${message}\r\n--b${depth}x--\r\n`;
    const [deepest] = parts(Buffer.from(message));
    expect(deepest).toMatchObject({ path: '1.1.1.1.1.1.1.1.1.1', type: 'multipart/mixed' });
  });

  it('of many parts is read one by one, so that the reader can stop', () => {
    const part = '--x\r\nContent-Disposition: attachment\r\n\r\na\r\n';
    const message = Buffer.from(`Content-Type: multipart/mixed; boundary=x\r\n\r\n${part.repeat(5_000)}--x--\r\n`);
    const seen = [];
    for (const { path } of messageParts(message)) if (seen.push(path) === 3) break;
    expect(seen).toEqual(['1', '2', '3']);
  });

  it('has a header in a part that never ends', () => {
    const message = Buffer.from(
      `Content-Type: multipart/mixed; boundary=x\n\n--x\n${'a: b\n'.repeat(1_000_000)}--x--\n`,
    );
    expect([...messageParts(message)]).toHaveLength(1);
  });
});

describe('a message', () => {
  it('of one part may be the file itself', () => {
    const message = lines(
      'Content-Type: application/ZIP; name="r.zip"',
      'Content-Transfer-Encoding: BASE64',
      '',
      Buffer.from('PK').toString('base64'),
    );
    expect(parts(message)).toEqual([{ path: '1', type: 'application/zip', name: 'r.zip', isBody: false, text: 'PK' }]);
  });

  it('gives every part with its name, however it is written', () => {
    const message = lines(
      'Content-Type: multipart/mixed; boundary="a b"',
      '',
      'preamble',
      '--a b',
      'Content-Type: text/plain',
      '',
      'for people',
      '--a bc',
      'is no boundary',
      '--a b  ',
      'Content-Type: text/xml; name="=?utf-8?B?w7wueG1s?="',
      'Content-Transfer-Encoding: quoted-printable',
      '',
      '<a=3D"=C3=BC">so=',
      'ft </a> ',
      '--a b',
      'Content-Type: application/octet-stream',
      'Content-Disposition: attachment; filename*0*=utf-8\'\'%C3%BC; filename*1="!x.gz"',
      'Content-Transfer-Encoding: base64',
      '',
      'aGVs bG8=',
      '',
      '--a b--',
      '--a b',
      '',
      'after the end',
    );
    expect(parts(message)).toEqual([
      { path: '1', type: 'text/plain', name: null, isBody: true, text: 'for people\r\n--a bc\r\nis no boundary' },
      { path: '2', type: 'text/xml', name: 'ü.xml', isBody: false, text: '<a="ü">soft </a>' },
      { path: '3', type: 'application/octet-stream', name: 'ü!x.gz', isBody: false, text: 'hello' },
    ]);
  });

  it('is looked into where it was forwarded as an attachment, but not where it is what a failure report is about', () => {
    const inner = lines('Subject: inner', 'Content-Type: text/xml; name=r.xml', '', '<feedback/>');
    const forwarded = lines(
      'Content-Type: multipart/mixed; boundary=x',
      '',
      '--x',
      'Content-Type: message/rfc822',
      '',
      inner.toString(),
      '--x--',
    );
    expect(parts(forwarded)).toMatchObject([{ path: '1', name: 'r.xml', text: '<feedback/>' }]);
    const report = lines(
      'Content-Type: multipart/report; report-type=feedback-report; boundary=x',
      '',
      '--x',
      'Content-Type: message/feedback-report',
      '',
      'Feedback-Type: auth-failure',
      '--x',
      'Content-Type: message/rfc822',
      '',
      inner.toString(),
      '--x--',
    );
    expect(parts(report)).toMatchObject([{ type: 'message/feedback-report', text: 'Feedback-Type: auth-failure' }]);
  });

  it('may have base64 that nobody announced', () => {
    const message = lines('Content-Type: text/plain; name=r.gz', '', 'H4sIAAAAAAAAA0vOSM3JyQcA', 'hqYQNgUAAAA=');
    expect(Buffer.concat([...[...messageParts(message)][0]!.decoded()]).subarray(0, 2)).toEqual(
      Buffer.from([0x1f, 0x8b]),
    );
  });

  it('gives a large attachment byte for byte, cut anywhere', () => {
    const bytes = Buffer.from(Array.from({ length: 300_001 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
    const text = bytes.toString('base64').replace(/.{75}/g, '$&\r\n');
    const message = Buffer.from(`Content-Transfer-Encoding: base64\r\nContent-Type: a/b\r\n\r\n${text}\r\n`);
    const [part] = [...messageParts(message)];
    expect(Buffer.concat([...part!.decoded()]).equals(bytes)).toBe(true);
  });
});

const samples = existsSync('../shared/data/mail') ? globSync('../shared/data/mail/**/*.eml') : [];
if (samples.length === 0) console.log('skipped: ../shared/data/mail is absent');

describe.skipIf(samples.length === 0)('samples', () => {
  it.each(samples)('%s has the attachments that postal-mime finds', async (file) => {
    const bytes = readFileSync(file);
    const { attachments } = await PostalMime.parse(bytes, { forceRfc822Attachments: true });
    const ours = [...messageParts(bytes)].map(({ decoded }) => Buffer.concat([...decoded()]));
    const theirs = attachments
      .filter(({ mimeType }) => !/^message\/(rfc822|global)|rfc822-headers|^multipart/.test(mimeType))
      .map(({ content }) => Buffer.from(content as ArrayBuffer));
    // postal-mime ends the lines of text its own way.
    const plain = (one: Buffer) => one.toString('latin1').replaceAll('\r\n', '\n').trim();
    for (const wanted of theirs) expect(ours.map(plain)).toContain(plain(wanted));
  });
});
