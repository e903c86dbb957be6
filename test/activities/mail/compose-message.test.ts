import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pino } from 'pino';
import PostalMime, { decodeWords } from 'postal-mime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { composeMessageStep } from '../../../activities/mail/compose-message.ts';
import { MAX_ATTACHMENTS, MAX_RECIPIENTS } from '../../../activities/mail/new-message.ts';
import type { Dependencies } from '../../../activities/dependencies.ts';
import type { StepContext } from '../../../activities/step.ts';
import { splitHeader } from '../../../protocols/mail/header.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import type { BlobRef, BlobStore } from '../../../stores/blobs/port.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';

const SIZE = 300_000;
let folder: string;
let blobs: BlobStore;
let records: Records;
let dependencies: Dependencies;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-compose-'));
  const configuration = Configuration.parse({
    hostname: 'mx.own.test',
    state: folder,
    mail: { limits: { messageSize: SIZE } },
  });
  blobs = await openBlobs(configuration);
  records = await openRecords(configuration);
  await records.rules.applyDeclared([{ domain: 'own.test', rules: [] }]);
  dependencies = { configuration, blobs, records } as Dependencies;
});
afterAll(async () => {
  await blobs.close();
  await records.close();
  await rm(folder, { recursive: true, force: true });
});

const BASE = { from: 'Alice <alice@own.test>', to: ['bob@b.test'], subject: 'Hello' };
const context = (idempotencyKey = 'key'): StepContext => ({
  signal: new AbortController().signal,
  report: () => undefined,
  log: pino({ level: 'silent' }),
  idempotencyKey,
});
const compose = async (input: object, key?: string) =>
  (await composeMessageStep.call({ ...BASE, ...input }, dependencies, context(key))) as {
    message: BlobRef;
    messageId: string;
    sender: string;
    recipients: string[];
    eightBit: boolean;
    utf8: boolean;
  };
const bytesOf = async (ref: BlobRef) => buffer(await blobs.read(ref.key));
const store = (bytes: Buffer) => blobs.write(Readable.from([bytes]), { prefix: 'uploads', maxBytes: 10_000_000 });
const names = (bytes: Buffer) => splitHeader(bytes).fields.map(({ name }) => name);

