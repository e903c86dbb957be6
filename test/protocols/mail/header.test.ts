import { describe, expect, it } from 'vitest';
import { createRequire } from 'node:module';
import {
  decodeHeaderText,
  fieldBody,
  foldField,
  formatDate,
  removeAuthenticationResults,
  safeText,
  splitHeader,
} from '../../../protocols/mail/header.ts';
import { randomNumbers } from '../random.ts';

const { parseHeaders } = createRequire(import.meta.url)('mailauth/lib/tools') as {
  parseHeaders(header: Buffer): { parsed: { key: string; line: Buffer }[] };
};
const split = (text: string) => splitHeader(Buffer.from(text, 'latin1'));

describe('splitting', () => {
  it('keeps every byte: the raws are the header section', () => {
    const { fields, bodyOffset } = split('From: a\r\nSubject: b\r\n c\r\nTo : d\r\n\r\nX: body\r\n');
    expect(fields.map(({ name, raw }) => [name, raw.toString()])).toEqual([
      ['From', 'From: a\r\n'],
      ['Subject', 'Subject: b\r\n c\r\n'],
      ['To', 'To : d\r\n'],
    ]);
    expect(bodyOffset).toBe(35);
  });

  it('an empty first line ends the header (RFC 5322, 2.1)', () => {
    expect(split('\r\nFrom: a\r\n')).toEqual({ fields: [], bodyOffset: 2 });
  });

  it('a header without a body ends with the input', () => {
    expect(split('From: a\r\nTo: b').fields.map(({ raw }) => raw.toString())).toEqual(['From: a\r\n', 'To: b']);
    expect(split('From: a').bodyOffset).toBe(7);
    expect(split('')).toEqual({ fields: [], bodyOffset: 0 });
  });

  it('finds the fields that mailauth finds, whatever the lines look like', () => {
    const fragments = [
      '\r\n',
      '\r\n',
      'A: b',
      'Name',
      'Name',
      ':',
      ' ',
      '\t',
      '\xa0',
      '\xc3\xa4',
      '(c)',
      'x=y',
      '\r\nReceived\r\n :',
      'Name\r\n',
      'To: c\r\n',
    ];
    const random = randomNumbers(3);
    for (let round = 0; round < 5_000; round++) {
      const text = `From: a@a.test\r\n${Array.from({ length: random(16) }, () => fragments[random(fragments.length)]).join('')}`;
      const { fields, bodyOffset } = split(text);
      const header = text.slice(0, bodyOffset);
      const theirs = parseHeaders(Buffer.from(header, 'latin1')).parsed.map(({ key, line }) => [
        key,
        line.toString('latin1'),
      ]);
      const ours = fields.map(({ name, raw }) => [name.toLowerCase(), raw.toString('latin1').replace(/\r\n$/, '')]);
      expect(ours, JSON.stringify(text)).toEqual(theirs);
      const joined = Buffer.concat(fields.map(({ raw }) => raw)).toString('latin1');
      expect(joined === header || `${joined}\r\n` === header).toBe(true);
    }
  });
});

it('unfolds the body of a field', () => {
  expect(fieldBody(Buffer.from('Subject: a\r\n  b:\r\n\tc \r\n'))).toBe('a  b:\tc');
});

