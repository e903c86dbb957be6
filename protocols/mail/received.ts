/**
 * The trace field that a receiving host puts on top (RFC 5321, 4.4), with the protocol names of RFC 3848 and
 * RFC 6531, 4.3.
 */
import { foldField, formatDate, safeText } from './header.ts';

export interface Reception {
  /** What the client called itself in HELO or EHLO: untrusted. */
  helo: string;
  /** Its IP address. */
  address: string;
  /** The name that its address leads to, when it was looked up. */
  ptr?: string;
  /** Our name. */
  by: string;
  /** See `protocolName`. */
  protocol: string;
  /** Our id of the transaction. */
  id: string;
  /** The one recipient; leave it out when there are several, who must not learn of each other (RFC 5321, 7.2). */
  for?: string;
  date: Date;
  /** TLS version and cipher (RFC 8314, 4.3). */
  tls?: string;
}

/** The Received field, folded, with its CRLF. */
export function receivedField(reception: Reception): string {
  const seen = [reception.ptr ? hostName(reception.ptr) : '', addressLiteral(reception.address)]
    .filter((part) => part !== '')
    .join(' ');
  const parts = [`from ${hostName(reception.helo)} (${seen})`];
  parts.push(`by ${hostName(reception.by)}`);
  parts.push(`with ${atom(reception.protocol)}${reception.tls ? ` (${comment(reception.tls)})` : ''}`);
  parts.push(`id ${atom(reception.id)}`);
  if (reception.for !== undefined && FOR.test(reception.for)) parts.push(`for <${reception.for}>`);
  return foldField('Received', `${parts.join(' ')}; ${formatDate(reception.date)}`);
}

/** RFC 3848 and RFC 6531, 4.3: `ESMTP`, `ESMTPS`, `ESMTPSA`, `UTF8SMTPS`, ... */
export function protocolName(session: {
  extended: boolean;
  tls: boolean;
  authenticated?: boolean;
  utf8?: boolean;
}): string {
  if (!session.extended) return 'SMTP';
  return `${session.utf8 ? 'UTF8SMTP' : 'ESMTP'}${session.tls ? 'S' : ''}${session.authenticated ? 'A' : ''}`;
}

/** RFC 5321, 4.1.3: `[192.0.2.1]`, `[IPv6:2001:db8::1]`; an IPv4-mapped address is the IPv4 client that it is. */
export function addressLiteral(address: string): string {
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)?.[1];
  if (mapped) return `[${mapped}]`;
  const bare = address.replace(/%.*$/, '');
  return bare.includes(':') ? `[IPv6:${bare.replace(/[^\da-f:.]/gi, '')}]` : `[${bare.replace(/[^\d.]/g, '')}]`;
}

/** RFC 1035: a name has at most 255 octets. */
const MAX_HOST = 255;
const MAX_ATOM = 100;
const MAX_COMMENT = 100;

/** A mailbox that can stand between angle brackets as it is; any other is left out, the field stays true without it. */
const FOR = /^[^\s<>()\p{Cc}\u2028\u2029]{1,254}$/u;

/** What is not a letter, digit, dot, hyphen or part of a literal could be a comment, a bracket or a new clause. */
function hostName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._:[\]-]/g, '?').slice(0, MAX_HOST);
  return safe === '' ? 'unknown' : safe;
}

function atom(text: string): string {
  const safe = text.replace(/[^A-Za-z0-9._+-]/g, '').slice(0, MAX_ATOM);
  return safe === '' ? 'unknown' : safe;
}

function comment(text: string): string {
  return safeText(text, MAX_COMMENT).replace(/[()\\;]/g, '');
}