describe('mail.compose', () => {
  it('writes a message that a mail client reads as it was meant', async () => {
    const picture = randomBytes(5_000);
    const report = randomBytes(70_000);
    const composed = await compose({
      from: '"Alice, of \\"Own\\"" <alice@own.test>',
      to: ['Bob <bob@b.test>', 'carol@c.test'],
      cc: ['Dora Müller <dora@d.test>'],
      bcc: ['eve@e.test'],
      replyTo: 'desk@own.test',
      subject: 'Grüße – "quoted", 日本',
      text: 'First line\nGrüße\r\nlast\r',
      html: `<p>Grüße ${'long '.repeat(300)}</p><img src="cid:logo">`,
      attachments: [
        { content: await store(picture), filename: 'logo.png', contentType: 'image/png', cid: 'logo' },
        { content: await store(report), filename: 'Bericht "März".pdf' },
      ],
      headers: { 'X-Ticket': '47 ü', 'In-Reply-To': '<1@b.test>' },
    });
    const bytes = await bytesOf(composed.message);
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(composed.message.sha256);
    const read = await PostalMime.parse(bytes);

    expect(read.from).toMatchObject({ name: 'Alice, of "Own"', address: 'alice@own.test' });
    expect(read.to?.map(({ address }) => address)).toEqual(['bob@b.test', 'carol@c.test']);
    expect(read.cc).toMatchObject([{ name: 'Dora Müller', address: 'dora@d.test' }]);
    expect(read.replyTo).toMatchObject([{ address: 'desk@own.test' }]);
    expect(read.subject).toBe('Grüße – "quoted", 日本');
    expect(read.text?.trimEnd().split(/\r?\n/)).toEqual(['First line', 'Grüße', 'last']);
    expect(read.html).toContain('<img src="cid:logo">');
    expect(read.inReplyTo).toBe('<1@b.test>');
    expect(decodeWords(read.headers.find(({ key }) => key === 'x-ticket')?.value ?? '')).toBe('47 ü');
    const [logo, pdf] = read.attachments;
    expect(logo).toMatchObject({ filename: 'logo.png', mimeType: 'image/png', contentId: '<logo>' });
    expect(Buffer.from(logo?.content as ArrayBuffer).equals(picture)).toBe(true);
    expect(pdf).toMatchObject({ filename: 'Bericht "März".pdf', mimeType: 'application/pdf' });
    expect(Buffer.from(pdf?.content as ArrayBuffer).equals(report)).toBe(true);

    // Blind copies are in the envelope and nowhere else.
    expect(bytes.toString()).not.toContain('eve@');
    expect(composed).toMatchObject({
      sender: 'alice@own.test',
      recipients: ['bob@b.test', 'carol@c.test', 'dora@d.test', 'eve@e.test'],
      messageId: read.messageId,
      eightBit: false,
      utf8: false,
    });
    expect(Math.abs(Date.parse(read.date ?? '') - Date.now())).toBeLessThan(3_600_000);
  });

  it('ends every line with CRLF and none is longer than 998 octets (RFC 5322, 2.1.1)', async () => {
    const eml = await store(Buffer.from('Subject: inner\n\nbody\n'));
    const { message } = await compose({
      text: `a\rb\nc\r\n.\r\n${'x'.repeat(3_000)}`,
      attachments: [{ content: eml, filename: 'a.eml', contentType: 'message/rfc822' }],
    });
    const text = (await bytesOf(message)).toString('latin1');
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(Math.max(...text.split('\r\n').map((line) => line.length))).toBeLessThanOrEqual(998);
    expect(text.endsWith('\r\n')).toBe(true);
  });

  it('is kept by its owner row for a day', async () => {
    const { message } = await compose({ text: randomBytes(8).toString('hex') });
    const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString();
    expect(await records.blobOwners.isOwned(message.key, hours(23))).toBe(true);
    expect(await records.blobOwners.isOwned(message.key, hours(25))).toBe(false);
  });

  it('takes Message-ID from the idempotency key, under the own domain, or under our host name for a foreign one', async () => {
    const once = await compose({}, 'one');
    expect(once.messageId).toMatch(/^<[0-9a-f]{32}@own\.test>$/);
    expect((await compose({}, 'one')).messageId).toBe(once.messageId);
    expect((await compose({}, 'two')).messageId).not.toBe(once.messageId);
    expect((await compose({ from: 'a@foreign.test' })).messageId).toMatch(/@mx\.own\.test>$/);
  });

  it('writes internationalised addresses so that they mean the same (RFC 6532), and domains as A-labels where that is enough', async () => {
    const ascii = await compose({ to: ['bob@bücher.test'] });
    expect((await bytesOf(ascii.message)).toString()).toContain('To: bob@xn--bcher-kva.test\r\n');
    expect(ascii).toMatchObject({ utf8: false, recipients: ['bob@xn--bcher-kva.test'] });
    const international = await compose({ to: ['Пётр <пример@b.test>'] });
    expect(international).toMatchObject({ utf8: true, recipients: ['пример@b.test'] });
    expect((await PostalMime.parse(await bytesOf(international.message))).to).toMatchObject([
      { name: 'Пётр', address: 'пример@b.test' },
    ]);
  });

  it('takes the charset of an attachment from its media type', async () => {
    const attachments = [
      { content: await store(Buffer.from('x')), filename: 'a.csv', contentType: 'text/csv; charset=utf-8' },
    ];
    expect((await bytesOf((await compose({ attachments })).message)).toString()).toMatch(
      /Content-Type: text\/csv; charset=utf-8;\s+name=a\.csv\r\n/,
    );
  });

  it('keeps an address with a comma in its quotes one address', async () => {
    const { message, recipients } = await compose({ to: ['"x, eve@evil.test"@b.test'] });
    expect(recipients).toEqual(['"x, eve@evil.test"@b.test']);
    expect((await PostalMime.parse(await bytesOf(message))).to).toHaveLength(1);
  });

  it('counts a recipient once, however it is written', async () => {
    const { recipients } = await compose({ to: ['bob@b.test'], cc: ['Bob <BOB@B.test>'], bcc: ['carol@c.test'] });
    expect(recipients).toEqual(['bob@b.test', 'carol@c.test']);
  });
});

