/** The step: what it answers for stored bytes, however hostile, and how small the answer is. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Dependencies } from '../../../activities/dependencies.ts';
import { parseReport } from '../../../activities/dmarc/parse-report.ts';
import { createLog } from '../../../servers/log.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { feedback, metadata, POLICY, range, record, row } from '../../protocols/dmarc/report.ts';
import { zipOf } from './archives.ts';

let folder: string;
let blobs: BlobStore;
let configuration: Configuration;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-dmarc-'));
  configuration = Configuration.parse({ hostname: 'mx.own.test', state: folder });
  blobs = await openBlobs(configuration);
});
afterAll(async () => {
  await blobs?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A day that has passed on every clock. */
const PAST = metadata(range('1700000000', '1700086399'));

async function run(bytes: Buffer | string, signal = new AbortController().signal) {
  const source = (async function* () {
    yield Buffer.from(bytes);
  })();
  const report = await blobs.write(source, { prefix: 'uploads', maxBytes: 100_000_000 });
  const step = { signal, report: () => undefined, log: createLog('test', 'silent'), idempotencyKey: report.key };
  return parseReport.call({ report }, { blobs, configuration } as unknown as Dependencies, step);
}

const TLS = {
  'organization-name': 'Sender',
  'date-range': { 'start-datetime': '2024-01-01T00:00:00Z', 'end-datetime': '2024-01-01T23:59:59Z' },
  'report-id': '007',
  policies: [
    {
      policy: { 'policy-type': 'sts', 'policy-domain': 'Example.com', 'mx-host': '*.example.com' },
      summary: { 'total-successful-session-count': 5, 'total-failure-session-count': 2 },
      'failure-details': [{ 'result-type': 'certificate-expired', 'failed-session-count': 2, 'receiving-ip': '' }],
    },
  ],
};
const tls = (change: object) => JSON.stringify({ ...TLS, ...change });

describe('dmarc.parseReport refuses', () => {
  it.each([
    ['JSON that is cut', tls({}).slice(0, -5), 'dmarc.malformed'],
    ['other JSON', '{"a":1}', 'dmarc.not_a_report'],
    ['feedback about spam', 'Feedback-Type: abuse\r\nSource-IP: 192.0.2.1\r\n', 'dmarc.not_a_report'],
    ['300 KB of fields', 'Feedback-Type: auth-failure\r\n' + 'X: y\r\n'.repeat(50_000), 'dmarc.too_large'],
    ['a list', '[]', 'dmarc.not_a_report'],
    ['100,000 brackets', '['.repeat(100_000), 'dmarc.too_deep'],
    [
      'TLS dates reversed',
      tls({ 'date-range': { 'start-datetime': '2024-01-02T00:00:00Z', 'end-datetime': '2024-01-01T00:00:00Z' } }),
      'dmarc.bad_date_range',
    ],
    [
      'TLS dates in 2099',
      tls({ 'date-range': { 'start-datetime': '2099-01-01T00:00:00Z', 'end-datetime': '2099-01-01T23:59:59Z' } }),
      'dmarc.bad_date_range',
    ],
    ['no TLS dates', tls({ 'date-range': {} }), 'dmarc.incomplete'],
    [
      'a TLS count below nothing',
      tls({
        policies: [
          { ...TLS.policies[0], summary: { 'total-successful-session-count': -1, 'total-failure-session-count': 0 } },
        ],
      }),
      'dmarc.bad_count',
    ],
    ['5 MiB of JSON', tls({ x: 'x'.repeat(5_242_880) }), 'dmarc.too_large'],
  ])('%s', async (_what, document, code) => {
    await expect(run(document)).rejects.toMatchObject({ name: 'PermanentError', code });
  });

  it('a zip in which nothing is a report, with the reason of the first', async () => {
    await expect(run(await zipOf({ 'a.txt': 'Hello', 'b.html': '<html>' }))).rejects.toMatchObject({
      code: 'dmarc.not_a_report',
    });
    await expect(run(await zipOf({}))).rejects.toMatchObject({ code: 'dmarc.empty' });
  });

  it('to go on when its caller gave up', async () => {
    await expect(run(feedback(PAST + POLICY + record()), AbortSignal.abort())).rejects.toMatchObject({
      name: 'AbortError',
    });
  });
});

