/**
 * Reports by mail, through real processes: what the reporter is told, what is published, what is in quarantine, who hears
 * of it. `RECORD_HISTORIES=1` keeps the histories of the endings for test/workflows/replay.test.ts.
 */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDependencies } from '../../activities/open.ts';
import { FORWARD_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { givenReportRun, startIngestion } from '../../servers/dmarc/ingestion.ts';
import { tlsPostUrl } from '../../servers/dmarc/tls-post.ts';
import { settleOpen } from '../../servers/worker/sweep.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import { openKeys } from '../../stores/keys/open.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { ingestDmarcReportId, type IngestDmarcReportResult } from '../../workflows/dmarc/contract.ts';
import { activity } from '../stores/contract/activity.ts';
import { mailWith, type Attached } from '../activities/dmarc/mails.ts';
import { feedback, range, record, row } from '../protocols/dmarc/report.ts';
import { replayEnded } from '../support/history.ts';
import { eventually, openHouse, type House } from '../support/house.ts';

const ABOUT = 'example.com';
const ADDRESS = `reports@${FORWARD_DOMAIN}`;
/** 2023-11-14 and 15. */
const DATES = range('1700000000', '1700086399');
const RANGE = { domain: ABOUT, from: '2023-11-01', to: '2023-11-30' };

/** Records of one sender in a day. */
const QUOTA = 40;

let house: House;
let client: Client;
let blobs: BlobStore;
beforeAll(async () => {
  // A day of the quota holds what each test sends for the one domain, but for the test of it.
  house = await openHouse({ dmarc: { names: { wait: '20s' }, quota: { sender: { records: QUOTA } } } });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
  blobs = await openBlobs(house.installation.configuration);
  await house.records.dmarc.domains.put(ABOUT, ADDRESS, 'test');
});
afterAll(async () => {
  await blobs?.close();
  await client?.connection.close();
  await house?.close();
});

const document = ({ id = '1', about = ABOUT, records = record() } = {}): string =>
  feedback(
    `<report_metadata><org_name>receiver.test</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${DATES}</report_metadata>` +
      `<policy_published><domain>${about}</domain><p>none</p></policy_published>${records}`,
  );

const send = async (message: Buffer | string, to = ADDRESS) => (await house.send({ to: [to], message })).data;
const sendReport = (...attached: Attached[]) => send(mailWith(...attached));

async function lastRun() {
  const { workflowId } = await house.finalRecord(ADDRESS);
  return client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(workflowId ?? '');
}

it('an address that nobody has added is refused', async () => {
  const { rcpt } = await house.send({ to: [`other@${FORWARD_DOMAIN}`], message: mailWith({ bytes: document() }) });
  expect(rcpt[0]).toMatch(/^550 5\.1\.1 /);
});

it('a report is published, with the authentication of its mail, before anybody asks', async () => {
  house.dns.set('1.2.0.192.in-addr.arpa', ['PTR mail-sor-f41.google.com']);
  house.dns.set('mail-sor-f41.google.com', ['A 192.0.2.1']);
  const records = record() + record({ row: row({ ip: '192.0.2.2', count: '41' }) });
  const reply = await sendReport({ bytes: gzipSync(document({ records })), name: 'REPORT', type: 'text/plain' });
  expect(reply).toMatch(/^250 .*Queued as /);
  expect(await house.finalRecord(ADDRESS)).toMatchObject({
    outcome: 'delivered',
    errorCode: null,
    action: { type: 'dmarc', domain: ABOUT },
  });
  const run = await lastRun();
  expect(await run.result()).toMatchObject({
    outcome: 'published',
    domain: ABOUT,
    published: 1,
    refused: 0,
    reports: [{ name: 'REPORT', state: 'published', kind: 'aggregate', organization: 'receiver.test', messages: 42 }],
  });
  await replayEnded(run, 'ingestDmarcReport.published');
  // What was read once is not read again for its hosts.
  const { events } = await run.fetchHistory();
  const enriched = events?.find(
    ({ activityTaskScheduledEventAttributes: one }) => one?.activityType?.name === 'dmarc.enrich',
  );
  const [input] = enriched?.activityTaskScheduledEventAttributes?.input?.payloads ?? [];
  expect(JSON.parse(Buffer.from(input?.data ?? []).toString())).toMatchObject({
    addresses: ['192.0.2.1', '192.0.2.2'],
  });
  const described = await run.describe();
  expect(described.searchAttributes).toMatchObject({ SwitchyardOutcome: ['published'], SwitchyardDomain: [ABOUT] });
  expect(await described.staticSummary()).toContain(`-> reports about ${ABOUT}`);
  const { queries } = house.records.dmarc;
  expect(await queries.totals(RANGE)).toMatchObject({ messages: 42, reports: 1, sources: 2 });
  expect(await queries.services(RANGE)).toMatchObject([
    { service: '', messages: 41 },
    { service: 'Google', messages: 1 },
  ]);
  const [report] = await queries.reports({ domain: ABOUT });
  expect(report?.mail).toMatchObject({
    sender: `sender@${PLAIN_DOMAIN}`,
    authentication: { spf: { result: 'pass' }, dmarc: { result: 'none' } },
  });
});

it('the same report in another mail counts once', async () => {
  const records = record() + record({ row: row({ ip: '192.0.2.2', count: '41' }) });
  await sendReport({ bytes: document({ records }), name: 'again.xml' });
  await eventually(async () => (await (await lastRun()).result()).repeated === 1, 'the second run');
  await replayEnded(await lastRun(), 'ingestDmarcReport.repeated');
  expect(await house.records.dmarc.queries.totals(RANGE)).toMatchObject({ messages: 42, reports: 1 });
});

it('what is no report is in quarantine, and the mail has failed', async () => {
  const bytes = Buffer.from('<!DOCTYPE feedback [<!ENTITY a "b">]><feedback/>');
  await sendReport({ bytes, name: '<b>x</b>.xml' });
  const last = await eventually(async () => {
    const record = await house.finalRecord(ADDRESS);
    return record.outcome === 'failed' && record;
  }, 'the refusal');
  expect(last).toMatchObject({ errorCode: 'dmarc.doctype' });
  await replayEnded(await lastRun(), 'ingestDmarcReport.quarantined');
  const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect(kept).toMatchObject({ code: 'dmarc.doctype', address: ADDRESS, sender: `sender@${PLAIN_DOMAIN}` });
  expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).equals(bytes)).toBe(true);
});

