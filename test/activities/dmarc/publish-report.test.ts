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
import { record, row } from '../../protocols/dmarc/report.ts';
import { zipOf } from './archives.ts';
import { HOSTILE, reportAbout } from './hostile.ts';
import { ingest, mailWith, RECEIVED_AT, stepContext, stored } from './mails.ts';

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

const RANGE = { from: '2023-11-01', to: '2023-11-30' };

const document = ({ about = domain, ...rest }: { about?: string } & Parameters<typeof reportAbout>[1] = {}): string =>
  reportAbout(about, rest);
const take = (...attached: Parameters<typeof mailWith>) => ingest(mailWith(...attached), domain, act(), dependencies);
const totals = () => dependencies.records.dmarc.queries.totals({ domain, ...RANGE });

describe('of what anyone can send', () => {
  it.each(HOSTILE.filter(({ code }) => code !== null))(
    '$what: refused, and its original is in quarantine',
    async (one) => {
      const before = one.before ? await ingest(mailWith(...one.before(domain)), domain, 'before', dependencies) : [];
      const published = await totals();
      const files = await one.files(domain);
      const mail = mailWith(...files);
      const settled = await ingest(mail, domain, act(), dependencies);
      expect(settled).toMatchObject([{ state: 'refused', code: one.code, id: null }]);
      const [kept, ...others] = await dependencies.records.dmarc.quarantine.list({ domain });
      expect(others).toEqual([]);
      const bytes = one.original === 'mail' ? mail : Buffer.from(files[0]?.bytes ?? '');
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const prefix = one.original === 'mail' ? 'mail' : 'dmarc/2026/11';
      const blob = { key: `${prefix}/${sha256}`, sha256, size: bytes.length };
      const { code } = one;
      expect(kept).toMatchObject({ id: settled[0]?.quarantine, code, blob, domain, receivedAt: RECEIVED_AT });
      expect((await buffer(await dependencies.blobs.read(blob.key))).equals(bytes)).toBe(true);
      // It is the quarantine that keeps it, and not the act that brought it there.
      const { blobOwners } = dependencies.records;
      await blobOwners.expireOwner(`dmarc-act:${act()}/2`, '2000-01-01T00:00:00.000Z');
      expect(await blobOwners.isOwned(blob.key, new Date().toISOString())).toBe(true);
      await blobOwners.disown(blob.key, quarantineOwner(kept!.id));
      expect(await totals()).toEqual(published);
      expect(before.map(({ state }) => state)).toEqual(before.map(() => 'published'));
    },
  );

  it.each(HOSTILE.filter(({ code }) => code === null))('$what: taken for what it is', async (one) => {
    const settled = await ingest(mailWith(...(await one.files(domain))), domain, act(), dependencies);
    expect(settled).toMatchObject([{ state: 'published' }]);
    expect(await totals()).toMatchObject({ messages: 1, reports: 1, sources: 1 });
    const { queries } = dependencies.records.dmarc;
    expect((await queries.sources({ domain, ...RANGE })).map(({ source }) => source)).toEqual([one.source]);
    const report = await queries.report(settled[0]?.id ?? '');
    expect(report?.warnings.map((warning) => warning.code)).toEqual(one.warnings);
  });

  it('a mail without any file: the mail is in quarantine', async () => {
    const mail = Buffer.from('Subject: out of office\r\n\r\nI am away.\r\n');
    expect(await ingest(mail, domain, act(), dependencies)).toMatchObject([{ code: 'dmarc.no_report' }]);
    const [kept] = await dependencies.records.dmarc.quarantine.list({ domain });
    expect((await buffer(await dependencies.blobs.read(kept!.blob.key))).equals(mail)).toBe(true);
  });

  it('what comes again is there once', async () => {
    await take({ bytes: 'x' });
    await take({ bytes: 'x' });
    expect(await dependencies.records.dmarc.quarantine.count({ domain })).toBe(1);
  });

  it.each(['dmarc.doctype', 'dmarc.truncated', 'dmarc.nested_archive'])(
    'given to the step alone, as by a node: %s is in quarantine too',
    async (code) => {
      const [file] = (await HOSTILE.find((one) => one.code === code)?.files(domain)) ?? [];
      const report = await stored(Buffer.from(file?.bytes ?? ''), dependencies, 'uploads');
      const input = { report, domain, act: act(), receivedAt: RECEIVED_AT };
      const { reports } = await publishReport.call(input, dependencies, stepContext(act()));
      const [kept] = await dependencies.records.dmarc.quarantine.list({ domain });
      expect(reports).toMatchObject([{ state: 'refused', code, quarantine: kept?.id }]);
      expect(kept).toMatchObject({ code, blob: report });
    },
  );
});

it('a report without a record is one', async () => {
  expect(await take({ bytes: gzipSync(document({ records: '' })) })).toMatchObject([{ state: 'published' }]);
  expect(await totals()).toMatchObject({ messages: 0, reports: 1 });
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

  it('of a few records with much in them is written ahead too, so that they are never in memory together', async () => {
    const much = `<spf><domain>${'d'.repeat(60_000)}</domain><result>fail</result></spf>`;
    const records = record({ results: much }).repeat(100);
    const report = await stored(gzipSync(document({ records })), dependencies, 'uploads');
    const seen: number[] = [];
    const watched = {
      ...stepContext(act()),
      report: (progress: unknown) => void seen.push((progress as { records: number }).records),
    };
    const { reports } = await publishReport.call(
      { report, domain, act: act(), receivedAt: RECEIVED_AT },
      dependencies,
      watched,
    );
    expect(reports).toMatchObject([{ state: 'published', records: 100, messages: 100 }]);
    // 1 MiB is 17 of them.
    expect(seen).toEqual(expect.arrayContaining([expect.any(Number)]));
    expect(Math.max(...seen.map((one, index) => one - (seen[index - 1] ?? 0)))).toBeLessThan(25);
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
