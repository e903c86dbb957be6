import { describe, expect, it } from 'vitest';
import {
  formatAddress,
  needsUtf8,
  normalizeAddress,
  normalizeLocalPart,
  parseAddress,
  toUnicodeDomain,
} from '../../../protocols/mail/address.ts';
import { permanentCode } from '../errors.ts';

describe('what is no address (RFC 5321, 4.1.2)', () => {
  it.each([
    ['no at sign', 'alice'],
    ['nothing before the at sign', '@example.org'],
    ['nothing behind it', 'alice@'],
    ['a line feed', 'alice@example.org\nRCPT TO:<x@y>'],
    ['a carriage return in quotes', '"a\rb"@example.org'],
    ['a NUL', 'a@example.com\0.evil.test'],
    ['a C1 control', 'a\u0085b@example.org'],
    ['a lone surrogate', 'a\ud800@example.org'],
    ['two dots', 'a..b@example.org'],
    ['a dot first', '.a@example.org'],
    ['a dot last', 'a.@example.org'],
    ['a blank without quotes', 'a b@example.org'],
    ['a no-break space', 'a\u00a0b@example.org'],
    ['a line separator', 'a\u2028b@example.org'],
    ['a bracket', 'a<b@example.org'],
    ['two at signs', 'a@b@example.org'],
    ['a quote that is not closed', '"a@example.org'],
    ['a quote inside quotes', '"a"b"@example.org'],
    ['empty quotes', '""@example.org'],
    ['quotes in the middle', 'a"b"@example.org'],
    ['angle brackets around it', '<a@example.org>'],
    ['an address literal', 'a@[127.0.0.1]'],
    ['an IPv6 literal', 'a@[IPv6:::1]'],
    ['a bare IPv4 address', 'a@127.0.0.1'],
    ['half an IPv4 address, which url.domainToASCII completes', 'a@127.1'],
    ['an empty label', 'a@example..org'],
    ['a final dot', 'a@example.org.'],
    ['an underscore in the domain', 'a@ex_ample.org'],
    ['a hyphen first in a label', 'a@-example.org'],
    ['a hyphen last in a label', 'a@example-.org'],
    ['a label of 64 octets', `a@${'x'.repeat(64)}.org`],
    ['a domain over 253 characters', `a@${'abcdefgh.'.repeat(29)}org`],
    ['a local part of 65 octets', `${'x'.repeat(65)}@example.org`],
    ['a local part of 33 characters and 66 octets', `${'é'.repeat(33)}@example.org`],
    ['Punycode that decodes to nothing valid', 'a@xn--a.org'],
    ['a label of two directions (RFC 5893)', 'a@\u05d0a.example'],
    ['a full-width letter, which UTS #46 would map', 'a@ｅxample.org'],
    ['an ideographic full stop, which UTS #46 would map', 'a@example。org'],
    ['a soft hyphen, which UTS #46 would drop', 'a@exam\u00adple.org'],
  ])('%s', (_what, text) => {
    expect(permanentCode(() => parseAddress(text))).toBe('address.invalid');
  });
});

describe('what is one', () => {
  it.each([
    ['alice@example.org', 'alice', 'example.org'],
    ['Alice@EXAMPLE.Org', 'Alice', 'example.org'],
    ["!#$%&'*+-/=?^_`{|}~.a@example.org", "!#$%&'*+-/=?^_`{|}~.a", 'example.org'],
    ['"a b"@example.org', 'a b', 'example.org'],
    ['"a\\"@b\\\\"@example.org', 'a"@b\\', 'example.org'],
    ['"alice"@example.org', 'alice', 'example.org'],
    ['postmaster@localhost', 'postmaster', 'localhost'],
    [`${'x'.repeat(64)}@example.org`, 'x'.repeat(64), 'example.org'],
    ['a@r3---sn.example', 'a', 'r3---sn.example'],
    // RFC 3492, 7.1 and the IDN test domains of IANA.
    ['用户@例え.テスト', '用户', 'xn--r8jz45g.xn--zckzah'],
    ['a@bücher.example', 'a', 'xn--bcher-kva.example'],
    ['a@BÜCHER.example', 'a', 'xn--bcher-kva.example'],
    ['a@XN--Bcher-KVA.example', 'a', 'xn--bcher-kva.example'],
    // UTS #46 without transitional processing keeps the sharp s.
    ['a@straße.example', 'a', 'xn--strae-oqa.example'],
  ])('%s', (text, localPart, domain) => {
    expect(parseAddress(text)).toEqual({ localPart, domain });
  });

  it('keeps long local parts of SRS, up to the length of a path', () => {
    const long = `SRS0=abcdefgh=2W=${'sub.'.repeat(20)}example.org=alice@fwd.test`;
    expect(parseAddress(long).localPart.length).toBeGreaterThan(64);
    expect(permanentCode(() => parseAddress(`SRS0=abcdefgh=2W=${'sub.'.repeat(60)}example.org=alice@fwd.test`))).toBe(
      'address.invalid',
    );
  });
});

it.each([
  'alice@example.org',
  '"a b"@example.org',
  '"a\\"@b\\\\"@example.org',
  '用户@xn--r8jz45g.xn--zckzah',
  '"."@example.org',
])('writes %s as it was read', (text) => expect(formatAddress(parseAddress(text))).toBe(text));

it('finds one rule for every spelling of a local part', () => {
  expect(normalizeLocalPart('INFO')).toBe('info');
  // U+00E9 and e with U+0301 are canonically equal (UAX #15).
  expect(normalizeLocalPart('Jose\u0301')).toBe(normalizeLocalPart('JOS\u00c9'));
});

it('compares whole addresses without case, in one spelling of the domain, quoted only where it must be', () => {
  expect(normalizeAddress('Info@B\u00fccher.Example')).toBe('info@xn--bcher-kva.example');
  expect(normalizeAddress('"info"@example.org')).toBe('info@example.org');
  expect(normalizeAddress('"a b"@example.org')).toBe('"a b"@example.org');
  expect(permanentCode(() => normalizeAddress('example.org'))).toBe('address.invalid');
});

it('asks for SMTPUTF8 for the local part only: a domain has its A-labels', () => {
  expect(needsUtf8('jösé@example.org')).toBe(true);
  expect(needsUtf8('a@bücher.example')).toBe(false);
  expect(needsUtf8('')).toBe(false);
});

it('shows people the Unicode form of a domain', () => {
  expect(toUnicodeDomain('xn--bcher-kva.example')).toBe('bücher.example');
  expect(toUnicodeDomain('xn--a.example')).toBe('xn--a.example');
});
