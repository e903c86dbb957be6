/**
 * Mailbox addresses: RFC 5321, 4.1.2 with the UTF-8 of RFC 6531, 3.3. Domains are compared and stored as
 * lower-case A-labels (RFC 5890), so that two spellings of one domain never meet two rules.
 */
import { toASCII, toUnicode } from 'tr46';
import { PermanentError } from '../errors.ts';

export interface Address {
  /** As meant, without quotes: `a b` for `"a b"@example.com`. Case is kept (RFC 5321, 2.4). */
  localPart: string;
  /** Lower-case A-label form. */
  domain: string;
}

/** RFC 5321, 4.5.3.1.1, octets. */
export const MAX_LOCAL_PART = 64;
/** RFC 5321, 4.5.3.1.2, octets. */
export const MAX_DOMAIN = 255;
/**
 * RFC 5321, 4.5.3.1.3 gives a path 256 octets with its brackets. Local parts of SRS addresses are held to
 * this alone: they carry another address inside, and a forwarder that refused its own would lose bounces.
 */
export const MAX_ADDRESS = 254;

/**
 * Reads one mailbox, without angle brackets, display name or comments. Address literals are refused: mail is
 * routed here by domain.
 * @throws PermanentError `address.invalid`
 */
export function parseAddress(text: string): Address {
  if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) throw invalid(text, 'it has a control character in it');
  if (!text.isWellFormed()) throw invalid(text, 'it is not valid Unicode');
  const at = text.lastIndexOf('@');
  if (at < 0) throw invalid(text, 'it has no "@"');
  const written = text.slice(0, at);
  if (written === '') throw invalid(text, 'nothing stands before the "@"');
  const localPart = written.startsWith('"') ? unquote(text, written) : dotString(text, written);
  const domain = parseDomain(text.slice(at + 1), text);
  const octets = Buffer.byteLength(written);
  if (octets > MAX_LOCAL_PART && !SRS_LOCAL_PART.test(localPart))
    throw invalid(text, `its local part has ${octets} octets, ${MAX_LOCAL_PART} are allowed`);
  if (octets > MAX_LOCAL_PART && octets + 1 + domain.length > MAX_ADDRESS)
    throw invalid(text, `it has more than ${MAX_ADDRESS} octets`);
  return { localPart, domain };
}

/** The address as SMTP writes it, quoted where it must be: the reverse of `parseAddress`. */
export function formatAddress({ localPart, domain }: Address): string {
  return `${DOT_STRING.test(localPart) ? localPart : `"${localPart.replace(/["\\]/g, '\\$&')}"`}@${domain}`;
}

/**
 * A domain in any spelling as a lower-case A-label, by UTS #46 with every check on.
 * @throws PermanentError `address.invalid`
 */
export function toAsciiDomain(domain: string): string {
  return parseDomain(domain, domain);
}

/** The form people read; a name that is not valid IDNA stays as it is. */
export function toUnicodeDomain(domain: string): string {
  const { domain: unicode, error } = toUnicode(domain, STRICT);
  return error ? domain : unicode;
}

/**
 * The form in which local parts are looked up in rules: NFC, lower case. RFC 5321 leaves the meaning to the
 * receiving system, which is us; nobody expects `Info@` and `info@` to differ.
 */
export function normalizeLocalPart(text: string): string {
  return text.normalize('NFC').toLowerCase().normalize('NFC');
}

/**
 * The form in which whole addresses are compared: the local part as `normalizeLocalPart`, the domain as A-label.
 * @throws PermanentError `address.invalid`
 */
export function normalizeAddress(text: string): string {
  const { localPart, domain } = parseAddress(text);
  return formatAddress({ localPart: normalizeLocalPart(localPart), domain });
}

/** Whether the address needs SMTPUTF8 (RFC 6531); a domain in U-labels can be sent as A-labels, a local part cannot. */
export function needsUtf8(address: string): boolean {
  return NON_ASCII.test(address.slice(0, Math.max(address.lastIndexOf('@'), 0)));
}

