/** The API of reports: every figure is held against a count over the rows that were published, not over another query. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import { report } from '../../stores/contract/dmarc.ts';
import { draw, passed, publish, refuse, type Sent } from './dmarc-world.ts';
import { browse, startService, type Service } from './service.ts';

const DOMAIN = 'example.com';
const TODAY = new Date().toISOString().slice(0, 10);
/** What a spreadsheet would run, and what breaks a line. */
const FORMULA = '=cmd|"/c calc"!A1';

let service: Service;
let sent: Sent[];
let ids: string[];
let entry: string;
beforeAll(async () => {
  service = await startService();
  const blobs = await openBlobs(service.configuration);
  sent = [
    ...draw({ domain: DOMAIN, to: TODAY, days: 40, reporters: 2 }),
    { ...strange, organization: FORMULA, headerFrom: '@SUM(1,2)\r\n,x' },
  ];
  ids = await publish({ records: service.records, blobs }, sent, { domain: DOMAIN });
  entry = await refuse({ records: service.records, blobs }, { domain: DOMAIN, words: 'The document has a DOCTYPE.' });
  await blobs.close();
});
afterAll(() => service.close());

const strange: Sent = {
  day: TODAY,
  organization: '',
  source: '203.0.113.200',
  service: '-2+3',
  count: 12,
  disposition: 'reject',
  dkim: 'fail',
  spf: 'fail',
};

const get = async (path: string) => (await service.call('GET', `/v1/dmarc/${path}`)).json;
const ask = (path: string) => get(`domains/${DOMAIN}/${path}`);
const sum = (rows: Sent[]) => rows.reduce((total, { count }) => total + count, 0);
const since = (days: number) => sent.filter(({ day }) => day >= dayBefore(TODAY, days - 1));
/** The figures of rows, counted one by one. */
const count = (rows: Sent[]) => ({
  messages: sum(rows),
  passed: sum(rows.filter(passed)),
  dkim: sum(rows.filter(({ dkim }) => dkim === 'pass')),
  spf: sum(rows.filter(({ spf }) => spf === 'pass')),
  quarantined: sum(rows.filter(({ disposition }) => disposition === 'quarantine')),
  rejected: sum(rows.filter(({ disposition }) => disposition === 'reject')),
});
const by = <Key extends keyof Sent>(rows: Sent[], key: Key) => [...Map.groupBy(rows, (row) => row[key])];

