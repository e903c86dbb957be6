import { expect, it } from 'vitest';
import { enhancedFor, formatReply, isPermanent, MAX_REPLY_TEXT, parseReply } from '../../../protocols/mail/reply.ts';
import { TemporaryError } from '../../../protocols/errors.ts';
import { errorOf } from '../errors.ts';

it.each([
  ['an answer without a code', 'hello'],
  ['nothing', ''],
  ['a code of another protocol', '600 x'],
  ['a code of four digits', '5500 x'],
])('%s is a trouble of the moment', (_what, text) => {
  const error = errorOf(() => parseReply(text));
  expect(error).toBeInstanceOf(TemporaryError);
  expect(error.code).toBe('smtp.bad_reply');
});

it.each([
  ['550 5.1.1 No such user', { code: 550, enhanced: '5.1.1', text: 'No such user' }],
  ['250 OK', { code: 250, enhanced: null, text: 'OK' }],
  ['250', { code: 250, enhanced: null, text: '' }],
  ['550 5.1.1', { code: 550, enhanced: '5.1.1', text: '' }],
  // RFC 2034, 4: the code stands on each line.
  ['550-5.7.26 one\r\n550-5.7.26  two\r\n550 5.7.26 three', { code: 550, enhanced: '5.7.26', text: 'one two three' }],
  ['550-one\n550 5.7.1 two', { code: 550, enhanced: '5.7.1', text: 'one two' }],
  // RFC 3463, 2: class and reply must agree; what contradicts is text.
  ['450 5.7.1 greylisted', { code: 450, enhanced: null, text: '5.7.1 greylisted' }],
  ['554 1.2.3.4 is listed', { code: 554, enhanced: null, text: '1.2.3.4 is listed' }],
  ['554 5.6.7.8 is listed', { code: 554, enhanced: null, text: '5.6.7.8 is listed' }],
])('reads %j', (text, reply) => expect(parseReply(text)).toEqual(reply));

it('keeps a stranger text short and on one line', () => {
  const reply = parseReply(`550 a\u0000b\u2028c\rd ${'x'.repeat(5_000)}`);
  expect(reply.text).toHaveLength(MAX_REPLY_TEXT);
  expect(reply.text).not.toMatch(/[\u0000-\u001f\u2028]/);
  expect(formatReply({ code: 550, enhanced: null, text: 'a\r\n250 b' })).toBe('550 a 250 b');
});

it('writes what it read', () => {
  expect(formatReply(parseReply('550 5.1.1 No such user'))).toBe('550 5.1.1 No such user');
  expect(formatReply(parseReply('250'))).toBe('250');
});

it('tells 5yz from 4yz', () => {
  expect(isPermanent(parseReply('550 x'))).toBe(true);
  expect(isPermanent(parseReply('450 x'))).toBe(false);
});

it('gives a bare code its enhanced one', () => {
  // RFC 3463, 3: the examples given there with each code.
  expect(enhancedFor(452)).toBe('4.3.1');
  expect(enhancedFor(553)).toBe('5.1.3');
  expect(enhancedFor(550)).toBe('5.0.0');
  expect(enhancedFor(250)).toBe('2.0.0');
});
