/** A mailbox as people write it: an address, with or without a display name (RFC 5322, 3.4; RFC 6532, 3.2). */
import { PermanentError } from '../errors.ts';
import { formatAddress, parseAddress, type Address } from './address.ts';

export interface Mailbox {
  /** Display name without quotes; '' for none. */
  name: string;
  address: Address;
}

/**
 * Reads `alice@example.com`, `Alice <alice@example.com>` or `"Alice, Ltd." <alice@example.com>`: one mailbox, neither
 * a list nor a group. Quotes around the name may be left out.
 * @throws PermanentError `address.invalid`
 */
export function parseMailbox(text: string): Mailbox {
  const trimmed = text.trim();
  // Refused before anything is cut off: a line end would begin a header field of its own.
  if (CONTROLS.test(text)) throw invalid(text, 'it has a control character or a line end in it');
  const named = /^([^<>]*|"(?:[^"\\]|\\.)*"\s*)<([^<>]*)>$/u.exec(trimmed);
  if (!named) return { name: '', address: parseAddress(trimmed) };
  return { name: unquote((named[1] ?? '').trim()), address: parseAddress((named[2] ?? '').trim()) };
}

/** The address alone, as SMTP writes it. */
export const mailboxAddress = ({ address }: Mailbox): string => formatAddress(address);

const CONTROLS = /[\p{Cc}\u2028\u2029]/u;

function unquote(name: string): string {
  return /^"(?:[^"\\]|\\.)*"$/u.test(name) ? name.slice(1, -1).replace(/\\(.)/gu, '$1') : name;
}

function invalid(text: string, why: string): PermanentError {
  return new PermanentError({
    code: 'address.invalid',
    message: `${JSON.stringify(text.slice(0, 100).toWellFormed())} is not a mailbox: ${why}.`,
    fix: 'Write it as name@example.com or as Name <name@example.com> (RFC 5322, 3.4).',
    details: { why },
  });
}
