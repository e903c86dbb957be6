/**
 * What is fuzzed: the reader of DATA with the guard behind it, and the SRS decoder. Each target takes one input and
 * throws when something that must always hold does not. The session has a file of its own.
 */
import assert from 'node:assert/strict';
import { createDataReader } from '../../../protocols/mail/data-reader.ts';
import {
  decodeHeaderText,
  fieldBody,
  foldField,
  removeAuthenticationResults,
  safeText,
  splitHeader,
} from '../../../protocols/mail/header.ts';
import { createMessageGuard, type MessageFacts, type MessageLimits } from '../../../protocols/mail/limits.ts';
import { takenBefore } from '../../../protocols/mail/loop.ts';
import { parseReply } from '../../../protocols/mail/reply.ts';
import { formatAddress, MAX_ADDRESS, parseAddress } from '../../../protocols/mail/address.ts';
import { isSrsAddress, reverseSender, rewriteSender } from '../../../protocols/mail/srs.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { byTheBook } from '../../support/by-the-book.ts';
import { cut } from './inputs.ts';
import seeds from './seeds.json' with { type: 'json' };

export interface Target {
  name: string;
  /** Texts of one byte a character: what has failed once, and where to begin. */
  seeds: string[];
  tokens: string[];
  /** @throws when something does not hold */
  attempt(input: string, random: (limit: number) => number): void | Promise<void>;
}

const HOST = 'mx.own.test';
const LIMITS: MessageLimits = Configuration.parse({}).mail.limits;
/** Nothing here may take this long, whatever the input: a quadratic reader shows at once. */
const CEILING_MS = 5_000;

const MESSAGE_TOKENS = [
  '\r\n',
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  '\0',
  '.',
  '\r\n.',
  '\r\n..',
  '\r\n.\r\n',
  '\n.\n',
  '\r.\r',
  ':',
  ' ',
  '\t',
  ';',
  '(',
  ')',
  '"',
  '\\',
  '<',
  '>',
  '=',
  ',',
  'Received',
  'Received: from a by mx.own.test for <b@own.test>; now',
  'DKIM-Signature: v=1; a=rsa-sha256; ',
  'ARC-Seal: i=1; ',
  'Authentication-Results: mx.own.test; ',
  'Delivered-To: ',
  'From: a@a.test',
  '=?utf-8?q?a=0D=0A?=',
  '=?x?b?',
  '\xff',
  '\xc3\xa4',
];

export const reader: Target = {
  name: 'reader',
  seeds: seeds.reader,
  tokens: MESSAGE_TOKENS,
  attempt(input, random) {
    const bytes = Buffer.from(input, 'latin1');
    const began = performance.now();
    const whole = readAll([bytes]);
    const pieces = cut(random, bytes);
    assert.deepEqual(readAll(pieces), whole, 'the same message, however it is cut');
    const book = byTheBook(input);
    assert.equal(whole.rest, book.rest, 'the end of the message by the book');
    if (book.rest !== null) assert.equal(whole.data, book.data, 'the message by the book');

    const message = Buffer.from(whole.data, 'latin1');
    const verdict = judge([message]);
    assert.deepEqual(judge(cut(random, message)), verdict, 'the same verdict, however it is cut');
    if (typeof verdict === 'object') checkHeader(message, verdict);
    assert.ok(performance.now() - began < CEILING_MS, `${input.length} bytes took ${performance.now() - began} ms`);
  },
};

function readAll(chunks: Buffer[]): { data: string; rest: string | null } {
  const dataReader = createDataReader();
  const parts: Buffer[] = [];
  for (const [index, chunk] of chunks.entries()) {
    const { data, rest } = dataReader.push(chunk);
    parts.push(data);
    if (rest === null) continue;
    const after = Buffer.concat([rest, ...chunks.slice(index + 1)]);
    return { data: Buffer.concat(parts).toString('latin1'), rest: after.toString('latin1') };
  }
  return { data: Buffer.concat(parts).toString('latin1'), rest: null };
}

/** The facts, or the code of the refusal. */
function judge(chunks: Buffer[]): MessageFacts | string {
  const guard = createMessageGuard(LIMITS);
  try {
    for (const chunk of chunks) guard.push(chunk);
    return guard.end();
  } catch (thrown) {
    assert.ok(thrown instanceof PermanentError, `a refusal and not ${String(thrown)}`);
    assert.equal(typeof thrown.details['reply'], 'number', 'a refusal says what to answer');
    return thrown.code;
  }
}