const STRICT = {
  checkBidi: true,
  checkHyphens: false,
  checkJoiners: true,
  useSTD3ASCIIRules: true,
  verifyDNSLength: true,
  transitionalProcessing: false,
};
const NON_ASCII = /[^\u0000-\u007f]/;
const SRS_LOCAL_PART = /^SRS[01][-+=]/i;
/** RFC 5321 Dot-string over RFC 5322 atext and RFC 6531 UTF8-non-ascii; no Unicode blanks, which no person could see. */
const DOT_STRING =
  /^(?:[\w!#$%&'*+/=?^`{|}~-]|(?![\p{Z}\p{Cc}])[^\u0000-\u007f])+(?:\.(?:[\w!#$%&'*+/=?^`{|}~-]|(?![\p{Z}\p{Cc}])[^\u0000-\u007f])+)*$/u;
/** RFC 5321 Quoted-string: qtextSMTP, quoted-pairSMTP, UTF8-non-ascii. */
const QUOTED_STRING = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e]|[^\u0000-\u007f])*)"$/u;

function dotString(text: string, written: string): string {
  if (DOT_STRING.test(written)) return written;
  if (/^\.|\.\.|\.$/.test(written))
    throw invalid(text, 'a dot stands at the start or end of its local part, or next to another');
  const odd = [...written].find((char) => char !== '.' && !DOT_STRING.test(char)) ?? '';
  throw invalid(text, `${JSON.stringify(odd)} may stand in a local part only between quotes`);
}

function unquote(text: string, written: string): string {
  const content = QUOTED_STRING.exec(written)?.[1];
  if (content === undefined)
    throw invalid(text, 'the quotes of its local part are not closed, or hold an unescaped quote');
  const localPart = content.replace(/\\(.)/gu, '$1');
  if (localPart === '') throw invalid(text, 'its local part is empty');
  return localPart;
}

function parseDomain(domain: string, text: string): string {
  if (domain === '') throw invalid(text, 'it has no domain');
  if (domain.startsWith('[')) throw invalid(text, 'an address literal is not a domain');
  // What UTS #46 leaves as it is but for its case, and has nothing to say against: nearly every domain there is.
  if (isPlainDomain(domain)) return domain.toLowerCase();
  const ascii = toASCII(domain, STRICT);
  if (ascii === null || ascii.length > MAX_DOMAIN)
    throw invalid(text, `${JSON.stringify(domain)} is not a domain name`);
  const labels = ascii.split('.');
  if (labels.some((label) => label.startsWith('-') || label.endsWith('-')))
    throw invalid(text, 'a label of its domain starts or ends with a hyphen');
  // RFC 3696, 2: no top-level domain is a number, so this is an IPv4 address, or half of one.
  if (/^\d+$/.test(labels.at(-1)!)) throw invalid(text, 'an IP address is not a domain');
  // UTS #46 maps look-alikes (full-width letters, ideographic stops) before it encodes; IDNA2008 has no such
  // mapping, so another program would read another domain. What is not already a U-label is refused.
  const asWritten = domain.split('.');
  asWritten.forEach((label, index) => {
    if (NON_ASCII.test(label) && label.normalize('NFC').toLowerCase() !== toUnicode(labels[index] ?? '', STRICT).domain)
      throw invalid(text, `${JSON.stringify(label)} holds characters that internationalised domain names do not have`);
  });
  return ascii;
}

/** Labels of letters, digits and single inner hyphens, none of which is an A-label; the last one is not a number. */
function isPlainDomain(domain: string): boolean {
  if (domain.length > MAX_PLAIN_DOMAIN || !/^[a-z0-9.-]+$/i.test(domain) || domain.includes('--')) return false;
  const labels = domain.split('.');
  if (/^\d+$/.test(labels.at(-1) ?? '')) return false;
  return labels.every((label) => label !== '' && label.length <= 63 && !label.startsWith('-') && !label.endsWith('-'));
}

/** RFC 1035, 2.3.4: 255 octets with the length of each label and the root. */
const MAX_PLAIN_DOMAIN = 253;

function invalid(text: string, why: string): PermanentError {
  return new PermanentError({
    code: 'address.invalid',
    message: `${JSON.stringify(text.slice(0, 100).toWellFormed())} is not a mail address: ${why}.`,
    fix: 'Write it as name@example.com (RFC 5321, 4.1.2).',
    details: { why },
  });
}
