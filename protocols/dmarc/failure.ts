/**
 * The machine-readable part of a failure report: what became of one message and why (RFC 5965, 3; RFC 6591, 3; RFC 9991).
 * The message itself is another part of the same mail. Nothing of it is kept but a hash of its header, behind the fields,
 * after an empty line: two reports may have the same fields and be about two messages.
 */
import { createHash } from 'node:crypto';
import { fieldBody, splitHeader } from '../mail/header.ts';
import { normalizeAddress } from './address.ts';
import { dmarcError } from './errors.ts';
import { MAX_RESULTS, MAX_TEXT } from './limits.ts';
import { Warnings, type ReportWarning } from './warnings.ts';

export interface FailureReport {
  /** `dmarc`, `spf`, `signature`, `bodyhash`, `adsp`, `revoked`: what failed (RFC 6591, 3.1; RFC 9991). */
  authFailure: string[];
  /** Mechanisms that fit the domain of From (RFC 9991): `dkim`, `spf`; empty for none. */
  identityAlignment: string[];
  sourceIp: string | null;
  reportedDomain: string | null;
  /** `delivered`, `spam`, `policy`, `reject`, `other`, or a word of the reporter's own. */
  deliveryResult: string | null;
  /** When the message came, in seconds since 1970. */
  arrivedAt: number | null;
  mailFrom: string | null;
  rcptTo: string[];
  envelopeId: string | null;
  authenticationResults: string[];
  dkim: { domain: string | null; identity: string | null; selector: string | null };
  spfRecords: string[];
  reporter: { userAgent: string | null; mta: string | null };
  /** How many messages this one stands for. */
  incidents: number;
  warnings: ReportWarning[];
}

/**
 * @param bytes of the part `message/feedback-report`, transfer encoding undone; the caller limits them
 * @throws PermanentError `dmarc.not_a_report`: no Feedback-Type, or another than auth-failure
 */
export function readFailureReport(bytes: Uint8Array, warnings = new Warnings()): FailureReport {
  const values = new Map<string, string[]>();
  const text = Buffer.from(bytes)
    .toString('utf8')
    .replace(/^[\r\n]+/, '');
  if (text.includes('\ufffd')) warnings.add('invalid_encoding');
  for (const { name, raw } of splitHeader(Buffer.from(text)).fields) {
    const known = values.get(name.toLowerCase()) ?? [];
    if (known.length >= MAX_RESULTS) warnings.add('results_cut');
    else values.set(name.toLowerCase(), [...known, fieldBody(raw).slice(0, MAX_TEXT)]);
  }
  const all = (name: string): string[] => (values.get(name) ?? []).filter((value) => value !== '');
  const one = (name: string): string | null => all(name)[0] ?? null;
  const words = (name: string): string[] =>
    all(name)
      .flatMap((value) => value.toLowerCase().split(/[\s,]+/))
      .filter((word) => word !== '' && word !== 'none');
  const type = one('feedback-type')?.toLowerCase() ?? null;
  if (type !== 'auth-failure')
    throw dmarcError(
      'dmarc.not_a_report',
      type === null ? 'It is text, and no report.' : `It is feedback of the type ${JSON.stringify(type.slice(0, 80))}.`,
    );
  for (const name of ['auth-failure', 'source-ip', 'reported-domain'])
    if (!one(name)) warnings.add('missing_field', name);
  return {
    authFailure: words('auth-failure'),
    identityAlignment: words('identity-alignment'),
    sourceIp: addressOf(one('source-ip'), warnings),
    reportedDomain: one('reported-domain')?.toLowerCase() ?? null,
    deliveryResult: one('delivery-result')?.toLowerCase() ?? null,
    arrivedAt: timeOf(one('arrival-date') ?? one('received-date'), warnings),
    mailFrom: bare(one('original-mail-from')),
    rcptTo: all('original-rcpt-to').map((value) => bare(value) ?? ''),
    envelopeId: one('original-envelope-id'),
    authenticationResults: all('authentication-results'),
    dkim: { domain: one('dkim-domain'), identity: one('dkim-identity'), selector: one('dkim-selector') },
    spfRecords: all('spf-dns'),
    reporter: { userAgent: one('user-agent'), mta: one('reporting-mta') },
    incidents: /^\d{1,9}$/.test(one('incidents') ?? '') ? Number(one('incidents')) : 1,
    warnings: warnings.list(),
  };
}

const MARK = '\r\n\r\nReported-Header-SHA256: ';
const MARK_BYTES = MARK.length + 64 + 2;

/** What is kept behind the fields of the message that they are about. @param header of it */
export const reportedMark = (header: Uint8Array): Buffer =>
  Buffer.from(`${MARK}${createHash('sha256').update(header).digest('hex')}\r\n`);

/** The fields as they came: what a report was told by before there was a mark. @param bytes as they are stored */
export function withoutMark(bytes: Uint8Array): Uint8Array {
  const fields = bytes.subarray(0, Math.max(0, bytes.length - MARK_BYTES));
  return Buffer.from(bytes.subarray(fields.length)).toString('latin1').startsWith(MARK) ? fields : bytes;
}

const bare = (path: string | null): string | null => path?.replace(/^<(.*)>$/, '$1') ?? null;

function addressOf(text: string | null, warnings: Warnings): string | null {
  if (text === null) return null;
  const address = normalizeAddress(text) ?? null;
  if (address !== text) warnings.add(address === null ? 'unknown_value' : 'address_form', 'source-ip', text);
  return address;
}

/** RFC 5322, 3.3. */
function timeOf(text: string | null, warnings: Warnings): number | null {
  if (text === null) return null;
  const time = Date.parse(text);
  if (Number.isFinite(time)) return Math.floor(time / 1_000);
  warnings.add('date_form', 'arrival-date', text);
  return null;
}