/** What every later reader of an accepted message relies on. */
function checkHeader(message: Buffer, { headerBytes }: MessageFacts): void {
  const text = message.toString('latin1');
  assert.doesNotMatch(text, /\0|(?<!\r)\n|\r(?!\n)/, 'an accepted message has CRLF alone and no NUL');
  assert.ok(headerBytes <= LIMITS.headerBytes);
  const { fields, bodyOffset } = splitHeader(message);
  assert.equal(bodyOffset, headerBytes, 'the header ends where the guard saw its end');
  const joined = Buffer.concat(fields.map(({ raw }) => raw));
  assert.ok(message.subarray(0, bodyOffset).indexOf(joined) === 0, 'the fields are the header, byte for byte');
  for (const { raw } of fields) {
    assert.ok(raw.length <= LIMITS.headerFieldBytes + 2 * LIMITS.headerLines, 'no field over the limit');
    const body = fieldBody(raw);
    const shown = safeText(decodeHeaderText(body), 200);
    assert.doesNotMatch(shown, /[\p{Cc}\u2028\u2029]/u, 'what is shown is one line');
    const written = foldField('X-Again', shown);
    assert.equal(splitHeader(Buffer.from(written)).fields.length, 1, 'what is written is one field');
    for (const line of written.split('\r\n')) assert.ok(Buffer.byteLength(line) <= 998, 'no line over 998 octets');
  }
  const kept = removeAuthenticationResults(fields, HOST);
  for (const { name, raw } of kept)
    if (name.toLowerCase() === 'authentication-results')
      assert.doesNotMatch(fieldBody(raw), /^"?mx\.own\.test"?(?:\s+\d+)?\s*;/i, 'no forged result of ours stays');
  takenBefore(
    fields.map(({ name, raw }) => ({ name: name.toLowerCase(), body: fieldBody(raw) })),
    HOST,
  );
  try {
    assert.doesNotMatch(parseReply(text.slice(0, 4_000)).text, /[\r\n\0]/, 'a reply is one line');
  } catch (thrown) {
    if (!(thrown instanceof TemporaryError)) throw thrown;
  }
}

const SRS = { secret: 'tops3cr3t', now: Date.UTC(2026, 10, 24), maxAgeDays: 21 };
const ALIAS = 'own.test';

export const srs: Target = {
  name: 'srs',
  seeds: seeds.srs,
  tokens: [
    'SRS0',
    'SRS1',
    'SRS0=',
    'SRS1=',
    'srs0+',
    'SRS0-',
    '=',
    '==',
    '+',
    '-',
    '@',
    '"',
    '\\',
    '.',
    ' ',
    '\0',
    '\r\n',
    '<',
    '>',
    '%',
    '@own.test',
    '@example.org',
    'alice',
    'AAAAAAAA',
    'TT',
    'xn--',
    '\u00e4',
    'example.org=alice',
  ],
  attempt(input, random) {
    const made = outcome(() => rewriteSender(input, { ...SRS, alias: ALIAS }), ['address.invalid']);
    // A sender near 254 octets leaves under a longer address, which nobody takes a bounce for; the mail itself arrives.
    if (made !== null && input !== '' && Buffer.byteLength(made) <= MAX_ADDRESS) {
      const { domain, localPart } = parseAddress(made);
      assert.equal(domain, ALIAS, 'what leaves is an address of ours');
      assert.doesNotMatch(made, /\p{Cc}/u, 'and ends no command');
      if (isSrsAddress(made) && !sameDomain(input, ALIAS)) {
        const back = outcome(() => reverseSender(made, SRS), ['srs.invalid', 'srs.expired']);
        if (/^SRS0/i.test(localPart) && back !== null)
          assert.equal(back, formatAddress(parseAddress(input)), 'what was rewritten comes back');
        // A change anywhere but in the case of letters makes another address, which is not ours.
        const at = random(made.length - ALIAS.length - 1);
        const changed = made.slice(0, at) + (made[at] === 'x' ? 'y' : 'x') + made.slice(at + 1);
        if (
          changed.toLowerCase() !== made.toLowerCase() &&
          isSrsAddress(changed) &&
          parses(changed) &&
          parseAddress(changed).localPart.toLowerCase() !== localPart.toLowerCase()
        )
          assert.equal(
            outcome(() => reverseSender(changed, SRS), ['srs.invalid', 'srs.expired']),
            null,
            `${changed} was not made here`,
          );
      }
    }
    const reversed = outcome(() => reverseSender(input, SRS), ['srs.invalid', 'srs.expired']);
    // The secret is not in the seeds, so nobody can have made it.
    assert.equal(reversed, null, 'nothing is taken back that was not made here');
  },
};

/** The result, or null for a refusal with one of the codes. */
function outcome(act: () => string, codes: string[]): string | null {
  try {
    return act();
  } catch (thrown) {
    assert.ok(thrown instanceof PermanentError && codes.includes(thrown.code), `${String(thrown)} is no refusal`);
    return null;
  }
}

const parses = (address: string): boolean =>
  outcome(() => formatAddress(parseAddress(address)), ['address.invalid']) !== null;
const sameDomain = (address: string, domain: string): boolean =>
  parses(address) && parseAddress(address).domain === domain;
