/** Why bytes are not taken as a report: one list of codes, each with what the person should do. */
import { PermanentError } from '../errors.ts';

const FIX = {
  'dmarc.empty': 'Ask the reporter to send it again, or ignore it.',
  'dmarc.not_a_report':
    'Look at the original: it is something else. Nothing is to be done unless a report was expected.',
  'dmarc.malformed': 'Tell the reporter: this is not well-formed. The original can be read by eye.',
  'dmarc.doctype': 'No report needs a DOCTYPE: take the sender for hostile until it is shown otherwise.',
  'dmarc.too_large': 'Ask the reporter for shorter intervals; an honest report is not as large.',
  'dmarc.too_many_records': 'Ask the reporter for shorter intervals.',
  'dmarc.too_deep': 'No report is nested so deep: take the sender for hostile until it is shown otherwise.',
  'dmarc.incomplete': 'Tell the reporter which element is missing.',
  'dmarc.bad_count': 'Tell the reporter: a count is the number of messages of one record.',
  'dmarc.bad_source_ip': 'Tell the reporter: a source_ip is one IPv4 or IPv6 address.',
  'dmarc.bad_date_range': 'Tell the reporter: begin and end are seconds since 1970, in that order, and in the past.',
  'dmarc.truncated': 'Ask the reporter to send it again: the end is missing.',
  'dmarc.broken_archive': 'Ask the reporter to send it again: the archive cannot be unpacked.',
  'dmarc.nested_archive': 'No report lies in an archive in an archive: unpack it by hand if it is trusted.',
  'dmarc.too_many_members': 'A report is one file: unpack the archive by hand if it is trusted.',
} as const;

export type DmarcErrorCode = keyof typeof FIX;

/** Every code with which bytes can be refused as a report. */
export const DMARC_ERRORS = Object.keys(FIX) as DmarcErrorCode[];

/** The same bytes are refused the same way for ever: all of these are permanent. */
export function dmarcError(
  code: DmarcErrorCode,
  message: string,
  details?: Record<string, string | number | null>,
  cause?: unknown,
): PermanentError {
  return new PermanentError({ code, message, fix: FIX[code], details, cause });
}