it('a mail without any report is in quarantine as it is', async () => {
  const message = 'From: a@plain.test\r\nSubject: Out of office\r\n\r\nI am away.\r\n';
  expect(await send(message)).toMatch(/^250 /);
  await eventually(
    async () => (await house.finalRecord(ADDRESS)).errorCode === 'dmarc.no_report',
    'the end of the mail',
  );
  await replayEnded(await lastRun(), 'ingestDmarcReport.no-report');
  const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).toString()).toContain('I am away.');
});

it('one attachment that is refused does not cost the others', async () => {
  await sendReport({ bytes: document({ id: '2' }) }, { bytes: document({ about: 'other.test' }) });
  const run = await eventually(async () => {
    const last = await lastRun();
    return (await last.result()).published === 1 && last;
  }, 'the run');
  expect(await run.result()).toMatchObject({ outcome: 'quarantined', published: 1, refused: 1 });
  expect(await house.finalRecord(ADDRESS)).toMatchObject({ outcome: 'delivered' });
});

/** The example of RFC 8460, appendix B, about another domain. */
const tlsReport = (about = ABOUT, id = '2016-04-01T00:00:00Z_foo') =>
  JSON.stringify({
    'organization-name': 'Company-X',
    'date-range': { 'start-datetime': '2016-04-01T00:00:00Z', 'end-datetime': '2016-04-01T23:59:59Z' },
    'contact-info': 'sts-reporting@company-x.example',
    'report-id': id,
    policies: [
      {
        policy: { 'policy-type': 'no-policy-found', 'policy-domain': about },
        summary: { 'total-successful-session-count': 5326, 'total-failure-session-count': 303 },
      },
    ],
  });

