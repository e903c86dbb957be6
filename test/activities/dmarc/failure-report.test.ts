/** A failure report (RFC 9991) on its way: what is kept of the message that it is about, and what it counts for. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { reportIdentity } from '../../../protocols/dmarc/identity.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { reportAbout } from './hostile.ts';
import { ingest, mailWith, RECEIVED_AT, stepContext, stored } from './mails.ts';

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-ruf-'));
  const configuration = Configuration.parse({ state: folder, dmarc: { names: { enabled: false } } });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

let domain: string;
let count = 0;
beforeEach(() => {
  domain = `ruf${++count}.example`;
});

interface Failed {
  about?: string;
  from?: string;
  to?: string;
  incidents?: number;
  messageId?: string;
}

/** As RFC 6591, appendix B has it: words for people, fields for machines, and the message that failed. */
function failureMail(failed: Failed = {}): Buffer {
  const {
    about = domain,
    from = `ceo@${about}`,
    to = 'ann@receiver.example',
    incidents = 1,
    messageId = '1@x',
  } = failed;
  return Buffer.from(
    [
      'From: reports@receiver.test',
      'Subject: FW: You are dismissed',
      'Content-Type: multipart/report; report-type=feedback-report; boundary="b"',
      '',
      '--b',
      'Content-Type: text/plain',
      '',
      'This is an authentication failure report.',
      '--b',
      'Content-Type: message/feedback-report',
      '',
      'Feedback-Type: auth-failure',
      'User-Agent: Receiver/1.0',
      'Version: 1',
      `Original-Mail-From: <${from}>`,
      `Original-Rcpt-To: <${to}>`,
      'Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000',
      'Source-IP: 192.0.2.1',
      `Reported-Domain: ${about}`,
      'Delivery-Result: reject',
      'Auth-Failure: dmarc',
      'Identity-Alignment: none',
      `Incidents: ${incidents}`,
      '',
      '--b',
      'Content-Type: message/rfc822',
      '',
      `Message-ID: <${messageId}>`,
      `From: The Boss <${from}>`,
      `To: <${to}>`,
      'Subject: You are dismissed',
      '',
      'Nobody else is to know of it.',
      '--b--',
      '',
    ].join('\r\n'),
  );
}

const RANGE = { from: '2023-11-01', to: '2023-11-30' };
const take = (mail: Buffer, act = domain) => ingest(mail, domain, act, dependencies);
const failures = () => dependencies.records.dmarc.queries.failures({ domain });

it('is published beside the aggregates and counts for none of their figures', async () => {
  await take(mailWith({ bytes: reportAbout(domain) }), 'aggregate');
  const { queries } = dependencies.records.dmarc;
  const before = [await queries.totals({ domain, ...RANGE }), await queries.sources({ domain, ...RANGE })];
  const settled = await take(failureMail({ incidents: 40 }));
  expect(settled).toMatchObject([{ state: 'published', kind: 'failure', domain, messages: 40, passed: 0 }]);
  expect(await failures()).toMatchObject([
    {
      failure: {
        authFailure: ['dmarc'],
        sourceIp: '192.0.2.1',
        reportedDomain: domain,
        deliveryResult: 'reject',
        mailFrom: `ceo@${domain}`,
        rcptTo: ['ann@receiver.example'],
        incidents: 40,
      },
    },
  ]);
  expect([await queries.totals({ domain, ...RANGE }), await queries.sources({ domain, ...RANGE })]).toEqual(before);
});

it('tells of it once, however often it comes', async () => {
  expect(await take(failureMail())).toMatchObject([{ state: 'published' }]);
  expect(await take(failureMail(), 'again')).toMatchObject([{ state: 'repeated' }]);
  expect(await failures()).toHaveLength(1);
});

it('tells of each message, also where the fields say the same of two', async () => {
  expect(await take(failureMail())).toMatchObject([{ state: 'published' }]);
  expect(await take(failureMail({ messageId: '2@x' }), 'second')).toMatchObject([{ state: 'published' }]);
  expect(await take(failureMail({ messageId: '2@x' }), 'again')).toMatchObject([{ state: 'repeated' }]);
  expect(await failures()).toHaveLength(2);
});

it('that an earlier build knew by its fields alone does not count again', async () => {
  const { reports, queries, generations } = dependencies.records.dmarc;
  const fields = Buffer.from(/Feedback-Type[^]*?(?=\r\n--b)/.exec(failureMail().toString())?.[0] ?? '');
  const { publishReport } = await import('../../../activities/dmarc/publish-report.ts');
  const report = await stored(fields, dependencies, 'dmarc/2026/11');
  const input = publishReport.input.parse({ report, domain, receivedAt: RECEIVED_AT, act: 'earlier' });
  const { reports: earlier } = await publishReport.run(input, dependencies, stepContext('earlier'));
  expect(earlier).toMatchObject([{ state: 'published' }]);
  expect(await take(failureMail())).toMatchObject([{ state: 'repeated', id: earlier[0]?.id }]);
  expect(await failures()).toHaveLength(1);
  // Its bytes give it the name that it has.
  const { number } = await generations.current();
  const kept = await queries.report(earlier[0]?.id ?? '');
  expect(await reports.find(reportIdentity(kept!), number)).toMatchObject({ id: kept?.id });
});

it('is kept as its fields, without the message that it is about', async () => {
  const [settled] = await take(failureMail());
  const report = await dependencies.records.dmarc.queries.report(settled?.id ?? '');
  const raw = (await buffer(await dependencies.blobs.read(report?.blob.key ?? ''))).toString();
  expect(raw).toContain('Feedback-Type: auth-failure');
  const kept = raw + JSON.stringify([report, await failures()]);
  for (const words of ['dismissed', 'The Boss', 'Nobody else']) expect(kept).not.toContain(words);
});

it('keeps what the reporter has redacted redacted (RFC 6590), and tells those who follow reports of no person', async () => {
  const redacted = 'aGFzaCBvZiBhIG5hbWU=';
  const settled = await take(failureMail({ from: `${redacted}@${domain}`, to: `${redacted}@receiver.example` }));
  expect(await failures()).toMatchObject([
    { failure: { mailFrom: `${redacted}@${domain}`, rcptTo: [`${redacted}@receiver.example`] } },
  ]);
  // What the result of the run says, which travels to n8n.
  expect(JSON.stringify(settled)).not.toContain(redacted);
});

it('about another domain is in quarantine', async () => {
  expect(await take(failureMail({ about: 'other.example' }))).toMatchObject([
    { state: 'refused', code: 'dmarc.foreign_domain' },
  ]);
  expect(await failures()).toEqual([]);
});
