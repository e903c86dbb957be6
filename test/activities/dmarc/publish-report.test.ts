/** From a mail to published records: what bad input gets and where its original is, and that each record counts once. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { publishReport } from '../../../activities/dmarc/publish-report.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { quarantineOwner, reportOwner } from '../../../stores/records/dmarc/port.ts';
import { feedback, range, record, row } from '../../protocols/dmarc/report.ts';
import { gzipBomb, zipOf } from './archives.ts';
import { ingest, mailWith, RECEIVED_AT, stepContext, stored } from './mails.ts';

const MiB = 1_048_576;
/** Ceilings ten times looser than the goals: a second, and 100 MB. */
const CEILING_MS = 10_000;
const CEILING_BYTES = 1_000_000_000;

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-dmarc-'));
  const configuration = Configuration.parse({
    hostname: 'mx.own.test',
    state: folder,
    dns: {
      zones: {
        '1.2.0.192.in-addr.arpa': ['PTR mail-sor-f41.google.com'],
        'mail-sor-f41.google.com': ['A 192.0.2.1'],
        '2.2.0.192.in-addr.arpa': ['PTR mail-sor-f41.google.com'],
        '3.2.0.192.in-addr.arpa': ['PTR mx1.shop.co.uk'],
        'mx1.shop.co.uk': ['A 192.0.2.3'],
      },
    },
  });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

let domain: string;
let count = 0;
beforeEach(() => {
  domain = `d${++count}.example`;
});
const act = () => `mail-${domain}`;

/** A day that has passed on every clock: 2023-11-14 and 15. */
const begin = 1_700_000_000;
const dates = range(String(begin), String(begin + 86_399));
const RANGE = { from: '2023-11-01', to: '2023-11-30' };

function document({ about = domain, id = '1', org = 'receiver.test', records = record(), days = dates } = {}): string {
  return feedback(
    `<report_metadata><org_name>${org}</org_name><email>d@receiver.test</email><report_id>${id}</report_id>${days}</report_metadata>` +
      `<policy_published><domain>${about}</domain><p>none</p></policy_published>${records}`,
  );
}
const take = (...attached: Parameters<typeof mailWith>) => ingest(mailWith(...attached), domain, act(), dependencies);
const totals = () => dependencies.records.dmarc.queries.totals({ domain, ...RANGE });