it('a TLS report by POST is 200 when a run reads it, and by mail it is the same report', async () => {
  const { configuration, addresses } = house.installation;
  const keys = async () => openKeys(house.records, configuration);
  const published = await tlsPostUrl(ABOUT, { http: { ...configuration.http, publicUrl: 'https://x.test' } }, keys);
  const url = (published ?? '').replace('https://x.test', localUrl(addresses.http));
  const post = async (body: Uint8Array<ArrayBuffer> | string, type = 'application/tlsrpt+gzip') =>
    (await fetch(url, { method: 'POST', body, headers: { 'content-type': type } })).status;
  const ended = (bytes: Uint8Array | string) =>
    client.workflow
      .getHandle<() => Promise<IngestDmarcReportResult>>(
        ingestDmarcReportId(
          createHash('sha256')
            .update(`${ABOUT}\0report\0${createHash('sha256').update(bytes).digest('hex')}`)
            .digest('hex'),
        ),
      )
      .result();
  const gzip = gzipSync(tlsReport());
  expect(await post(gzip)).toBe(200);
  expect(await ended(gzip)).toMatchObject({ outcome: 'published', reports: [{ kind: 'tls', messages: 5629 }] });
  const [stored] = await house.records.dmarc.queries.reports({ domain: ABOUT, kind: 'tls' });
  expect(stored).toMatchObject({ mail: null, details: { way: 'https' } });

  const count = async () => (await house.records.dmarc.queries.reports({ domain: ABOUT, kind: 'tls' })).length;
  expect(await post(gzip)).toBe(200);
  expect(await post(tlsReport(), 'application/tlsrpt+json')).toBe(200);
  expect((await ended(gzip)).repeated + (await ended(tlsReport())).repeated).toBe(2);
  await sendReport({ bytes: tlsReport(), name: 'again.json' });
  await eventually(async () => (await (await lastRun()).result()).repeated === 1, 'the run of the mail');
  expect(await count()).toBe(1);

  const bomb = gzipSync(`{"x":"${'x'.repeat(200 * 1_048_576)}`);
  const foreign = tlsReport('other.test', 'foreign');
  for (const [bytes, code] of [
    [bomb, 'dmarc.too_large'],
    [foreign, 'dmarc.foreign_domain'],
  ] as const) {
    expect(await post(bytes)).toBe(200);
    expect(await ended(bytes)).toMatchObject({ outcome: 'quarantined', reports: [{ code }] });
    const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
    expect(kept).toMatchObject({ code, address: null, mail: null });
    expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).equals(Buffer.from(bytes))).toBe(true);
  }
  // No run is needed to see that this is no report on TLS.
  expect(await post(gzipSync('<html>'))).toBe(422);
  expect((await house.records.dmarc.quarantine.list({ domain: ABOUT }))[0]).toMatchObject({
    code: 'dmarc.not_a_report',
  });
  expect(await count()).toBe(1);
});

it('a run that is cancelled leaves the mail in quarantine', async () => {
  house.dns.fail('99.2.0.192.in-addr.arpa', 'silent');
  await sendReport({ bytes: document({ id: 'cancelled', records: record({ row: row({ ip: '192.0.2.99' }) }) }) });
  const [open] = await house.records.activity.list({ recipient: ADDRESS, limit: 1 });
  const run = client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(open?.workflowId ?? '');
  await eventually(
    async () => (await run.describe()).raw.pendingActivities?.some((one) => one.activityType?.name === 'dmarc.enrich'),
    'a question that hangs',
  );
  await run.cancel();
  expect(await run.result()).toMatchObject({ outcome: 'quarantined', reports: [{ code: 'dmarc.cancelled' }] });
  await replayEnded(run, 'ingestDmarcReport.cancelled');
  expect(await house.finalRecord(ADDRESS)).toMatchObject({ outcome: 'failed', errorCode: 'dmarc.cancelled' });
  const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect(kept?.blob).toEqual(open?.blob);
});

const sweep = async () => {
  const dependencies = await openDependencies(house.installation.configuration, house.installation.addresses);
  try {
    const options = { dependencies, client, log: pino({ level: 'silent' }), taskQueue: 'switchyard' };
    return await settleOpen(options, Date.now() + 600_000);
  } finally {
    await dependencies.close();
  }
};

it('a run that a person terminates leaves the mail in quarantine', async () => {
  const name = `terminated ${Date.now()}`;
  await sendReport({ bytes: document({ id: name, records: record({ row: row({ ip: '192.0.2.99' }) }) }) });
  const [open] = await house.records.activity.list({ recipient: ADDRESS, limit: 1 });
  await client.workflow.getHandle(open?.workflowId ?? '').terminate('not wanted');
  expect(await sweep()).toBe(1);
  expect(await house.finalRecord(ADDRESS)).toMatchObject({ outcome: 'failed', errorCode: 'dmarc.terminated' });
  const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  expect(kept).toMatchObject({ code: 'dmarc.terminated', blob: open?.blob });
  expect(await sweep()).toBe(0);
});

it('a mail whose run is gone, as after a lost Temporal database, is read by a new one', async () => {
  const source = (async function* () {
    yield mailWith({ bytes: document({ id: 'begins again' }) });
  })();
  const blob = await blobs.write(source, { prefix: 'mail', maxBytes: 1_000_000 });
  const workflowId = ingestDmarcReportId('f'.repeat(64));
  const open = activity({ recipient: ADDRESS, blob, workflowId, action: { type: 'dmarc', domain: ABOUT } });
  await house.records.blobOwners.own(blob, `activity:${open.id}`, null);
  await house.records.activity.open([{ ...open, outcome: 'accepted', closedAt: null }]);
  expect(await sweep()).toBe(1);
  const run = client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(workflowId);
  expect(await run.result()).toMatchObject({ published: 1 });
  expect(await house.records.activity.get(open.id)).toMatchObject({ outcome: 'delivered' });
});

