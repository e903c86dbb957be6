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
  'dmarc.bad_date_range':
    'Tell the reporter: begin and end are seconds since 1970, in that order, in the past, and about a day apart.',
  'dmarc.truncated': 'Ask the reporter to send it again: the end is missing.',
  'dmarc.broken_archive': 'Ask the reporter to send it again: the archive cannot be unpacked.',
  'dmarc.nested_archive': 'No report lies in an archive in an archive: unpack it by hand if it is trusted.',
  'dmarc.too_many_members': 'A report is one file: unpack the archive by hand if it is trusted.',
  'dmarc.too_many_attachments':
    'A report mail has one attachment, some have a few: take the sender for hostile until it is shown otherwise.',
  'dmarc.no_report': 'Look at the original: nothing in it is a report. Nothing is to be done unless one was expected.',
  'dmarc.foreign_domain':
    'Reports to this address are about its own domain: see whether the DMARC record of another one names the address by mistake. If that one is yours, add it, and read this again for it.',
  'dmarc.conflicting_report':
    'The first report of this name counts. Compare the two: a reporter that corrects itself, or a forgery.',
  'dmarc.over_quota':
    'It was not read. Where its sender is honest, read it again, which has no limit, and raise dmarc.quota in switchyard.yaml for what comes next.',
} as const;

export type DmarcErrorCode = keyof typeof FIX;

/** What is refused for where it lies, what it is about or how much came before, though its bytes may be a report. */
const OTHERS: readonly string[] = [
  'dmarc.too_many_attachments',
  'dmarc.no_report',
  'dmarc.foreign_domain',
  'dmarc.conflicting_report',
  'dmarc.over_quota',
] satisfies DmarcErrorCode[];

/** Every code with which something can be refused that came to a report address. */
export const DMARC_REFUSALS = Object.keys(FIX) as DmarcErrorCode[];
/** Every code with which bytes can be refused as a report. */
export const DMARC_ERRORS = DMARC_REFUSALS.filter((code) => !OTHERS.includes(code));

/** Characters of what is said about bytes. Those of a stranger stand in it, and parsers quote names of any length. */
const MESSAGE_CHARACTERS = 500;

/**
 * The same bytes are refused the same way for ever: all of these are permanent.
 * @param message is cut to what every log, table and history takes
 */
export function dmarcError(
  code: DmarcErrorCode,
  message: string,
  details?: Record<string, string | number | null>,
  cause?: unknown,
): PermanentError {
  return new PermanentError({ code, message: message.slice(0, MESSAGE_CHARACTERS), fix: FIX[code], details, cause });
}

const AGAIN = 'read it again.';

/** Ends of a run that are no word about the bytes: whoever ended it, they are in quarantine. */
const ENDS_FIX: Record<string, string> = {
  'dmarc.cancelled': `It may be a report. If it is wanted, ${AGAIN}`,
  'dmarc.terminated': `It may be a report. If it is wanted, ${AGAIN}`,
  'dmarc.step_failed': `What Temporal says of the run may tell why. It may be a report: if it is wanted, ${AGAIN}`,
  'dmarc.worker_lost':
    'Take the sender for hostile until it is shown otherwise, and look at the log of the worker: it may say what ended it. ' +
    `If the machine was at fault, ${AGAIN}`,
};

/** What to do about something that is in quarantine with the code, if it is one of these. */
export const dmarcFix = (code: string): string | undefined => (FIX as Record<string, string>)[code] ?? ENDS_FIX[code];