describe('figures', () => {
  test.each([30, 7, 1])('of the last %i days are those that were reported', async (days) => {
    const rows = since(days);
    const { totals, before, policy, address } = await ask(`summary?days=${days}`);
    expect(totals).toEqual({
      ...count(rows),
      reports: by(rows, 'day').reduce((total, [, some]) => total + by(some, 'organization').length, 0),
      organizations: by(rows, 'organization').length,
      sources: by(rows, 'source').length,
      days: by(rows, 'day').length,
    });
    const earlier = since(2 * days).filter((row) => !rows.includes(row));
    expect(before).toMatchObject(count(earlier));
    expect([policy.p, address]).toEqual(['none', null]);
    expect((await get(`domains?days=${days}`)).items).toMatchObject([{ domain: DOMAIN, counts: count(rows) }]);
  });

  test('from one day to another include both', async () => {
    const [from, to] = [dayBefore(TODAY, 20), dayBefore(TODAY, 10)];
    const rows = sent.filter(({ day }) => day >= from && day <= to);
    const { items } = await ask(`days?from=${from}&to=${to}`);
    expect(items).toEqual(by(rows, 'day').map(([day, some]) => ({ day, ...count(some) })));
    const ofOne = rows.filter((row) => row.service === 'Amazon SES');
    const days = (await ask(`days?from=${from}&to=${to}&service=Amazon+SES`)).items;
    expect(days).toEqual(by(ofOne, 'day').map(([day, some]) => ({ day, ...count(some) })));
  });

  test('by service and by source add up to the same', async () => {
    const { items: services } = await ask('services');
    expect(services).toHaveLength(by(since(30), 'service').length);
    for (const [name, rows] of by(since(30), 'service'))
      expect(services).toContainEqual({ service: name, sources: by(rows, 'source').length, ...count(rows) });
    const { items: sources } = await ask('sources?limit=500');
    expect(sources).toHaveLength(by(since(30), 'source').length);
    for (const [source, rows] of by(since(30), 'source'))
      expect(sources).toContainEqual(expect.objectContaining({ source, ...count(rows) }));
    const { items: failing } = await ask('sources?failing=true&service=&limit=500');
    const expected = since(30).filter((row) => row.service === '' && !passed(row));
    expect(failing.map((one: { source: string }) => one.source).sort()).toEqual(
      by(expected, 'source')
        .map(([source]) => source)
        .sort(),
    );
  });

  test('what is new was not there before', async () => {
    const { items } = await ask('new-sources?days=7&limit=500');
    const first = (source: string) =>
      sent
        .filter((row) => row.source === source)
        .map(({ day }) => day)
        .sort()[0] ?? '';
    const expected = by(sent, 'source')
      .map(([source]) => source)
      .filter((source) => first(source) >= dayBefore(TODAY, 6));
    expect(items.map((one: { source: string }) => one.source).sort()).toEqual(expected.sort());
    expect(expected.length).toBeGreaterThan(1);
  });

  test('what a stricter policy would touch is what failed and went through', async () => {
    const { whatIf } = await ask('what-if');
    const failed = since(30).filter((row) => !passed(row));
    expect(whatIf.reject.hit).toBe(sum(failed.filter(({ disposition }) => disposition !== 'reject')));
    expect(whatIf.quarantine.hit).toBe(sum(failed.filter(({ disposition }) => disposition === 'none')));
    const lists = failed.filter((row) => row.service === 'lists.example');
    expect(whatIf.reject.services).toContainEqual({ service: 'lists.example', hit: sum(lists), exempt: sum(lists) });
  });

  test('the advice names the service that is half set up', async () => {
    const { advice, from } = await ask('advice');
    expect(from).toBe(dayBefore(TODAY, 34));
    expect(advice).toMatchObject({ step: 'fix', next: 'quarantine', current: 'none' });
    expect(advice.title).toContain('Mailbird Cloud');
  });
});