it('a mail of 5,000 attachments is in quarantine as it is', async () => {
  const message = mailWith(...Array.from({ length: 5_000 }, () => ({ bytes: 'x' })));
  expect(await send(message)).toMatch(/^250 /);
  await eventually(
    async () => (await house.finalRecord(ADDRESS)).errorCode === 'dmarc.too_many_attachments',
    'the end of the mail',
  );
  const [kept] = await house.records.dmarc.quarantine.list({ domain: ABOUT });
  const stored = await buffer(await blobs.read(kept?.blob.key ?? ''));
  expect(stored.toString().match(/filename=/g)).toHaveLength(5_000);
});

describe('a day of one sender', () => {
  const OTHER = 'quota.example';
  const TO = `quota@${FORWARD_DOMAIN}`;
  const reportOf = (records: number, id: string) => document({ about: OTHER, id, records: record().repeat(records) });
  const sendTo = (records: number, id: string) => send(mailWith({ bytes: reportOf(records, id) }), TO);
  const list = () => house.records.dmarc.quarantine.list({ domain: OTHER });
  beforeAll(() => house.records.dmarc.domains.put(OTHER, TO, 'test'));

  it('has room for its records, and what is more is in quarantine', async () => {
    expect(await sendTo(QUOTA - 1, 'first')).toMatch(/^250 /);
    expect(await house.finalRecord(TO)).toMatchObject({ outcome: 'delivered' });
    expect(await sendTo(2, 'second')).toMatch(/^250 /);
    await eventually(async () => (await list()).length === 1, 'the refusal');
    const [kept] = await list();
    expect(kept).toMatchObject({ code: 'dmarc.over_quota', mail: { authentication: { spf: { result: 'pass' } } } });
    expect(kept?.message).toContain(`from ${PLAIN_DOMAIN} have reached the limit of a day: ${QUOTA} records`);
    expect((await buffer(await blobs.read(kept?.blob.key ?? ''))).toString()).toBe(reportOf(2, 'second'));
  });

  it('is over for it with the last record: it is told to come again, which people see', async () => {
    expect(await sendTo(1, 'third')).toMatch(/^250 /);
    await eventually(async () => (await house.finalRecord(TO)).outcome === 'delivered', 'the last record');
    const told = /^452 4\.2\.2 Reports about quota\.example from plain\.test have reached the limit/;
    expect(await sendTo(1, 'fourth')).toMatch(told);
    expect(await sendTo(1, 'fourth')).toMatch(told);
    expect(await house.finalRecord(TO)).toMatchObject({ outcome: 'failed', errorCode: 'dmarc.over_quota', blob: null });
    const records = await house.records.activity.list({ recipient: TO, limit: 10 });
    expect(records.filter(({ errorCode }) => errorCode === 'dmarc.over_quota')).toHaveLength(2);
    // A report that is known adds nothing, and its mail is one that was taken before.
    expect(await sendTo(1, 'third')).toMatch(/^250 /);
  });

  it('is not the day of others', async () => {
    const { address: source, helo } = house.world.senders.forger;
    const message = mailWith({ bytes: reportOf(1, 'others') });
    const sent = await house.send({ from: 'reports@forger.test', source, helo, to: [TO], message });
    expect(sent.data).toMatch(/^250 /);
    await eventually(async () => (await house.finalRecord(TO)).outcome === 'delivered', 'the report');
  });

  it('does not hold up a person who publishes the original', async () => {
    const [kept] = await list();
    const report = { kind: 'report' as const, domain: OTHER, message: kept?.blob ?? expect.fail('nothing is kept') };
    const { id, input } = await givenReportRun(report, { blobs, records: house.records });
    await startIngestion(client, 'switchyard', id, input);
    const run = client.workflow.getHandle<() => Promise<IngestDmarcReportResult>>(id);
    expect(await run.result()).toMatchObject({ published: 1, refused: 0 });
  });

  it('of all senders together: the recipient is refused for now', async () => {
    const most = { mails: 1_000_000, bytes: 1_000_000, records: 1_000_000 };
    const others = { id: 'others', domain: OTHER, sender: 'many.example', mails: 10_000, bytes: 0, records: 0 };
    const now = new Date().toISOString();
    await house.records.dmarc.intake.take(others, { sender: most, address: most }, now);
    const { rcpt } = await house.send({ to: [TO], message: mailWith({ bytes: reportOf(1, 'late') }) });
    expect(rcpt[0]).toMatch(/^452 4\.2\.2 Reports about quota\.example from all senders together/);
    expect(await send(mailWith({ bytes: document({ id: 'elsewhere' }) }))).toMatch(/^250 /);
  });
});
