/** When two reports are the same one, whose they are, and the day that they count for. */
import { createHash } from 'node:crypto';

/** Raise it when the same bytes give other answers than before: `switchyard dmarc reparse` then reads the stored ones anew. */
export const PARSER_VERSION = 2;

export interface ReportName {
  kind: 'aggregate' | 'tls' | 'failure';
  /** The domain that the report is about, as it says. */
  policyDomain: string;
  organization: string | null;
  reportId: string | null;
  /** Seconds since 1970. */
  begin: number;
  end: number;
  /** Hex SHA-256 of the report, unpacked. */
  sha256: string;
}

/**
 * The same for a report however often and however packed it comes. The id alone is not enough: RFC 7489 and RFC 9990 make
 * it unique for one reporter only, and some count from one each day. A failure report, and one without an id, is told by
 * its content: its fields and the hash of the header of the message (`reportedMark`). A TLS report on several domains is one
 * for each of them.
 */
export function reportIdentity({ kind, policyDomain, organization, reportId, begin, end, sha256 }: ReportName): string {
  const name = reportId === null || kind === 'failure' ? { sha256 } : { reportId: reportId.trim(), begin, end };
  const text = JSON.stringify([kind, policyDomain, organization?.trim().toLowerCase() ?? null, name]);
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The id of a report or of a refusal: a UUIDv7 (RFC 9562, 5.7) of the time that it came and of what is done with it, so
 * that whoever does it again after a crash has the same.
 * @param act names what is done, such as the run and the place of the file in its mail
 */
export function reportIdOf(receivedAt: string, act: string): string {
  const time = Date.parse(receivedAt).toString(16).padStart(12, '0').slice(-12);
  const hash = createHash('sha256').update(act).digest('hex');
  const variant = ((parseInt(hash.slice(3, 4), 16) & 3) | 8).toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hash.slice(0, 3)}-${variant}${hash.slice(4, 7)}-${hash.slice(7, 19)}`;
}

/** Whether a name is the domain or one below it: whoever holds a domain may read the reports about its subdomains. */
export function isWithin(name: string, domain: string): boolean {
  return name === domain || name.endsWith(`.${domain}`);
}

/**
 * The UTC day, `YYYY-MM-DD`, in which the middle of the interval lies. Reporters far from Greenwich send intervals that
 * begin on the day before.
 */
export function dayOf(begin: number, end: number): string {
  return new Date(((begin + end) / 2) * 1_000).toISOString().slice(0, 10);
}

/** The UTC day so many days before another, `YYYY-MM-DD`. */
export function dayBefore(day: string, days: number): string {
  return new Date(Date.parse(day) - days * 86_400_000).toISOString().slice(0, 10);
}
