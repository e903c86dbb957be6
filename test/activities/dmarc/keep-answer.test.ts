/** A report that cannot be read anew: what is answered of it afterwards is what was answered before. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { keepAnswer } from '../../../activities/dmarc/keep-answer.ts';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { feedback, range, record, row } from '../../protocols/dmarc/report.ts';
import { ingest, mailWith } from './mails.ts';

const DOMAIN = 'example.com';
const RANGE = { domain: DOMAIN, from: '2023-11-01', to: '2023-11-30' };
/** More than what is taken over at once. */
const RECORDS = 1_300;

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-keep-'));
  const configuration = Configuration.parse({ state: folder, dmarc: { names: { enabled: false } } });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

const rows = Array.from({ length: RECORDS }, (_, index) =>
  record({
    row: row({
      ip: `192.0.${2 + (index >> 8)}.${index & 255}`,
      evaluated:
        '<disposition>none</disposition><dkim>fail</dkim><spf>pass</spf><reason><type>mailing_list</type></reason>',
    }),
  }),
);
const aggregate = feedback(
  `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>1</report_id>${range('1700000000', '1700086399')}</report_metadata>` +
    `<policy_published><domain>${DOMAIN}</domain><p>none</p></policy_published>${rows.join('')}`,
);
const tls = JSON.stringify({
  'organization-name': 'receiver.test',
  'date-range': { 'start-datetime': '2023-11-14T00:00:00Z', 'end-datetime': '2023-11-14T23:59:59Z' },
  'contact-info': 'tls@receiver.test',
  'report-id': 'tls-1',
  policies: [
    {
      policy: { 'policy-type': 'sts', 'policy-string': ['version: STSv1'], 'policy-domain': DOMAIN },
      summary: { 'total-successful-session-count': 5, 'total-failure-session-count': 2 },
      'failure-details': [{ 'result-type': 'certificate-expired', 'failed-session-count': 2 }],
    },
  ],
});
const failure =
  'Feedback-Type: auth-failure\r\nUser-Agent: R/1\r\nVersion: 1\r\nAuth-Failure: dmarc\r\n' +
  `Reported-Domain: ${DOMAIN}\r\nArrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nSource-IP: 192.0.2.1\r\n`;

async function answers(ids: string[]): Promise<unknown> {
  const { queries } = dependencies.records.dmarc;
  const reports = [];
  for (const id of ids) {
    const { publishedAt: _, ...report } = (await queries.report(id)) ?? { publishedAt: '' };
    const records = [];
    for (let page = await queries.reportRecords(id); page.length > 0;) {
      records.push(...page);
      page = await queries.reportRecords(id, page.at(-1)?.number);
    }
    reports.push({ report, records, tls: await queries.reportTls(id), failure: await queries.reportFailure(id) });
  }
  return {
    reports,
    totals: await queries.totals(RANGE),
    services: await queries.services(RANGE),
    sources: await queries.sources({ ...RANGE, limit: 500 }),
    tls: await queries.tls(RANGE),
  };
}

it('of every kind: its records, its figures and the sums that it is in', async () => {
  const mail = mailWith({ bytes: aggregate }, { bytes: tls }, { bytes: failure, type: 'message/feedback-report' });
  const settled = await ingest(mail, DOMAIN, 'first', dependencies);
  const ids = settled.map(({ id }) => id ?? '');
  expect(settled.map(({ state }) => state)).toEqual(['published', 'published', 'published']);
  const before = await answers(ids);

  const { generations, queries, reports } = dependencies.records.dmarc;
  const { number } = await generations.begin(2);
  const [first] = await queries.reportRecords(ids[0] ?? '', 0, 1);
  if (!first) throw new Error('no record');
  // What a reading that was killed left behind says something else.
  const wrong = { ...first, record: { ...first.record, count: 1_000 } };
  await reports.stage({ id: ids[0] ?? '', domain: DOMAIN }, [wrong], number);
  for (const report of await generations.missing(number, undefined, 10))
    expect(await keepAnswer(report, number, dependencies)).toEqual({ state: 'published', id: report.id });
  expect(await generations.switchTo(number)).toBe(0);
  while ((await generations.clear()) > 0);
  expect(await answers(ids)).toEqual(before);
});
