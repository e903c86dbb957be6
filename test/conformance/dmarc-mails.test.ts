/**
 * Samples of reports under every MIME type and name that report mails have been seen with: what becomes of one depends on
 * its bytes alone. And the samples that are mails, as they are.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../activities/open.ts';
import { publishReport, type Published } from '../../activities/dmarc/publish-report.ts';
import { extractReports } from '../../activities/dmarc/extract-reports.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import { Configuration } from '../../stores/configuration/schema.ts';
import { zipOf } from '../activities/dmarc/archives.ts';
import { mailWith, stepContext, stored } from '../activities/dmarc/mails.ts';

const SAMPLES = '../shared/data/mail';
const present = existsSync(SAMPLES);
if (!present) console.log(`skipped: ${SAMPLES} is absent`);
const list = (pattern: string): string[] => (present ? globSync(`${SAMPLES}/${pattern}`).sort() : []);

const FILES = [
  ...list('dmarc-reports/{aggregate,aggregate_invalid,extract_report,feedback,viewer}/*.{xml,zip,gz}'),
  ...list('tls-rpt/*.json'),
];
const TYPES = [
  ...['application/gzip', 'application/x-gzip', 'application/zip', 'application/x-zip-compressed'],
  ...['application/octet-stream', 'application/xml', 'text/xml', 'text/plain', 'application/tlsrpt+gzip'],
  ...['application/tlsrpt+json', 'multipart/report', 'nonsense'],
];
const NAMES = ['report.xml.gz', 'REPORT.ZIP', 'report.xml', 'a!b!1!2.json', '=?utf-8?B?w7wueG1s?=', null];

/** What is not taken, and why a person agrees. */
const REFUSED: Record<string, string> = {
  // A name of a tag has a character in it that none may have.
  'invalid_xml.xml': 'dmarc.malformed',
  // Examples of standards with made-up intervals: of 1979 in RFC 9990, of 1975. No reporter sends them.
  'rfc9990-sample.xml': 'dmarc.bad_date_range',
  '001.xml': 'dmarc.bad_date_range',
};

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-dmarc-'));
  const configuration = Configuration.parse({ hostname: 'mx.own.test', state: folder, dns: { zones: { test: [] } } });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Whose domain it is about is not asked here: states but `foreign_domain` are the same for all. */
async function statesOf(mail: Buffer): Promise<string[]> {
  const message = await stored(mail, dependencies);
  const context = stepContext(message.sha256);
  const { reports } = await extractReports.call({ message }, dependencies, context);
  const published: Published[] = [];
  for (const { report } of reports)
    published.push(...(await publishReport.call({ report, domain: 'nobody.test' }, dependencies, context)).reports);
  return published.map(({ code, state }) => (code === 'dmarc.foreign_domain' ? 'read' : (code ?? state)));
}

describe.skipIf(!present)('a report is the same whatever its mail calls it', () => {
  it.each(FILES.map((file) => [basename(file), file]))('%s', async (name, file) => {
    const bytes = readFileSync(file);
    const packed = /\.(zip|gz)$/.test(file) ? [bytes] : [bytes, gzipSync(bytes), await zipOf({ 'r.xml': bytes })];
    const wanted = REFUSED[name] ?? 'read';
    for (const [index, one] of packed.entries())
      for (const [turn, type] of TYPES.entries()) {
        const called = NAMES[(turn + index) % NAMES.length] ?? null;
        const states = await statesOf(mailWith({ bytes: one, type, name: called }));
        expect([type, called, states]).toEqual([type, called, [wanted]]);
      }
  });
});

/** Mails as they came. */
const MAILS = [...list('dmarc-reports/**/*.eml'), ...list('tls-rpt/*.eml')];
const OTHERWISE: Record<string, string[]> = {
  // A text for people that tells of one message, without the part that machines read (RFC 6591).
  'exim_plain_text_only_no_arf_part.eml': ['dmarc.no_report'],
};

describe.skipIf(!present)('a mail as it came', () => {
  it.each(MAILS.map((file) => [basename(file), file]))('%s', async (name, file) => {
    const states = await statesOf(readFileSync(file)).catch((thrown: { code: string }) => [thrown.code]);
    expect(states).toEqual(OTHERWISE[name] ?? ['read']);
  });
});