describe('forged Authentication-Results (RFC 8601, 5)', () => {
  const left = (...values: string[]) => {
    const { fields } = split(`From: a\r\n${values.map((value) => `Authentication-Results:${value}\r\n`).join('')}\r\n`);
    return removeAuthenticationResults(fields, 'mx.fwd.test')
      .map(({ raw }) =>
        raw
          .toString()
          .replace(/^[^:]*:/, '')
          .trimEnd(),
      )
      .slice(1);
  };
  it.each([
    ['ours', ' mx.fwd.test; spf=pass'],
    ['ours in capitals', ' MX.Fwd.Test; spf=pass'],
    ['ours folded to the next line', '\r\n mx.fwd.test; spf=pass'],
    ['ours behind a comment', ' (x (y) \\) mx.other) (z) mx.fwd.test; spf=pass'],
    ['ours in quotes', ' "mx.fwd.test"; spf=pass'],
    ['ours with escapes in quotes', ' "mx.\\fwd.test"; spf=pass'],
    ['ours with a version', ' mx.fwd.test 1; spf=pass'],
    ['ours, a comment right behind it', ' mx.fwd.test(c); spf=pass'],
    ['one that cannot be read', ' ; spf=pass'],
    ['one whose comment never ends', ' (mx.fwd.test; spf=pass'],
  ])('%s goes', (_what, value) => expect(left(value)).toEqual([]));

  it('others stay, and so do other fields', () => {
    const others = [' mx.other.test; spf=pass', ' (mx.fwd.test) mx.other.test; none', ' mx.fwd.test.evil.test; none'];
    expect(left(...others)).toEqual(others);
    const { fields } = split('ARC-Authentication-Results: i=1; mx.fwd.test; none\r\nX: mx.fwd.test\r\n\r\n');
    expect(removeAuthenticationResults(fields, 'mx.fwd.test')).toEqual(fields);
  });

  it('a name with blanks, or in capitals, hides nothing', () => {
    const { fields } = split(
      'AUTHENTICATION-RESULTS : mx.fwd.test; spf=pass\r\nauthentication-results\r\n : mx.fwd.test; dkim=pass\r\n\r\n',
    );
    expect(removeAuthenticationResults(fields, 'mx.fwd.test')).toEqual([]);
    expect(removeAuthenticationResults(fields, 'MX.Fwd.Test')).toEqual([]);
  });
});

describe('writing', () => {
  it('folds at blanks to 78 characters and loses none', () => {
    const value = Array.from({ length: 60 }, (_, index) => `word${index}`).join(' ');
    const folded = foldField('Subject', value);
    expect(folded.endsWith('\r\n')).toBe(true);
    for (const line of folded.split('\r\n')) expect(line.length).toBeLessThanOrEqual(78);
    expect(fieldBody(Buffer.from(folded))).toBe(value);
  });

  it('keeps every line under 998 octets, even one without blanks', () => {
    for (const value of ['x'.repeat(5_000), 'é'.repeat(3_000), `a ${'é'.repeat(70)} ${'x'.repeat(897)}`]) {
      for (const line of foldField('X-Long', value).split('\r\n'))
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
    }
  });

  it('never starts another field', () => {
    const folded = foldField('Subject', safeText('a\r\nBcc: victim@x\r\n\r\nbody\0\u2028\u0085', 200));
    expect(split(folded).fields).toHaveLength(1);
    expect(folded).toBe('Subject: a Bcc: victim@x body\r\n');
    // Even text that nobody made safe is folded, never broken.
    expect(split(foldField('Subject', 'a\r\nBcc: b')).fields).toHaveLength(1);
  });

  it('cuts between characters', () => {
    expect(safeText('abcdef', 4)).toBe('abc…');
    expect(safeText('😀😀😀', 4).isWellFormed()).toBe(true);
    expect(safeText('a\ud800b', 9).isWellFormed()).toBe(true);
  });

  it('writes dates as RFC 5322, 3.3', () => {
    expect(formatDate(new Date(Date.UTC(1997, 10, 21, 15, 55, 6)))).toBe('Fri, 21 Nov 1997 15:55:06 +0000');
  });
});

// RFC 2047, 8: the examples and what they display.
it.each([
  ['=?ISO-8859-1?Q?a?=', 'a'],
  ['=?ISO-8859-1?Q?a?= b', 'a b'],
  ['=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=', 'ab'],
  ['=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-1?Q?b?=', 'ab'],
  ['=?ISO-8859-1?Q?a_b?=', 'a b'],
  ['=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>', 'Keith Moore <moore@cs.utk.edu>'],
  ['=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=', 'Keld Jørn Simonsen'],
  ['=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=', 'If you can read this yo'],
  ['=?utf-8*en?q?a?=', 'a'],
  ['=?no-such-charset?Q?a?=', '=?no-such-charset?Q?a?='],
])('decodes %s', (encoded, text) => expect(decodeHeaderText(encoded)).toBe(text));
