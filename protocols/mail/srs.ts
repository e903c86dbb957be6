/**
 * The Sender Rewriting Scheme (Wong and Shevek, "SRS: Sender Rewriting Scheme", 2003), in the form of Mail::SRS 0.31
 * and postsrsd, with a stronger MAC: a forwarder puts its own domain into the envelope sender, so that SPF passes,
 * and finds the original sender again when a bounce comes back.
 *
 *     alice@example.org  ->  SRS0=HHHHHHHH=TT=example.org=alice@fwd.test
 *     SRS0=...@first     ->  SRS1=HHHHHHHH=first==...@second
 *
 * A rewritten local part may be longer than the 64 octets of RFC 5321, 4.5.3.1.1: it holds a whole address.
 * Nearly all servers take it, the alternative is no delivery at all, and postsrsd does the same. The whole address
 * stays within the path of 4.5.3.1.3: a longer one could not come back.
 */
import { createHmac, timingSafeEqual, type KeyObject } from 'node:crypto';
import { PermanentError } from '../errors.ts';
import { formatAddress, parseAddress } from './address.ts';

export interface SrsOptions {
  /** Key of the HMAC; with a KeyObject it takes a sixth of the time (measured). */
  secret: Buffer | string | KeyObject;
  /** Milliseconds since 1970. */
  now: number;
  /** Days that an address takes bounces back. */
  maxAgeDays: number;
  /** Base64 characters of MAC in what we make. @default HASH_LENGTH */
  hashLength?: number;
  /** Fewest base64 characters of MAC that are believed. @default HASH_LENGTH */
  hashLengthMin?: number;
}

/**
 * Compared without regard to case, since some servers lower-case local parts, a character is worth about 5.2
 * bits: 8 make 41 bits, out of reach for guessing over SMTP. The 4 of the reference (21 bits) are not, and
 * whoever guesses one sends mail through us to anyone.
 */
export const HASH_LENGTH = 8;

/**
 * Octets of an address that we make. A path of 256 with its brackets has room for 254; some servers, what stands at our
 * own door among them, take one less.
 */
export const MAX_REWRITTEN = 253;

/** Base64 characters of a whole HMAC-SHA1 without padding. */
const WHOLE_HASH = 27;

/**
 * The envelope sender for a message that `options.alias` forwards. The null sender stays null, and a sender of
 * that same domain stays as it is.
 * @throws PermanentError `address.invalid`, `srs.too_long`
 */
export function rewriteSender(sender: string, options: SrsOptions & { alias: string }): string {
  if (sender === '') return '';
  const { localPart, domain } = parseAddress(sender);
  const alias = options.alias.toLowerCase();
  if (domain === alias) return sender;
  const made = formatAddress({ localPart: rewriteLocalPart(localPart, domain, options), domain: alias });
  if (Buffer.byteLength(made) > MAX_REWRITTEN) throw tooLong(sender, made);
  return made;
}

function rewriteLocalPart(localPart: string, domain: string, options: SrsOptions): string {
  const hash = (...parts: string[]): string => mac(options.secret, parts, options.hashLength ?? HASH_LENGTH);
  const second = splitAt(SRS1.exec(localPart)?.[1], 3);
  // A third hop keeps the first forwarder and answers for it with a MAC of its own: addresses never grow past SRS1.
  if (second) return `SRS1=${hash(second[1]!, second[2]!)}=${second[1]}=${second[2]}`;
  if (SRS0.test(localPart)) {
    const rest = localPart.slice('SRS0'.length);
    return `SRS1=${hash(domain, rest)}=${domain}=${rest}`;
  }
  const stamp = encodeDay(options.now);
  return `SRS0=${hash(stamp, domain, localPart)}=${stamp}=${domain}=${localPart}`;
}

/**
 * The address behind an SRS address of ours: the original sender of SRS0, the first forwarder's SRS0 of SRS1.
 * Whether the domain is ours is the caller's question.
 * @throws PermanentError `srs.invalid` (not SRS, MAC wrong or too short), `srs.expired`
 */