describe('drill-down', () => {
  test('the records of a source are its rows, a page at a time', async () => {
    const source = '192.0.2.1';
    const rows = sent.filter((row) => row.source === source);
    const seen: { record: { count: number } }[] = [];
    let next: string | null = '';
    while (next !== null) {
      const page = await ask(`sources/${source}/records?limit=7${next ? `&before=${next}` : ''}`);
      seen.push(...page.items);
      ({ next } = page);
    }
    expect(seen).toHaveLength(rows.length);
    expect(seen.reduce((total, { record }) => total + record.count, 0)).toBe(sum(rows));
    const day = rows.at(-1)?.day ?? '';
    const { items } = await ask(`sources/${source}/records?from=${day}&to=${day}&failing=true`);
    const failed = rows.filter((row) => row.day === day && !passed(row));
    expect(items.map((one: { record: { count: number } }) => one.record.count).sort()).toEqual(
      failed.map((row) => row.count).sort(),
    );
  });

  test('an IPv6 address in any form is found', async () => {
    const { items } = await ask('sources/2001:DB8:4860:0:0:0:0:c/records?limit=500');
    expect(items.length).toBe(sent.filter((row) => row.source === '2001:db8:4860::c').length);
  });

  test('a report has its records and its original as a download that no browser shows', async () => {
    const id = ids.at(-1) ?? '';
    expect(await get(`reports/${id}`)).toMatchObject({ organization: FORMULA, tls: null, failure: null });
    expect((await get(`reports/${id}/records`)).items).toHaveLength(1);
    const raw = await service.call('GET', `/v1/dmarc/reports/${id}/raw`);
    expect(raw.text).toMatch(/^<feedback>/);
    expect(Object.fromEntries(raw.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="report-${id}.xml"`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': expect.stringMatching(/^default-src 'none'/),
    });
  });

  test('reports are listed newest first, and by their days', async () => {
    const { items, next } = await ask('reports?limit=3');
    expect(items.map(({ id }: { id: string }) => id)).toEqual(ids.slice(-3).reverse());
    const older = await ask(`reports?limit=1&before=${next}`);
    expect(older.items[0].id).toBe(ids.at(-4));
    expect((await ask(`reports?from=${TODAY}`)).items).toHaveLength(3);
    expect((await ask('reports?kind=tls')).items).toEqual([]);
  });

  test('TLS and failure reports answer, also where there are none', async () => {
    expect(await ask('tls')).toMatchObject({ reports: 0, successful: 0, failed: 0, days: [], results: [] });
    expect(await ask('failures')).toEqual({ items: [], next: null });
  });
});

describe('a TLS report of a stranger, with more than anyone reads', () => {
  const [POLICIES, EACH] = [250, 3];
  let id: string;
  beforeAll(async () => {
    const tls = report({ domain: DOMAIN, kind: 'tls', policy: null, policyDomain: 'many.example.com' });
    const policies = Array.from({ length: POLICIES }, (_, index) => ({
      ...{ type: 'sts', domain: `p${index}.example.com`, text: [], mxHosts: [], successful: 0, failed: EACH },
      failures: Array.from({ length: EACH }, (_none, place) => ({
        ...{ resultType: `kind-${place}`, sendingMtaIp: null, receivingMxHostname: FORMULA, receivingMxHelo: null },
        ...{ receivingIp: null, sessions: index + 1, additionalInformation: null, reasonCode: null },
      })),
    }));
    const { number } = await service.records.dmarc.generations.current();
    await service.records.dmarc.reports.publish(tls, { kind: 'tls', policies }, number);
    id = tls.id;
  });

  test('is shown by its beginning, and says how much there is', async () => {
    const { tls, tlsTotal } = await get(`reports/${id}`);
    expect(tlsTotal).toEqual({ policies: POLICIES, failures: POLICIES * EACH });
    const domains = tls.map(({ domain }: { domain: string }) => domain);
    expect(domains).toEqual(Array.from({ length: 100 }, (_, index) => `p${index}.example.com`));
    for (const [index, { failures }] of tls.entries())
      expect(failures.map(({ sessions }: { sessions: number }) => sessions)).toEqual(
        [index, index, index].map((n) => n + 1),
      );
    const page = (await browse(service.port, `/dmarc/reports/${id}`)).text;
    expect(page.match(/data-label="sessions"/g)).toHaveLength(200);
    expect(page).toContain('100 of 250 policies, 200 of 750 failures');
  });

  test('has all of its failures, each once, page by page and as a file', async () => {
    const found: string[] = [];
    for (let next: string | null = ''; next !== null;) {
      const page: { items: { domain: string; failure: { resultType: string } }[]; next: string | null } = await get(
        `reports/${id}/tls-failures?limit=400${next && `&after=${next}`}`,
      );
      found.push(...page.items.map(({ domain, failure }) => `${domain} ${failure.resultType}`));
      next = page.next;
    }
    const all = Array.from(
      { length: POLICIES * EACH },
      (_, n) => `p${Math.floor(n / EACH)}.example.com kind-${n % EACH}`,
    );
    expect(found).toEqual(all);
    for (const file of [
      (await service.call('GET', `/v1/dmarc/reports/${id}/tls-failures?format=csv`)).text,
      (await browse(service.port, `/dmarc/reports/${id}?format=csv`)).text,
    ]) {
      const [header, ...lines] = file.trimEnd().split('\r\n');
      expect(header).toMatch(/^policy,number,type,domain,resultType,sessions,/);
      expect(lines).toHaveLength(all.length);
      expect(lines.at(-1)).toBe(`249,2,sts,p249.example.com,kind-2,250,,"'=cmd|""/c calc""!A1",,,,`);
    }
  });
});

describe('CSV', () => {
  const csv = async (path: string) => service.call('GET', `/v1/dmarc/domains/${DOMAIN}/${path}`);

  test('is a file with a header, CRLF and the same rows', async () => {
    const { text, headers } = await csv('days?format=csv');
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
    expect(headers.get('content-disposition')).toBe('attachment; filename="example.com-days.csv"');
    const lines = text.split('\r\n');
    expect(lines[0]).toBe('day,messages,passed,dkim,spf,quarantined,rejected');
    expect(lines).toHaveLength(1 + by(since(30), 'day').length + 1);
    const { messages, passed: good, dkim, spf, quarantined, rejected } = count(since(1));
    expect(lines.at(-2)).toBe([TODAY, messages, good, dkim, spf, quarantined, rejected].join(','));
  });

  test('has nothing that a spreadsheet takes for a formula, and keeps every cell in its column', async () => {
    const records = (await csv('sources/203.0.113.200/records?format=csv')).text;
    expect(records).toContain(`,"'=cmd|""/c calc""!A1",`);
    expect(records).toContain(`,"'@SUM(1,2)\r\n,x",`);
    expect((await csv('services?format=csv')).text).toContain("\r\n'-2+3,1,12,0,");
    for (const path of ['sources', 'new-sources', 'what-if', 'reports'])
      expect((await csv(`${path}?format=csv`)).text, path).not.toMatch(/(^|[\r\n,"])[=+@-][^,]/);
  });
});

describe('quarantine', () => {
  test('lists what was refused, with its reason and its original', async () => {
    expect((await get(`quarantine?domain=${DOMAIN}`)).items).toMatchObject([{ id: entry, code: 'dmarc.doctype' }]);
    expect((await get('quarantine?domain=other.example')).items).toEqual([]);
    expect(await get(`quarantine/${entry}`)).toMatchObject({ message: 'The document has a DOCTYPE.' });
    const raw = await service.call('GET', `/v1/dmarc/quarantine/${entry}/raw`);
    expect(raw.text).toContain('<!DOCTYPE');
    expect(raw.headers.get('content-disposition')).toMatch(/^attachment; filename="report-[\w-]+\.xml"$/);
  });

  test('removes only for those who may write, and says who did', async () => {
    const remove = async (...scopes: string[]) =>
      service.call('DELETE', `/v1/dmarc/quarantine/${entry}`, { token: await service.token(...scopes) });
    expect((await remove('dmarc:read')).status).toBe(403);
    expect((await remove('dmarc:write')).status).toBe(204);
    expect((await remove('dmarc:write')).json).toMatchObject({ code: 'dmarc.quarantine_missing', status: 404 });
    const [last] = await service.records.audit.list({ limit: 1 });
    expect(last).toMatchObject({ action: 'dmarc.quarantine.removed', subject: entry, actor: 'token:dmarc:write' });
  });
});

describe('bad questions', () => {
  test.each([
    ['domains/other.example/summary', 404, 'dmarc.domain_missing'],
    ['domains/a..b;id/summary', 404, 'dmarc.domain_missing'],
    [`domains/${DOMAIN}/days?from=2026-02-30`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/days?from=2026-02-02&to=2026-02-01`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/days?days=0`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/sources?failing=perhaps`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/services?format=xml`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/sources/192.0.2.1/records?before=nothing`, 400, 'input.invalid'],
    [`domains/${DOMAIN}/reports?kind=spam`, 400, 'input.invalid'],
    ['reports/none', 404, 'dmarc.report_missing'],
    ['reports/none/raw', 404, 'dmarc.report_missing'],
    ['quarantine/none', 404, 'dmarc.quarantine_missing'],
    ['quarantine/none/raw', 404, 'dmarc.quarantine_missing'],
  ])('%s: %i %s', async (path, status, code) => {
    expect(await get(path)).toMatchObject({ status, code, fix: expect.any(String) });
  });

  test.each(['domains', `domains/${DOMAIN}/summary`, `domains/${DOMAIN}/sources?format=csv`, 'quarantine'])(
    '%s needs dmarc:read',
    async (path) => {
      const answer = await service.call('GET', `/v1/dmarc/${path}`, { token: await service.token('mail:*') });
      expect(answer.json).toMatchObject({ status: 403, scope: 'dmarc:read' });
      expect((await service.call('GET', `/v1/dmarc/${path}`, { token: null })).status).toBe(401);
    },
  );
});
