/** What anyone can send to a report address, and what becomes of it: for the tests, and for `npm run bench:dmarc -- --only hostile`. */
import { gzipSync } from 'node:zlib';
import type { DmarcErrorCode } from '../../../protocols/dmarc/errors.ts';
import { feedback, range, record, row } from '../../protocols/dmarc/report.ts';
import { gzipBomb, zipBomb, zipOf } from './archives.ts';
import type { Attached } from './mails.ts';

export interface Hostile {
  what: string;
  /** What is attached to the mail. */
  files(about: string): Attached[] | Promise<Attached[]>;
  /** What came before it. */
  before?(about: string): Attached[];
  /** Refused with it; null where it is taken for what it is. */
  code: DmarcErrorCode | null;
  /** What is in quarantine: the attachment as it came, or the whole mail where none is read. */
  original: 'attachment' | 'mail' | null;
  /** Of what is taken: source and warnings of its one record. */
  source?: string;
  warnings?: string[];
}

const GiB = 1_073_741_824;
/** A day that has passed on every clock: 2023-11-14 and 15. */
const BEGIN = 1_700_000_000;
const DATES = range(String(BEGIN), String(BEGIN + 86_399));

export function reportAbout(
  about: string,
  { id = '1', org = 'receiver.test', records = record(), dates = DATES } = {},
): string {
  return feedback(
    `<report_metadata><org_name>${org}</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${dates}</report_metadata>` +
      `<policy_published><domain>${about}</domain><p>none</p></policy_published>${records}`,
  );
}

type Bytes = Buffer | string;

function refused(what: string, code: DmarcErrorCode, make: (about: string) => Bytes | Promise<Bytes>): Hostile {
  return { what, code, original: 'attachment', files: async (about) => [{ bytes: await make(about) }] };
}

function taken(
  what: string,
  make: (about: string) => Bytes,
  { source = '192.0.2.1', warnings = [] }: { source?: string; warnings?: string[] } = {},
): Hostile {
  return { what, code: null, original: null, source, warnings, files: (about) => [{ bytes: make(about) }] };
}

const withCount = (count: string) => (about: string) =>
  reportAbout(about, { records: record({ row: row({ count }) }) });
const withSource = (ip: string) => (about: string) => reportAbout(about, { records: record({ row: row({ ip }) }) });
const between = (begin: number, end: number) => (about: string) =>
  reportAbout(about, { dates: range(String(begin), String(end)) });

/** Each entity is ten of the one before it: a thousand million in the end. */
const LAUGHS = Array.from({ length: 9 }, (_, i) => `<!ENTITY l${i + 1} "${`&l${i};`.repeat(10)}">`).join('');

export const HOSTILE: Hostile[] = [
  refused('gzip bomb, 1 GiB', 'dmarc.too_large', () => gzipBomb(GiB, { before: '<feedback><version>' })),
  refused('gzip bomb, 1 GiB of spaces between elements', 'dmarc.too_large', () =>
    gzipBomb(GiB, { before: '<feedback>', byte: ' ' }),
  ),
  refused('zip bomb, 1 GiB', 'dmarc.too_large', () => zipBomb(GiB)),
  refused('zip in a zip', 'dmarc.nested_archive', async (about) =>
    zipOf({ 'a.zip': await zipOf({ 'a.xml': reportAbout(about) }) }),
  ),
  refused('zip with 10,000 members', 'dmarc.too_many_members', () =>
    zipOf(Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`${index}.xml`, 'x']))),
  ),
  refused(
    'billion laughs',
    'dmarc.doctype',
    (about) =>
      `<!DOCTYPE x [<!ENTITY l0 "ha">${LAUGHS}]>${reportAbout(about).slice(39).replace('<org_name>', '<org_name>&l9;')}`,
  ),
  refused(
    'DOCTYPE with a file of ours',
    'dmarc.doctype',
    (about) => `<!DOCTYPE feedback SYSTEM "file:///etc/passwd">${reportAbout(about).slice(39)}`,
  ),
  refused('count 10^18', 'dmarc.bad_count', withCount('1000000000000000000')),
  refused('count -1', 'dmarc.bad_count', withCount('-1')),
  refused('dates reversed', 'dmarc.bad_date_range', between(BEGIN + 86_399, BEGIN)),
  refused('dates in 2099', 'dmarc.bad_date_range', between(4_070_908_800, 4_070_995_199)),
  refused('IPv6 with two gaps', 'dmarc.bad_source_ip', withSource('2001:db8::1::2')),
  refused('IPv6 of nine groups', 'dmarc.bad_source_ip', withSource('1:2:3:4:5:6:7:8:9')),
  refused('gzip without its end', 'dmarc.truncated', (about) => gzipSync(reportAbout(about)).subarray(0, -20)),
  refused('HTML', 'dmarc.not_a_report', () => '<!doctype html><title>Sign in</title>'),
  refused('JSON of something else', 'dmarc.not_a_report', () => '{"a": 1}'),
  refused('JSON of two million numbers for policies', 'dmarc.not_a_report', () =>
    gzipSync(`{"policies":[${'1,'.repeat(2_000_000)}1]}`),
  ),
  refused('JSON of a million empty objects', 'dmarc.too_large', () =>
    gzipSync(`{"policies":[${'{},'.repeat(1_300_000)}{}]}`),
  ),
  refused('JSON of four million lists in each other', 'dmarc.too_deep', () => gzipSync('['.repeat(4_000_000))),
  refused('a name of 5,000 letters, which the words about it hold', 'dmarc.malformed', () => {
    const name = 'b'.repeat(5_000);
    return `<feedback ${name}="1" ${name}="2">`;
  }),
  refused('nothing', 'dmarc.empty', () => ''),
  refused('report about another domain', 'dmarc.foreign_domain', () => reportAbout('other.example')),
  refused('report about a domain that ends alike', 'dmarc.foreign_domain', (about) => reportAbout(`not${about}`)),
  {
    ...refused('the same report id with other content', 'dmarc.conflicting_report', withCount('1000')),
    before: (about) => [{ bytes: reportAbout(about) }],
  },
  {
    what: '5,000 attachments',
    code: 'dmarc.too_many_attachments',
    original: 'mail',
    files: () => Array.from({ length: 5_000 }, () => ({ bytes: 'x' })),
  },
  taken(
    '30 MiB of XML with one record',
    (about) =>
      gzipSync(reportAbout(about, { records: record({ results: `<note>${'x'.repeat(52_400)}</note>`.repeat(600) }) })),
    { warnings: ['unknown_element', 'text_cut', 'extensions_cut'] },
  ),
  taken('IPv4 address within IPv6', withSource('::ffff:192.0.2.7'), {
    source: '192.0.2.7',
    warnings: ['address_form'],
  }),
  taken('IPv6 with brackets, zone and capitals', withSource('[2001:DB8:0:0::1%eth0]'), {
    source: '2001:db8::1',
    warnings: ['address_form'],
  }),
  taken('invalid UTF-8', (about) => Buffer.from(reportAbout(about, { org: 'M\xfcller' }), 'latin1'), {
    warnings: ['invalid_encoding'],
  }),
  taken('line end after a gzip', (about) => Buffer.concat([gzipSync(reportAbout(about)), Buffer.from('\r\n')]), {
    warnings: ['trailing_bytes'],
  }),
];