describe('dmarc.parseReport answers', () => {
  it('with counts, pass rate and the first records', async () => {
    const fails = row({ count: '3', evaluated: '<disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf>' });
    const { reports } = await run(feedback(PAST + POLICY + record({ row: fails }) + record().repeat(9)));
    expect(reports).toMatchObject([
      {
        file: null,
        kind: 'aggregate',
        aggregate: {
          metadata: { reportId: '00123456789012345678', begin: 1_700_000_000 },
          totals: { records: 10, messages: 12, dmarcPass: 9, dispositions: { none: 9, reject: 3 } },
          passRate: 0.75,
        },
        tls: null,
        warnings: [],
      },
    ]);
    expect(reports[0]?.aggregate?.records.map(({ count }) => count)).toEqual([3, 1, 1, 1, 1]);
  });

  it('with less of each where all of it would be more than an answer may have, and with every count', async () => {
    const failure = {
      'result-type': '€'.repeat(300),
      'sending-mta-ip': '192.0.2.1',
      'receiving-mx-hostname': '€'.repeat(300),
      'receiving-mx-helo': '€'.repeat(300),
      'additional-information': '€'.repeat(300),
      'failure-reason-code': '€'.repeat(300),
      'failed-session-count': 1,
    };
    const policy = { ...TLS.policies[0], 'failure-details': Array.from({ length: 20 }, () => failure) };
    const large = tls({ policies: Array.from({ length: 20 }, () => policy) });
    const small = await run(tls({ policies: Array.from({ length: 20 }, () => TLS.policies[0]) }));
    expect(small.reports[0]?.tls?.policies).toHaveLength(20);
    const answer = await run(
      await zipOf(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`${i}.json`, large]))),
    );
    expect(Buffer.byteLength(JSON.stringify(answer))).toBeLessThan(100_000);
    expect(answer.reports).toHaveLength(20);
    for (const { kind, tls: read } of answer.reports)
      expect([kind, read?.reportId, read?.successful, read?.failed]).toEqual(['tls', '007', 100, 40]);
  });

  it('with the addresses that all files tell of, each once, unless they are too many', async () => {
    const from = (...ips: string[]) => feedback(PAST + POLICY + ips.map((ip) => record({ row: row({ ip }) })).join(''));
    const many = (count: number) => Array.from({ length: count }, (_, index) => `192.0.2.${index}`);
    const failure = 'Feedback-Type: auth-failure\r\nAuth-Failure: dmarc\r\nSource-IP: 2001:DB8::1\r\n';
    const zip = await zipOf({
      'a.xml': from('192.0.2.1', '192.0.2.2', '192.0.2.1'),
      'b.xml': from('::ffff:192.0.2.2', '192.0.2.3'),
      'c.json': tls({}),
      'd.eml': failure,
    });
    expect((await run(zip)).addresses).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::1']);
    expect((await run(from(...many(100), '192.0.2.1'))).addresses).toEqual(many(100));
    expect((await run(from(...many(101)))).addresses).toBeNull();
    expect((await run(tls({}))).addresses).toEqual([]);
  });

  it('for each file of a zip, and says which are none', async () => {
    const bytes = await zipOf({ 'a.xml': feedback(PAST + POLICY + record()), 'note.txt': 'Hello', 'c.json': tls({}) });
    expect(await run(bytes)).toMatchObject({
      container: 'zip',
      reports: [
        { file: 'a.xml', kind: 'aggregate' },
        {
          file: 'c.json',
          kind: 'tls',
          tls: {
            reportId: '007',
            successful: 5,
            failed: 2,
            policies: [{ domain: 'example.com', failures: [{ receivingIp: null, sessions: 2 }] }],
          },
        },
      ],
      refused: [{ file: 'note.txt', code: 'dmarc.not_a_report' }],
    });
  });

  it('for the fields of a failure report (RFC 6591, 3; RFC 9991)', async () => {
    const fields = [
      'Feedback-Type: Auth-Failure',
      'Version: 1',
      'User-Agent: Receiver/2.0',
      'Auth-Failure: dmarc',
      'Identity-Alignment: dkim, spf',
      'Source-IP: 2001:DB8::0001',
      'Reported-Domain: Example.com',
      'Arrival-Date: Sat, 8 Oct 2011 20:15:58 -0500 (CDT)',
      'Original-Mail-From: <bounce@example.com>',
      'Original-Rcpt-To: <a@there.test>',
      'Original-Rcpt-To: <b@there.test>',
      'Authentication-Results: mx.there.test;',
      '  dmarc=fail header.from=example.com',
      'DKIM-Domain: example.com',
      'Delivery-Result: Reject',
      'Incidents: 3',
    ];
    const { reports } = await run(`${fields.join('\r\n')}\r\n`);
    expect(reports).toEqual([
      {
        file: null,
        kind: 'failure',
        aggregate: null,
        tls: null,
        failure: {
          authFailure: ['dmarc'],
          identityAlignment: ['dkim', 'spf'],
          sourceIp: '2001:db8::1',
          reportedDomain: 'example.com',
          deliveryResult: 'reject',
          arrivedAt: 1_318_122_958,
          mailFrom: 'bounce@example.com',
          rcptTo: ['a@there.test', 'b@there.test'],
          envelopeId: null,
          authenticationResults: ['mx.there.test;  dmarc=fail header.from=example.com'],
          dkim: { domain: 'example.com', identity: null, selector: null },
          spfRecords: [],
          reporter: { userAgent: 'Receiver/2.0', mta: null },
          incidents: 3,
        },
        warnings: [{ code: 'address_form', field: 'source-ip', count: 1, example: '2001:DB8::0001' }],
      },
    ]);
  });

  it('briefly, whatever a stranger wrote into it', async () => {
    const long = 'x'.repeat(5_000);
    const dkim = `<dkim><domain>${long}</domain><selector>${long}</selector><result>pass</result></dkim>`.repeat(100);
    const errors = `<error>${long}</error>`.repeat(100);
    const document = feedback(
      PAST.replace('<date_range>', `${errors}<date_range>`) +
        POLICY +
        record({ results: dkim }).repeat(20) +
        `<x:e>${long}</x:e>`.repeat(100),
    );
    expect(JSON.stringify(await run(document)).length).toBeLessThan(100_000);
  });
});
