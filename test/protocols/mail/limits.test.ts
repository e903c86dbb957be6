import { describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { createMessageGuard, type MessageFacts, type MessageLimits } from '../../../protocols/mail/limits.ts';
import { SwitchyardError } from '../../../protocols/errors.ts';
import { openSmtp } from '../../support/smtp-client.ts';
import { errorOf } from '../errors.ts';
import { randomNumbers } from '../random.ts';
import { sharedJson } from '../shared-data.ts';

const { parseHeaders } = createRequire(import.meta.url)('mailauth/lib/tools') as {
  parseHeaders(header: Buffer): { parsed: { key: string; line: Buffer }[] };
};

const WIDE: MessageLimits = {
  headerBytes: 10_000,
  headerLines: 100,
  headerFieldBytes: 5_000,
  bodyLineBytes: 2_000,
  signatures: 10,
  hops: 10,
};
const NARROW: MessageLimits = {
  headerBytes: 60,
  headerLines: 6,
  headerFieldBytes: 40,
  bodyLineBytes: 30,
  signatures: 1,
  hops: 2,
};

function inspect(chunks: Uint8Array[], limits: MessageLimits): MessageFacts | string {
  const guard = createMessageGuard(limits);
  try {
    for (const chunk of chunks) guard.push(chunk);
    return guard.end();
  } catch (thrown) {
    if (thrown instanceof SwitchyardError) return thrown.code;
    throw thrown;
  }
}
const inspectText = (text: string, limits = WIDE) => inspect([Buffer.from(text, 'latin1')], limits);

describe('the 14 end-of-data sequences of the smuggling scanners', () => {
  const sequences =
    sharedJson<{ sequences: Record<string, number[]> }>('mail/smtp-smuggling/sequences.json')?.sequences ?? null;

  it.skipIf(sequences === null)(
    '13 are refused as they come and after dot-stuffing is undone, the control passes',
    () => {
      const refused: string[] = [];
      for (const [name, bytes] of Object.entries(sequences!)) {
        const message = Buffer.concat([
          Buffer.from('Subject: a\r\n\r\nbody'),
          Buffer.from(bytes),
          Buffer.from('MAIL FROM:<b@evil.test>\r\n'),
        ]);
        // RFC 5321, 4.5.2: the receiver takes a dot away that begins a line.
        const unstuffed = Buffer.from(message.toString('latin1').replaceAll('\r\n.', '\r\n'), 'latin1');
        const verdicts = [message, unstuffed].map((data) => inspect([data], WIDE));
        if (verdicts.every((verdict) => verdict === 'smtp.bare_newline' || verdict === 'smtp.nul')) refused.push(name);
        else
          expect(
            verdicts.every((verdict) => typeof verdict !== 'string'),
            name,
          ).toBe(true);
      }
      expect(Object.keys(sequences!)).toHaveLength(14);
      expect(Object.keys(sequences!).filter((name) => !refused.includes(name))).toEqual(['control CRLF.CRLF']);
    },
  );

  it.skipIf(sequences === null)(
    'behind a real smtp-server, no sequence but the control lets a second message in',
    async () => {
      const results: Record<string, { verdict: MessageFacts | string; messages: number }> = {};
      for (const [name, bytes] of Object.entries(sequences!)) {
        const received: (MessageFacts | string)[] = [];
        const server = new SMTPServer({
          authOptional: true,
          disabledCommands: ['STARTTLS'],
          onData(stream, _session, done) {
            const chunks: Buffer[] = [];
            stream.on('data', (chunk: Buffer) => chunks.push(chunk));
            stream.on('end', () => {
              received.push(inspect(chunks, WIDE));
              done();
            });
          },
        });
        const { port } = await new Promise<AddressInfo>((resolve) => {
          const listening = server.listen(0, '127.0.0.1', () => resolve(listening.address() as AddressInfo));
        });
        const client = await openSmtp({ host: '127.0.0.1', port });
        for (const line of ['EHLO a.test', 'MAIL FROM:<a@a.test>', 'RCPT TO:<b@b.test>', 'DATA'])
          await client.command(line);
        client.raw(Buffer.concat([Buffer.from('Subject: a\r\n\r\nbody'), Buffer.from(bytes)]));
        // To a server that saw the end, this is a second transaction and its end; to any other, more of the body.
        client.raw('MAIL FROM:<c@evil.test>\r\nRCPT TO:<b@b.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nbody\r\n.\r\n');
        for (let replies = 0; replies < (name.startsWith('control') ? 5 : 1); replies++) await client.reply();
        client.close();
        await new Promise<void>((resolve) => server.close(() => resolve()));
        results[name] = { verdict: received[0]!, messages: received.length };
      }
      for (const [name, { verdict, messages }] of Object.entries(results)) {
        if (name.startsWith('control'))
          expect({ verdict, messages }, name).toEqual({
            verdict: expect.objectContaining({ hasFinalCrlf: true }),
            messages: 2,
          });
        else
          expect({ verdict, messages }, name).toEqual({
            verdict: name.includes('NUL') ? 'smtp.nul' : 'smtp.bare_newline',
            messages: 1,
          });
      }
    },
  );
});

describe('each limit holds to the byte', () => {
  it.each([
    ['headerBytes', 'A: b\r\nC: d\r\n\r\n', { headerBytes: 14 }, 'mail.header_too_large'],
    ['headerLines', 'A: b\r\n c\r\nD: e\r\n\r\n', { headerLines: 3 }, 'mail.header_lines'],
    [
      'headerFieldBytes of a folded field',
      'A: b\r\n cde\r\nF: g\r\n\r\n',
      { headerFieldBytes: 8 },
      'mail.header_field_too_large',
    ],
    [
      'headerFieldBytes with lines that are no field',
      'A: b\r\n\xe4: c\r\nno field\r\n\r\n',
      { headerFieldBytes: 16 },
      'mail.header_field_too_large',
    ],
    ['blanks', 'A:  \t b\r\n\r\n', { blanks: 4 }, 'mail.header_blanks'],
    ['blanks over folds', 'A: b \r\n \r\n\t c\r\n  \r\n\r\n', { blanks: 4 }, 'mail.header_blanks'],
    ['arcSets', 'ARC-Seal: a\r\narc-seal : b\r\nX-ARC-Seal: c\r\n\r\n', { arcSets: 2 }, 'mail.loop'],
    ['bodyLineBytes', 'A: b\r\n\r\n12345\r\n123\r\n', { bodyLineBytes: 5 }, 'mail.line_too_long'],
    [
      'signatures',
      'DKIM-Signature: a\r\ndkim-signature : b\r\nX-DKIM-Signature: c\r\n\r\n',
      { signatures: 2 },
      'mail.too_many_signatures',
    ],
    ['hops', 'Received: a\r\nRECEIVED: b\r\nReceived-SPF: c\r\n\r\n', { hops: 2 }, 'mail.loop'],
  ] as const)('%s', (_what, message, limit, code) => {
    expect(inspectText(message, { ...WIDE, ...limit })).toBeTypeOf('object');
    const [name, value] = Object.entries(limit)[0]!;
    expect(inspectText(message, { ...WIDE, [name]: value - 1 })).toBe(code);
  });

  it('headerFieldBytes, for 128 KB of folding that cost mailauth 9 seconds', () => {
    const limits = { ...WIDE, headerBytes: 262_144, headerLines: 1_000, headerFieldBytes: 32_768 };
    expect(inspectText(`Subject: a\r\n${` ${'x'.repeat(998)}\r\n`.repeat(128)}\r\nbody\r\n`, limits)).toBe(
      'mail.header_field_too_large',
    );
  });

  it('bodyLineBytes, before the line ends', () => {
    const guard = createMessageGuard(WIDE);
    guard.push(Buffer.from('A: b\r\n\r\n'));
    expect(errorOf(() => guard.push(Buffer.alloc(2_001, 'x'))).code).toBe('mail.line_too_long');
  });
});

it('tells the session what to answer', () => {
  const error = (text: string, limits = WIDE) =>
    errorOf(() => createMessageGuard(limits).push(Buffer.from(text))).details;
  expect(error('A: b\n')).toEqual({ reply: 550, enhanced: '5.5.2' });
  expect(error('A: \0')).toEqual({ reply: 550, enhanced: '5.6.0' });
  expect(error('Received: a\r\n', { ...WIDE, hops: 0 })).toEqual({ reply: 554, enhanced: '5.4.6' });
});

it('says what the message needs of the next hop', () => {
  expect(inspectText('A: b\r\n\r\nc\r\n')).toEqual({
    headerBytes: 8,
    eightBit: false,
    utf8Header: false,
    receivedCount: 0,
    hasFinalCrlf: true,
  });
  expect(inspectText('Received: \xc3\xa4\r\n\r\nc')).toEqual({
    headerBytes: 16,
    eightBit: false,
    utf8Header: true,
    receivedCount: 1,
    hasFinalCrlf: false,
  });
  expect(inspectText('A: b\r\n\r\n\xe4\r\n')).toMatchObject({ eightBit: true, utf8Header: false });
  expect(inspectText('\r\nReceived: a\r\n')).toMatchObject({ headerBytes: 2, receivedCount: 0 });
  expect(inspectText('')).toMatchObject({ headerBytes: 0, hasFinalCrlf: true });
  expect(inspectText('A: b')).toMatchObject({ headerBytes: 4, hasFinalCrlf: false });
});

describe('bytes that line ends hang on', () => {
  it.each([
    ['a CR as the last byte', 'A: b\r'],
    ['CR CR LF', 'A: b\r\r\n\r\n'],
    ['LF CR', 'A: b\n\r\n'],
    ['a bare CR in the header', 'A: b\rC: d\r\n\r\n'],
    ['a bare LF in the body', 'A: b\r\n\r\nc\nd\r\n'],
    ['a bare LF as the first byte', '\nA: b\r\n'],
  ])('%s is refused', (_what, text) => expect(inspectText(text)).toBe('smtp.bare_newline'));
});

/** Fragments on which the state hangs, joined at random: most of these messages are broken somewhere. */
const FRAGMENTS = [
  '\r\n',
  '\r\n',
  '\r\n',
  '\r',
  '\n',
  '\0',
  'A: b',
  'Received',
  'Received: x',
  'DKIM-Signature',
  ':',
  ' ',
  '\t',
  '.',
  '\xe4',
  'x'.repeat(25),
  'Subject',
  '(c)',
];
const UNBROKEN = FRAGMENTS.filter((fragment) => !['\r', '\n', '\0'].includes(fragment));
const LINES = ['Received: y\r\n', '\r\nReceived\r\n :', 'DKIM-Signature: z\r\n', 'A: b\r\n'];
function randomMessages(count: number, fragments: string[], length: number): Buffer[] {
  const random = randomNumbers(7);
  return Array.from({ length: count }, () =>
    Buffer.from(Array.from({ length: random(length) }, () => fragments[random(fragments.length)]!).join(''), 'latin1'),
  );
}

it('gives the same result however the bytes are cut', () => {
  const random = randomNumbers(11);
  const seen = new Set<string>();
  const messages = [
    ...randomMessages(300, FRAGMENTS, 24),
    ...randomMessages(300, [...UNBROKEN, ...LINES, ...LINES, ...LINES], 20),
  ];
  for (const message of messages) {
    for (const limits of [WIDE, NARROW, { ...WIDE, headerLines: 4 }]) {
      const whole = inspect([message], limits);
      seen.add(typeof whole === 'string' ? whole : 'passed');
      for (let cut = 0; cut <= message.length; cut++)
        expect(inspect([message.subarray(0, cut), message.subarray(cut)], limits)).toEqual(whole);
      expect(
        inspect(
          [...message].map((byte) => Uint8Array.of(byte)),
          limits,
        ),
      ).toEqual(whole);
      const one = random(message.length + 1),
        two = one + random(message.length - one + 1);
      expect(
        inspect(
          [message.subarray(0, one), new Uint8Array(0), message.subarray(one, two), message.subarray(two)],
          limits,
        ),
      ).toEqual(whole);
    }
  }
  // The inputs reach every verdict, so that none is compared in name only.
  expect([...seen].sort()).toEqual([
    'mail.header_field_too_large',
    'mail.header_lines',
    'mail.header_too_large',
    'mail.line_too_long',
    'mail.loop',
    'mail.too_many_signatures',
    'passed',
    'smtp.bare_newline',
    'smtp.nul',
  ]);
});

it('sees the end of the header and the fields where mailauth sees them', () => {
  for (const random of randomMessages(3_000, [...UNBROKEN, ...LINES], 20)) {
    // The first line is a field: mailauth takes it for one whatever it looks like.
    const message = Buffer.concat([Buffer.from('From: a@a.test\r\n'), random]);
    const facts = inspect([message], {
      ...WIDE,
      headerBytes: 1e6,
      headerFieldBytes: 1e6,
      headerLines: 1e6,
      bodyLineBytes: 1e6,
      signatures: 1e6,
      hops: 1e6,
    });
    const end = message.indexOf('\r\n\r\n');
    const header = end < 0 ? message : message.subarray(0, end + 4);
    const theirs = parseHeaders(header).parsed.filter(({ key }) => key === 'received').length;
    expect(facts, JSON.stringify(message.toString('latin1'))).toMatchObject({
      headerBytes: header.length,
      receivedCount: theirs,
    });
  }
});

it('never lets a field through that mailauth sees larger than the limit', () => {
  const fragments = ['\r\n', '\r\n ', 'A: b', 'Name', ':', ' ', 'x'.repeat(12)];
  for (const random of randomMessages(3_000, fragments, 20)) {
    const message = Buffer.concat([Buffer.from('From: a\r\n'), random, Buffer.from('\r\n\r\n')]);
    if (typeof inspect([message], { ...WIDE, headerFieldBytes: 40 }) === 'string') continue;
    const header = message.subarray(0, message.indexOf('\r\n\r\n') + 4);
    for (const { line } of parseHeaders(header).parsed)
      expect(line.toString('latin1').replaceAll('\r\n', '').length).toBeLessThanOrEqual(40);
  }
});
