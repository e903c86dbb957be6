/** Aggregate reports (RFC 7489, appendix C) for the bench, the same for every reader: no two records are alike. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createGzip, gzipSync } from 'node:zlib';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** Records of a small report: from 1 to this many, as those of most senders. */
export const SMALL_MOST = 9;
export const DAY = 86_400;
const BEGIN = 1_750_000_000;

export interface Workload {
  name: string;
  files: string[];
  /** Read before, and not measured: code that runs for the first time is slower than that of a worker. */
  before: string[];
  reports: number;
  records: number;
  /** Sum of all counts, which every reader must come to. */
  messages: number;
}

/**
 * Many reports of a few records each, gzipped.
 * @param first number of the first of them, by which they differ from others
 */
export async function createSmall(folder: string, reports: number, first = 0): Promise<Workload> {
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  let records = 0;
  let messages = 0;
  for (let number = first; number < first + reports; number += 1) {
    const count = 1 + (number % SMALL_MOST);
    const xml = [...report(number, count)].join('');
    const file = join(folder, `org${number}.test!example.com!${BEGIN}!${BEGIN + DAY}.xml.gz`);
    await writeFile(file, gzipSync(xml));
    files.push(file);
    records += count;
    for (let place = 0; place < count; place += 1) messages += messagesOf(number, place);
  }
  return {
    name: `${reports.toLocaleString('en')} reports of 1 to ${SMALL_MOST} records`,
    files,
    before: [],
    reports,
    records,
    messages,
  };
}

/** One report of many records, gzipped. */
export async function createLarge(folder: string, records: number): Promise<Workload> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, `large.test!example.com!${BEGIN}!${BEGIN + DAY}.xml.gz`);
  await pipeline(Readable.from(report(0, records)), createGzip(), createWriteStream(file));
  let messages = 0;
  for (let place = 0; place < records; place += 1) messages += messagesOf(0, place);
  return {
    name: `one report of ${records.toLocaleString('en')} records`,
    files: [file],
    before: [],
    reports: 1,
    records,
    messages,
  };
}

export const messagesOf = (number: number, place: number): number => 1 + ((number * 7 + place * 13) % 97);

export interface About {
  domain: string;
  reporter: string;
  /** Seconds since 1970. */
  begin: number;
  /** Address of the record at the place. */
  source(place: number): string;
}

/** One of the bench of reading: about example.com, no source as another. */
const alone = (number: number): About => ({
  domain: 'example.com',
  reporter: `org${number}.test`,
  begin: BEGIN + (number % 365) * DAY,
  source(place) {
    const at = number * 31 + place;
    return `${1 + (at % 199)}.${(at >> 8) % 256}.${at % 251}.${(at >> 4) % 256}`;
  },
});

/** The XML in pieces. */
export function* report(number: number, records: number, about = alone(number)): Generator<string> {
  const { domain, reporter, begin, source } = about;
  yield `<?xml version="1.0" encoding="UTF-8"?>
<feedback>
  <version>1.0</version>
  <report_metadata>
    <org_name>${reporter}</org_name>
    <email>dmarc@${reporter}</email>
    <report_id>${number}.${begin}</report_id>
    <date_range><begin>${begin}</begin><end>${begin + DAY - 1}</end></date_range>
  </report_metadata>
  <policy_published><domain>${domain}</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct></policy_published>
`;
  for (let place = 0; place < records; place += 1) yield record(number, place, domain, source(place));
  yield '</feedback>\n';
}

function record(number: number, place: number, domain: string, source: string): string {
  const at = number * 31 + place;
  const pass = at % 5 !== 0;
  const word = pass ? 'pass' : 'fail';
  const spf = at % 3 ? 'pass' : 'fail';
  return (
    `<record><row><source_ip>${source}</source_ip><count>${messagesOf(number, place)}</count>` +
    `<policy_evaluated><disposition>none</disposition><dkim>${word}</dkim><spf>${spf}</spf></policy_evaluated></row>` +
    `<identifiers><header_from>${domain}</header_from></identifiers><auth_results>` +
    `<dkim><domain>${domain}</domain><selector>s${at % 4}</selector><result>${word}</result></dkim>` +
    `<spf><domain>bounce${at % 50}.${domain}</domain><result>${spf}</result></spf></auth_results></record>\n`
  );
}