describe('bad input is in quarantine, with its original', () => {
  const withCount = (value: string) => document({ records: record({ row: row({ count: value }) }) });
  const withAddress = (ip: string) => document({ records: record({ row: row({ ip }) }) });
  const cases: [string, () => Promise<Buffer | string> | Buffer | string, string][] = [
    ['a gzip bomb of 1 GiB', () => gzipBomb(1_024 * MiB, { before: '<feedback><version>' }), 'dmarc.too_large'],
    ['a zip in a zip', async () => zipOf({ 'a.zip': await zipOf({ 'a.xml': document() }) }), 'dmarc.nested_archive'],
    [
      '10,000 members',
      () => zipOf(Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`${index}.xml`, 'x']))),
      'dmarc.too_many_members',
    ],
    [
      'billion laughs',
      () =>
        `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>${document().replace('<org_name>', '<org_name>&b;')}`,
      'dmarc.doctype',
    ],
    ['a DOCTYPE', () => `<!DOCTYPE feedback SYSTEM "file:///etc/passwd">${document().slice(39)}`, 'dmarc.doctype'],
    ['count 10^18', () => withCount('1000000000000000000'), 'dmarc.bad_count'],
    ['count -1', () => withCount('-1'), 'dmarc.bad_count'],
    ['dates reversed', () => document({ days: range(String(begin + 86_399), String(begin)) }), 'dmarc.bad_date_range'],
    ['2099', () => document({ days: range('4070908800', '4070995199') }), 'dmarc.bad_date_range'],
    ['an IPv6 address with two gaps', () => withAddress('2001:db8::1::2'), 'dmarc.bad_source_ip'],
    ['a gzip without its end', () => gzipSync(document()).subarray(0, -20), 'dmarc.truncated'],
    ['HTML', () => '<!doctype html><title>Sign in</title>', 'dmarc.not_a_report'],
    ['JSON of something else', () => '{"a": 1}', 'dmarc.not_a_report'],
    ['nothing', () => '', 'dmarc.empty'],
    ['a report about another domain', () => document({ about: 'other.example' }), 'dmarc.foreign_domain'],
    ['a report about a domain that ends alike', () => document({ about: `not${domain}` }), 'dmarc.foreign_domain'],
  ];
  it.each(cases)('%s', async (_what, make, code) => {
    const bytes = Buffer.from(await make());
    const before = process.memoryUsage().rss;
    const began = performance.now();
    const published = await take({ bytes, name: 'report.xml.gz', type: 'application/gzip' });
    expect(performance.now() - began).toBeLessThan(CEILING_MS);
    expect(process.memoryUsage().rss - before).toBeLessThan(CEILING_BYTES);
    expect(published).toMatchObject([{ state: 'refused', code, id: null }]);
    const [kept, ...others] = await dependencies.records.dmarc.quarantine.list({ domain });
    expect(others).toEqual([]);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const blob = { key: `dmarc/2026/11/${sha256}`, sha256, size: bytes.length };
    expect(kept).toMatchObject({ id: published[0]?.quarantine, code, blob, domain, receivedAt: RECEIVED_AT });
    expect((await buffer(await dependencies.blobs.read(blob.key))).equals(bytes)).toBe(true);
    const { blobOwners } = dependencies.records;
    await blobOwners.expireOwner(`dmarc-act:${act()}/2`, '2000-01-01T00:00:00.000Z');
    expect(await blobOwners.isOwned(blob.key, new Date().toISOString())).toBe(true);
    await blobOwners.disown(blob.key, quarantineOwner(kept!.id));
    expect(await totals()).toMatchObject({ messages: 0, reports: 0 });
  });

  it('5,000 attachments', async () => {
    const mail = mailWith(...Array.from({ length: 5_000 }, () => ({ bytes: 'x' })));
    const began = performance.now();
    await expect(ingest(mail, domain, act(), dependencies)).rejects.toMatchObject({
      code: 'dmarc.too_many_attachments',
    });
    expect(performance.now() - began).toBeLessThan(CEILING_MS);
  });

  it('a mail without any file', async () => {
    const mail = Buffer.from('Subject: out of office\r\n\r\nI am away.\r\n');
    await expect(ingest(mail, domain, act(), dependencies)).rejects.toMatchObject({ code: 'dmarc.no_report' });
  });

  it('the same report id with other content: the first one counts', async () => {
    const [first] = await take({ bytes: document() });
    const other = document({ records: record({ row: row({ count: '1000' }) }) });
    const published = await ingest(mailWith({ bytes: other }), domain, 'forger', dependencies);
    expect(published).toMatchObject([{ state: 'refused', code: 'dmarc.conflicting_report' }]);
    expect(await totals()).toMatchObject({ messages: 1, reports: 1 });
    expect(first).toMatchObject({ state: 'published' });
    const [kept] = await dependencies.records.dmarc.quarantine.list({ domain });
    expect((await buffer(await dependencies.blobs.read(kept!.blob.key))).toString()).toBe(other);
  });

  it('that comes again is there once', async () => {
    await take({ bytes: 'x' });
    await take({ bytes: 'x' });
    expect(await dependencies.records.dmarc.quarantine.count({ domain })).toBe(1);
  });
});

describe('odd input is taken', () => {
  it.each([
    ['30 MiB of XML with one record', () => record({ results: `<note>${'x'.repeat(30_000)}</note>`.repeat(600) }), 1],
    ['an IPv4 address in IPv6', () => record({ row: row({ ip: '::ffff:192.0.2.7' }) }), 1],
    ['no record', () => '', 0],
  ])('%s', async (_what, records, messages) => {
    expect(await take({ bytes: gzipSync(document({ records: records() })) })).toMatchObject([{ state: 'published' }]);
    expect(await totals()).toMatchObject({ messages, reports: 1 });
  });

  it('bytes that are no UTF-8, and line ends after a gzip', async () => {
    const bytes = Buffer.concat([gzipSync(Buffer.from(document({ org: 'M\xfcller' }), 'latin1')), Buffer.from('\r\n')]);
    const [{ id } = { id: '' }] = await take({ bytes });
    const report = await dependencies.records.dmarc.queries.report(id ?? '');
    expect(report?.warnings.map(({ code }) => code).sort()).toEqual(['invalid_encoding', 'trailing_bytes']);
  });
});