export function reverseSender(address: string, options: SrsOptions): string {
  const { localPart } = parseSrs(address);
  const second = splitAt(SRS1.exec(localPart)?.[1], 3);
  if (second) {
    const [hash, host, rest] = second as [string, string, string];
    checkMac(address, hash, [host, rest], options);
    // SRS1 has no date of its own: the first forwarder checks the one inside.
    return readdress(address, `SRS0${rest}`, host);
  }
  const first = splitAt(SRS0.exec(localPart)?.[1], 4);
  if (!first) throw invalid(address, 'it is not an SRS address');
  const [hash, stamp, host, user] = first as [string, string, string, string];
  checkMac(address, hash, [stamp, host, user], options);
  if (ageInDays(stamp, options.now) > options.maxAgeDays) {
    throw new PermanentError({
      code: 'srs.expired',
      message: `${JSON.stringify(address)} was made more than ${Math.floor(options.maxAgeDays)} days ago.`,
      fix: 'Nothing is owed to a bounce this late; raise mail.srsMaxAge if they are wanted.',
    });
  }
  return readdress(address, user, host);
}

/** Whether the local part has the form of SRS0 or SRS1; says nothing about its MAC. */
export function isSrsAddress(address: string): boolean {
  const localPart = address.slice(0, Math.max(address.lastIndexOf('@'), 0)).replace(/^"/, '');
  return SRS0.test(localPart) || SRS1.test(localPart);
}

const SRS0 = /^SRS0[-+=](.*)$/isu;
const SRS1 = /^SRS1[-+=](.*)$/isu;

function parseSrs(address: string): { localPart: string } {
  try {
    return parseAddress(address);
  } catch {
    throw invalid(address, 'it is not a mail address');
  }
}

/** `count` parts at `=`, the last one with all that remains; undefined when there are fewer. */
function splitAt(text: string | undefined, count: number): string[] | undefined {
  const parts = text?.split('=') ?? [];
  if (parts.length < count) return undefined;
  return [...parts.slice(0, count - 1), parts.slice(count - 1).join('=')];
}

/**
 * `length` base64 characters over the lower-cased parts, so that a server that lower-cases local parts breaks
 * nothing. The short MACs of the reference join the parts with nothing between: the owner of `example.dev` could
 * turn an address for `ictim@example.dev` into one for `victim@example.de`. Ours keep the parts apart.
 */
function mac(secret: SrsOptions['secret'], parts: string[], length: number): string {
  const text = parts.join(length < HASH_LENGTH ? '' : '=').toLowerCase();
  return createHmac('sha1', secret).update(text).digest('base64').slice(0, Math.min(length, WHOLE_HASH));
}

function checkMac(address: string, hash: string, parts: string[], options: SrsOptions): void {
  if (hash.length < (options.hashLengthMin ?? HASH_LENGTH))
    throw invalid(address, 'its MAC is too short to be one of ours');
  const expected = Buffer.from(mac(options.secret, parts, hash.length).toLowerCase());
  const given = Buffer.from(hash.toLowerCase());
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw invalid(address, 'its MAC is wrong');
}

function readdress(address: string, localPart: string, host: string): string {
  try {
    return formatAddress(parseAddress(formatAddress({ localPart, domain: host })));
  } catch {
    throw invalid(address, 'what it carries is not a mail address');
  }
}

const DAY = 86_400_000;
/** Two base32 digits of days: they come around every 1024 days. */
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const DAYS = 1_024;

function encodeDay(now: number): string {
  const day = Math.floor(now / DAY) % DAYS;
  return DIGITS[day >> 5]! + DIGITS[day & 31]!;
}

/** A date in the future counts as one of the round before, as in the reference: it is out of age. */
function ageInDays(stamp: string, now: number): number {
  const [high, low] = [...stamp.toUpperCase()].map((digit) => DIGITS.indexOf(digit));
  if (stamp.length !== 2 || high === undefined || low === undefined || high < 0 || low < 0) return Infinity;
  return (Math.floor(now / DAY) - (high * 32 + low) + 2 * DAYS) % DAYS;
}

function tooLong(sender: string, made: string): PermanentError {
  const octets = Buffer.byteLength(made);
  return new PermanentError({
    code: 'srs.too_long',
    message: `${JSON.stringify(sender.slice(0, 100))} rewritten would have ${octets} octets, ${MAX_REWRITTEN} are allowed.`,
    fix: 'Leave a sender address of this domain instead (RFC 5321, 4.5.3.1.3).',
    details: { octets },
  });
}

function invalid(address: string, why: string): PermanentError {
  return new PermanentError({
    code: 'srs.invalid',
    message: `${JSON.stringify(address.slice(0, 100))} is not an address that we made: ${why}.`,
    fix: 'Only mail to an address that this installation rewrote is taken back; check that the secret was not changed.',
  });
}
