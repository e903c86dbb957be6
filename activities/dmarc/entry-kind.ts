/** What an entry of an import is, by its first bytes. */
import { detectFormat, DETECT_BYTES, type Format } from '../../protocols/dmarc/detect.ts';

/** Enough for the first line of a mailbox and to see what else it is. */
export const HEAD_BYTES = Math.max(DETECT_BYTES, 1_000);
const REPORTS: ReadonlySet<Format> = new Set(['zip', 'gzip', 'xml', 'json', 'feedback']);

export type EntryKind = 'mail' | 'report' | 'other';

/** @param first the first bytes of it, `HEAD_BYTES` where there are as many */
export function kindOf(first: Buffer): EntryKind {
  const format = detectFormat(first);
  const text = first.toString('latin1');
  // The fields of a failure report may stand without the mail around them (RFC 5965, 3.1).
  if (format === 'feedback' && !/^(?:from|received|return-path|mime-version)[ \t]*:/im.test(text)) return 'report';
  // The first line of a mail is a field (RFC 5322, 2.2).
  if ((format === 'text' || format === 'feedback') && /^[!-9;-~]+[ \t]*:/.test(text)) return 'mail';
  return REPORTS.has(format) ? 'report' : 'other';
}