describe('a report', () => {
  it('counts once however it is packed and however often it comes, and its bytes are kept', async () => {
    const xml = document({ records: record() + record({ row: row({ ip: '192.0.2.9', count: '41' }) }) });
    const [first] = await take({ bytes: xml, name: 'a.xml' });
    const again = await ingest(
      mailWith({ bytes: gzipSync(xml) }, { bytes: await zipOf({ 'b.xml': xml }) }),
      domain,
      'again',
      dependencies,
    );
    expect(again.map(({ state, id }) => [state, id])).toEqual([
      ['repeated', first?.id],
      ['repeated', first?.id],
    ]);
    expect(await totals()).toMatchObject({ messages: 42, reports: 1, sources: 2 });
    const report = await dependencies.records.dmarc.queries.report(first?.id ?? '');
    expect(report).toMatchObject({ domain, organization: 'receiver.test', reportId: '1', day: '2023-11-15' });
    expect((await buffer(await dependencies.blobs.read(report!.blob.key))).toString()).toBe(xml);
    const { blobOwners } = dependencies.records;
    await blobOwners.expireOwner(`dmarc-act:${act()}/2`, '2000-01-01T00:00:00.000Z');
    expect(await blobOwners.isOwned(report!.blob.key, '2099-01-01T00:00:00.000Z')).toBe(true);
    await blobOwners.disown(report!.blob.key, reportOwner(first?.id ?? ''));
    expect(await blobOwners.isOwned(report!.blob.key, '2099-01-01T00:00:00.000Z')).toBe(false);
  });

  it('is taken out of a zip beside what is none, and from every attachment', async () => {
    const zip = await zipOf({ 'a.xml': document({ id: 'a' }), 'readme.txt': 'Hello', 'b.xml': document({ id: 'b' }) });
    const published = await take({ bytes: zip }, { bytes: document({ id: 'c' }), type: 'text/xml' });
    expect(published.map(({ state, file, code }) => [state, file, code])).toEqual([
      ['published', 'a.xml', null],
      ['refused', 'readme.txt', 'dmarc.not_a_report'],
      ['published', 'b.xml', null],
      ['published', null, null],
    ]);
    expect(await totals()).toMatchObject({ reports: 3, messages: 3 });
  });

  it('of thousands of records is published whole, and by a second attempt too', async () => {
    const records = Array.from({ length: 4_321 }, (_, index) =>
      record({ row: row({ ip: `10.0.${index >> 8}.${index & 255}`, count: '3' }) }),
    ).join('');
    const report = await stored(gzipSync(document({ records })), dependencies, 'uploads');
    const input = { report, domain, act: act(), receivedAt: RECEIVED_AT };
    const gone = new AbortController();
    const dying = {
      ...stepContext(act()),
      signal: gone.signal,
      report: (progress: unknown) => (progress as { records: number }).records === 2_000 && gone.abort(),
    };
    await expect(publishReport.call(input, dependencies, dying)).rejects.toThrow();
    expect(await totals()).toMatchObject({ messages: 0, reports: 0 });
    const first = await publishReport.call(input, dependencies, stepContext(act()));
    expect(first.reports).toMatchObject([{ state: 'published', records: 4_321, messages: 12_963 }]);
    expect(await publishReport.call(input, dependencies, stepContext(act()))).toEqual(first);
    expect(await totals()).toMatchObject({ messages: 12_963, reports: 1, sources: 4_321 });
  });

  it('of thousands of records about another domain leaves nothing behind', async () => {
    const records = Array.from({ length: 2_500 }, () => record()).join('');
    expect(await take({ bytes: document({ about: 'other.example', records }) })).toMatchObject([{ state: 'refused' }]);
    expect(await dependencies.records.dmarc.reports.expireStaged('2100-01-01T00:00:00.000Z')).toBe(0);
  });

  it('about a name below the domain belongs to the domain, and to the nearest one where there are several', async () => {
    expect(await take({ bytes: document({ about: `mail.${domain}` }) })).toMatchObject([
      { state: 'published', domain },
    ]);
    await dependencies.records.rules.applyDeclared([{ domain: 'mail.test', rules: [] }]);
    for (const one of [domain, `sub.${domain}`])
      await dependencies.records.dmarc.domains.put(one, `${one}@mail.test`, 'test');
    const report = await stored(Buffer.from(document({ about: `x.sub.${domain}`, id: '2' })), dependencies);
    const published = await publishReport.call({ report }, dependencies, stepContext('any'));
    expect(published.reports).toMatchObject([{ state: 'published', domain: `sub.${domain}` }]);
  });

  it('has its sources named by hosts that confirm it, and by who signed', async () => {
    const signed = '<dkim><domain>shop.sendgrid.net</domain><result>pass</result></dkim>';
    const from = (ip: string, results?: string) => record({ row: row({ ip }), results });
    const records = from('192.0.2.1') + from('192.0.2.2') + from('192.0.2.3') + from('192.0.2.4', signed);
    await take({ bytes: document({ records }) });
    const sources = await dependencies.records.dmarc.queries.sources({ domain, ...RANGE });
    expect(sources.map(({ source, service, name }) => [source, service, name])).toEqual([
      ['192.0.2.1', 'Google', 'mail-sor-f41.google.com'],
      ['192.0.2.2', '', null],
      ['192.0.2.3', 'shop.co.uk', 'mx1.shop.co.uk'],
      ['192.0.2.4', 'SendGrid', null],
    ]);
  });
});
