/** Pages and files of a domain with more rows than a page has: a page is short, a file is whole. */
import { afterAll, beforeAll, expect, test } from 'vitest';
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
  const records = await lines('/sources/192.0.2.1?format=csv');
  expect(records).toHaveLength(1 + REPORTS);
  expect(new Set(records).size).toBe(1 + REPORTS);
});

test('in the first weeks of a domain nothing is called new beside the rest', async () => {
  expect(await page('')).toContain('Reports have just begun');
  expect(await page('/sources')).not.toContain('<strong>new</strong>');
});