describe('what a caller could smuggle into a message', () => {
  const INJECTED = ['\r\nBcc: eve@evil.test', '\nBcc: eve@evil.test', '\rBcc: eve@evil.test', '\0', '\u2028', '\u0085'];
  const ref = { key: `uploads/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 };
  const attachment = { content: ref, filename: 'a.pdf' };
  const fields: [string, (bad: string) => object][] = [
    ['from', (bad) => ({ from: `alice@own.test${bad}` })],
    ['from', (bad) => ({ from: `Alice${bad} <alice@own.test>` })],
    ['from', (bad) => ({ from: `"Alice${bad}" <alice@own.test>` })],
    ['from', (bad) => ({ from: `"al${bad}ice"@own.test` })],
    ['to.0', (bad) => ({ to: [`Bob${bad} <bob@b.test>`] })],
    ['to.0', (bad) => ({ to: [`bob@b.test${bad}`] })],
    ['cc.0', (bad) => ({ cc: [`bob@b.test${bad}`] })],
    ['bcc.0', (bad) => ({ bcc: [`bob@b.test${bad}`] })],
    ['replyTo', (bad) => ({ replyTo: `bob@b.test${bad}` })],
    ['subject', (bad) => ({ subject: `Hello${bad}` })],
    ['attachments.0.filename', (bad) => ({ attachments: [{ ...attachment, filename: `a${bad}.pdf` }] })],
    ['attachments.0.contentType', (bad) => ({ attachments: [{ ...attachment, contentType: `text/plain${bad}` }] })],
    ['attachments.0.cid', (bad) => ({ attachments: [{ ...attachment, cid: `logo${bad}` }] })],
    ['attachments.0.content.key', (bad) => ({ attachments: [{ ...attachment, content: { ...ref, key: `a${bad}` } }] })],
    ['headers.X-A', (bad) => ({ headers: { 'X-A': `1${bad}` } })],
    ['headers', (bad) => ({ headers: { [`X-A${bad}`]: '1' } })],
  ];
  it.each(fields.flatMap(([field, make]) => INJECTED.map((bad) => [field, bad, make(bad)] as const)))(
    'is refused in %s: %j',
    async (field, _bad, input) => {
      const refused = await compose(input).catch((thrown: unknown) => thrown);
      expect(refused).toMatchObject({ name: 'PermanentError', code: 'input.invalid' });
      expect((refused as { details: { field: string } }).details.field).toMatch(new RegExp(`^${field}`));
    },
  );

  it.each([
    'From',
    'to',
    'BCC',
    'Sender',
    'Date',
    'Message-ID',
    'MIME-Version',
    'Content-Type',
    'Received',
    'Return-Path',
    'DKIM-Signature',
    'ARC-Seal',
    'Authentication-Results',
    'Resent-From',
    'X-A: 1, X-B',
    'X A',
    '',
  ])('is no header field of its own: %s', async (name) => {
    await expect(compose({ headers: { [name]: 'x' } })).rejects.toMatchObject({ code: 'input.invalid' });
  });

  it('cannot make a second field of a structure out of what is allowed', async () => {
    const bytes = await bytesOf(
      (
        await compose({
          subject: 'x: y; boundary=z',
          headers: { 'X-A': '=?utf-8?q?=0d=0aBcc:_eve@evil.test?=', References: '<a@b> <c@d>' },
        })
      ).message,
    );
    expect(names(bytes).toSorted()).toEqual(
      ['From', 'To', 'Subject', 'X-A', 'References', 'Message-ID', 'Date', 'MIME-Version', 'Content-Type']
        .concat(names(bytes).includes('Content-Transfer-Encoding') ? ['Content-Transfer-Encoding'] : [])
        .toSorted(),
    );
  });

  it.each(['multipart/mixed', 'MultiPart/Mixed', 'pdf', 'text/plain; x', 'text/plain; x="y'])(
    'is no media type: %s',
    async (contentType) => {
      await expect(compose({ attachments: [{ ...attachment, contentType }] })).rejects.toMatchObject({
        details: { field: 'attachments.0.contentType' },
      });
    },
  );

  it.each(['x-ticket', 'LIST-Unsubscribe', 'in-reply-to'])(
    'may have %s in any case, as its JSON schema says too',
    async (name) => {
      expect(
        names(await bytesOf((await compose({ headers: { [name]: '<a@b>' } })).message)).map((one) => one.toLowerCase()),
      ).toContain(name.toLowerCase());
      const { properties } = z.toJSONSchema(composeMessageStep.input) as unknown as {
        properties: { headers: { propertyNames: { pattern: string } } };
      };
      expect(name).toMatch(new RegExp(properties.headers.propertyNames.pattern));
    },
  );

  it('reads neither files nor addresses of the network', async () => {
    const input = { html: { path: '/etc/passwd' }, text: { href: 'http://127.0.0.1/' } };
    await expect(compose(input)).rejects.toMatchObject({ code: 'input.invalid' });
    await expect(compose({ attachments: [{ ...attachment, path: '/etc/passwd' }] })).rejects.toMatchObject({
      code: 'input.invalid',
    });
  });
});

describe('limits', () => {
  const many = (count: number) => Array.from({ length: count }, (_, index) => `r${index}@b.test`);

  it(`are ${MAX_RECIPIENTS} recipients in To, Cc and Bcc together`, async () => {
    expect((await compose({ to: many(MAX_RECIPIENTS) })).recipients).toHaveLength(50);
    await expect(compose({ to: many(30), cc: many(20), bcc: ['eve@e.test'] })).rejects.toMatchObject({
      code: 'input.invalid',
      details: { field: 'to' },
      message: expect.stringContaining('51 recipients'),
    });
    await expect(compose({ to: [] })).rejects.toMatchObject({ code: 'input.invalid', details: { field: 'to' } });
  });

  it(`are ${MAX_ATTACHMENTS} attachments, each of which is read`, async () => {
    const content = await store(Buffer.from('small'));
    const attachments = Array.from({ length: 21 }, (_, index) => ({ content, filename: `${index}.txt` }));
    const { message } = await compose({ attachments: attachments.slice(1) });
    expect((await PostalMime.parse(await bytesOf(message))).attachments).toHaveLength(20);
    await expect(compose({ attachments })).rejects.toMatchObject({ details: { field: 'attachments' } });
  });

  it('are the size that the receiver takes, encoded', async () => {
    // 240 KB are 320 KB in base64.
    for (const size of [240_000, 400_000]) {
      const attachments = [{ content: await store(randomBytes(size)), filename: 'a.bin' }];
      await expect(compose({ attachments })).rejects.toMatchObject({ name: 'PermanentError', code: 'mail.too_large' });
    }
    const attachments = [{ content: await store(randomBytes(200_000)), filename: 'a.bin' }];
    expect((await compose({ attachments })).message.size).toBeLessThanOrEqual(SIZE);
  });

  it('refuse an attachment that is not stored, by its name', async () => {
    const content = { key: `uploads/${'1'.repeat(64)}`, sha256: '1'.repeat(64), size: 1 };
    await expect(compose({ attachments: [{ content, filename: 'gone.pdf' }] })).rejects.toMatchObject({
      code: 'blob.missing',
      message: expect.stringContaining('gone.pdf'),
    });
  });

  it('refuse an attachment that would break the message: NUL in what may not be encoded (RFC 2046, 5.2.1)', async () => {
    const content = await store(Buffer.from('Subject: a\r\n\r\n\0'));
    const attachments = [{ content, filename: 'a.eml', contentType: 'message/rfc822' }];
    await expect(compose({ attachments })).rejects.toMatchObject({ code: 'smtp.nul' });
  });
});
