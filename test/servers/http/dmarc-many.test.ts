/** Pages and files of a domain with more rows than a page has: a page is short, a file is whole. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { record, report } from '../../stores/contract/dmarc.ts';
import { browse, startService, type Service } from './service.ts';

const DOMAIN = 'many.example';
const REPORTS = 501;
const YESTERDAY = Math.floor(Date.now() / 86_400_000 - 1) * 86_400;

let service: Service;
beforeAll(async () => {
  service = await startService();
  const { reports, generations } = service.records.dmarc;
  const { number } = await generations.current();
  for (let index = 0; index < REPORTS; index += 1) {
    const change = { domain: DOMAIN, reportId: `${index}`, begin: YESTERDAY, end: YESTERDAY + 86_399 };
    const rows = [
      record({ source: '192.0.2.1', count: 1_000, service: 'Largest' }, 1),
      record(
        { source: `10.0.${index >> 8}.${index & 255}`, dkim: 'fail', spf: 'fail', service: `s${index % 120}.example` },
        2,
      ),
    ];
    await reports.publish(report(change), { kind: 'aggregate', records: rows }, number);
  }
});
afterAll(() => service.close());

const page = async (path: string) => (await browse(service.port, `/dmarc/${DOMAIN}${path}`)).text;
const lines = async (path: string) => (await page(path)).trim().split('\r\n');
const count = (text: string, part: string) => text.split(part).length - 1;

test('a page has fifty of many services, the largest first, and a link to the others', async () => {
  const first = await page('');
  expect(count(first, 'data-label="addresses"')).toBe(50);
  expect(first).toContain(`href="/dmarc/${DOMAIN}?services=50"`);
  expect(first.indexOf('>Largest<')).toBeGreaterThan(0);
  const last = await page('?services=100');
  expect(count(last, 'data-label="addresses"')).toBe(21);
  expect(last).not.toContain('?services=150');
  const whatIf = await page('/what-if?reject=100');
  expect(count(whatIf, 'data-label="hit"')).toBe(50 + 20);
});

test('a page has fifty of many addresses, and says which', async () => {
  expect(count(await page('/sources'), 'data-label="failing"')).toBe(50);
  const last = await page('/sources?skip=500');
  expect(count(last, 'data-label="failing"')).toBe(2);
  expect(last).toContain('numbers 501 to 502');
});

test('a file has every row: reports, addresses, and records of an address', async () => {
  expect(await lines('/reports?format=csv')).toHaveLength(1 + REPORTS);
  expect(await lines('/sources?format=csv')).toHaveLength(1 + REPORTS + 1);
  expect(await lines('/new?format=csv')).toHaveLength(1 + REPORTS + 1);
  const records = await lines('/sources/192.0.2.1?format=csv');
  expect(records).toHaveLength(1 + REPORTS);
  expect(new Set(records).size).toBe(1 + REPORTS);
});

describe('a file of the API', () => {
  const ask = async (path: string) => (await service.call('GET', `/v1/dmarc/${path}`)).text.trim().split('\r\n');
  const about = `domains/${DOMAIN}`;

  test.each([
    ['reports', `${about}/reports?format=csv`, REPORTS],
    ['sources', `${about}/sources?format=csv`, REPORTS + 1],
    ['failing sources', `${about}/sources?format=csv&failing=true`, REPORTS],
    ['new sources', `${about}/new-sources?format=csv`, REPORTS + 1],
    ['records of a source', `${about}/sources/192.0.2.1/records?format=csv`, REPORTS],
  ])('has every row: %s', async (_what, path, rows) => {
    const found = await ask(path);
    expect(found).toHaveLength(1 + rows);
    expect(new Set(found).size).toBe(1 + rows);
    // Who wants less says so.
    expect(await ask(`${path}&limit=7`)).toHaveLength(1 + 7);
  });

  test('has every row: records of a report', async () => {
    const { reports, generations } = service.records.dmarc;
    const { number } = await generations.current();
    const records = Array.from({ length: 1_201 }, (_, at) => record({ source: '192.0.2.9', count: at + 1 }, at + 1));
    const { id } = await reports.publish(report({ domain: 'large.example' }), { kind: 'aggregate', records }, number);
    const counts = (found: string[]) =>
      found.slice(1).map((line) => Number(/,192\.0\.2\.9,[^,]*,(\d+),/.exec(line)?.[1]));
    const found = await ask(`reports/${id}/records?format=csv`);
    expect(found[0]).toMatch(/,source,service,messages,/);
    expect(counts(found)).toEqual(records.map(({ record: { count: messages } }) => messages));
    expect(counts(await ask(`reports/${id}/records?format=csv&after=1000`))).toEqual(
      Array.from({ length: 201 }, (_, at) => 1_001 + at),
    );
    expect(await ask(`reports/${id}/records?format=csv&limit=3`)).toHaveLength(1 + 3);
  });

  test('in JSON a page is a page', async () => {
    const { json } = await service.call('GET', `/v1/dmarc/${about}/reports`);
    expect([json.items.length, typeof json.next]).toEqual([100, 'string']);
  });
});

test('in the first weeks of a domain nothing is called new beside the rest', async () => {
  expect(await page('')).toContain('Reports have just begun');
  expect(await page('/sources')).not.toContain('<strong>new</strong>');
});
