/** Texts of a report to the values that the standards list. What is odd but readable is taken, with a warning. */
import { normalizeAddress } from './address.ts';
import { dmarcError } from './errors.ts';
import { EARLIEST_SECONDS, MAX_AHEAD_SECONDS, MAX_COUNT, MAX_INTERVAL_SECONDS } from './limits.ts';
import type { Warnings } from './warnings.ts';

/** Words that reporters use for those of the standards; RFC 7489, appendix C names error and unknown itself. */
const OTHER_WORDS: Record<string, string> = {
  hardfail: 'fail',
  error: 'temperror',
  unknown: 'permerror',
  mailfrom: 'mfrom',
};

/** One of the words, or null with a warning. */
export function wordOf<Word extends string>(
  words: readonly Word[],
  text: string | null,
  field: string,
  warnings: Warnings,
): Word | null {
  if (text === null || text === '') return null;
  if (words.includes(text as Word)) return text as Word;
  const lower = text.toLowerCase();
  if (words.includes(lower as Word)) {
    warnings.add('letter_case', field, text);
    return lower as Word;
  }
  const other = OTHER_WORDS[lower] as Word | undefined;
  if (other !== undefined && words.includes(other)) {
    warnings.add('other_word', field, text);
    return other;
  }
  warnings.add('unknown_value', field, text);
  return null;
}

/** As `wordOf`, of an element that must be there. */
export function requiredWord<Word extends string>(
  words: readonly Word[],
  text: string | null,
  field: string,
  warnings: Warnings,
): Word | null {
  if (text === null || text === '') warnings.add('missing_field', field);
  return wordOf(words, text, field, warnings);
}

/** @throws PermanentError `dmarc.bad_count` */
export function countOf(text: string | null, record: number, warnings: Warnings): number {
  const count = text !== null && /^\d{1,20}$/.test(text) ? Number(text) : NaN;
  if (!(count <= MAX_COUNT))
    throw dmarcError(
      'dmarc.bad_count',
      `Record ${record} has the count ${quote(text)}; it is a number from 1 to ${MAX_COUNT}.`,
      { record, count: text?.slice(0, 40) ?? null },
    );
  if (count === 0) warnings.add('zero_count', 'record/row/count');
  return count;
}

/** @throws PermanentError `dmarc.bad_source_ip` */
export function sourceOf(text: string | null, record: number, warnings: Warnings): string {
  const address = text === null ? undefined : normalizeAddress(text);
  if (address === undefined)
    throw dmarcError('dmarc.bad_source_ip', `Record ${record} has the source address ${quote(text)}.`, {
      record,
      source: text?.slice(0, 80) ?? null,
    });
  if (address !== text) warnings.add('address_form', 'record/row/source_ip', text);
  return address;
}

/**
 * The interval of a report, in seconds since 1970.
 * @param form how the standard of this kind of report writes a time
 * @param now milliseconds since 1970
 * @throws PermanentError `dmarc.incomplete`, `dmarc.bad_date_range`
 */
export function dateRangeOf(
  begin: string | null,
  end: string | null,
  now: number,
  warnings: Warnings,
  form: 'seconds' | 'iso' = 'seconds',
): { begin: number; end: number } {
  if (!begin || !end)
    throw dmarcError('dmarc.incomplete', `The report does not say when its interval ${begin ? 'ends' : 'begins'}.`);
  const range = { begin: secondsOf(begin, form, warnings), end: secondsOf(end, form, warnings) };
  const wrong = !Number.isFinite(range.begin + range.end)
    ? 'is no time'
    : range.end < range.begin
      ? 'ends before it begins'
      : range.end > now / 1_000 + MAX_AHEAD_SECONDS
        ? 'lies in the future'
        : range.begin < EARLIEST_SECONDS
          ? 'lies before 2012, when there was no DMARC'
          : range.end - range.begin > MAX_INTERVAL_SECONDS
            ? 'is longer than a month'
            : undefined;
  if (wrong)
    throw dmarcError('dmarc.bad_date_range', `The interval from ${quote(begin)} to ${quote(end)} ${wrong}.`, {
      begin: begin.slice(0, 40),
      end: end.slice(0, 40),
    });
  if (range.begin === range.end) warnings.add('empty_interval', '', begin);
  return range;
}

/**
 * Aggregate reports have whole seconds, TLS reports a date and time of RFC 3339. Some write fractions or the other of
 * the two; a time without a zone is taken as UTC.
 */
function secondsOf(text: string, form: 'seconds' | 'iso', warnings: Warnings): number {
  const iso = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?$/i.exec(text);
  if (form === 'iso' ? iso?.[3] === undefined : !/^\d{1,12}$/.test(text)) warnings.add('date_form', '', text);
  if (/^\d{1,12}(\.\d{1,9})?$/.test(text)) return Math.floor(Number(text));
  return iso ? Date.parse(`${iso[1]}T${iso[2]}${iso[3] ?? 'Z'}`) / 1_000 : NaN;
}

/** RFC 7489, 6.3: a percentage; null with a warning when it is none. */
export function percentageOf(text: string | null, warnings: Warnings): number | null {
  if (text === null || text === '') return null;
  if (/^\d{1,3}$/.test(text) && Number(text) <= 100) return Number(text);
  warnings.add('unknown_value', 'policy_published/pct', text);
  return null;
}

const quote = (text: string | null): string => JSON.stringify(text?.slice(0, 80) ?? null);
