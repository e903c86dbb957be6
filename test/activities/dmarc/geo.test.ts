/** Where addresses are: files that are none, what makers of such files write, replacement, and what is seen of it. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createGeo } from '../../../activities/dmarc/geo.ts';
import { openDependencies } from '../../../activities/open.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration, type ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { feedback, metadata, POLICY, range, record, row } from '../../protocols/dmarc/report.ts';
import { mmdbOf } from '../../support/mmdb.ts';
import { ingest, mailWith } from './mails.ts';

const COUNTRIES = mmdbOf({
  '192.0.2.0/24': { country: { iso_code: 'DE', names: { en: 'Germany' } } },
  '192.0.2.128/25': { registered_country: { iso_code: 'FR' } },
  '198.51.100.0/24': { country: 'Switzerland', country_code: 'CH' },
  '203.0.113.0/24': { country: 'NL' },
  '2001:db8::/32': { country: { iso_code: 'JP' } },
  '100.64.0.0/16': { country: { iso_code: '<b>' } },
  '100.65.0.0/16': ['not', 'a', 'map'],
});
const NETWORKS = mmdbOf({
  '192.0.2.0/24': { autonomous_system_number: 64496, autonomous_system_organization: 'Example Net' },
  '198.51.100.0/24': { asn: 'AS64497', as_name: ' Example Cloud ' },
  '2001:db8:1::/48': { autonomous_system_number: 4_200_000_000 },
});

let folder: string;
let files: { country: string; network: string };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-geo-'));
  files = { country: join(folder, 'country.mmdb'), network: join(folder, 'asn.mmdb') };
  await writeFile(files.country, COUNTRIES);
  await writeFile(files.network, NETWORKS);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const geoOf = (geo: NonNullable<ConfigurationInput['dmarc']>['geo']) =>
  createGeo(Configuration.parse({ dmarc: { geo } }));
const replace = async (file: string, bytes: Buffer | string) => {
  await writeFile(`${file}.new`, bytes);
  await rename(`${file}.new`, file);
};

it.each([
  ['is missing', undefined],
  ['is empty', ''],
  ['is text', '<html>Please sign in</html>'],
  ['is still packed', gzipSync(COUNTRIES)],
  ['ends too early', COUNTRIES.subarray(0, -40)],
  ['has lost its beginning', COUNTRIES.subarray(COUNTRIES.length - 250)],
])('a file that %s is an error that names the setting and the file', async (_what, bytes) => {
  const file = join(folder, 'bad.mmdb');
  await rm(file, { force: true });
  if (bytes !== undefined) await writeFile(file, bytes);
  for (const setting of ['country', 'network'] as const)
    await expect(geoOf({ ...files, [setting]: file }).version()).rejects.toMatchObject({
      code: 'dmarc.geo_unreadable',
      message: expect.stringMatching(`^dmarc\\.geo\\.${setting}: ${file} cannot be read`),
      fix: expect.stringContaining(`dmarc.geo.${setting}`),
    });
});

it('nothing is known where no file is named', async () => {
  const geo = geoOf({});
  expect([geo.enabled, await geo.version(), await geo.find(['192.0.2.1'])]).toEqual([false, '', new Map()]);
});

it('reads what MaxMind, DB-IP and IPinfo write, for both families, and no more than that', async () => {
  const geo = geoOf(files);
  const asked = ['192.0.2.1', '192.0.2.200', '198.51.100.7', '203.0.113.9', '2001:db8::5', '2001:db8:1::5'];
  const nothing = ['100.64.0.1', '100.65.0.1', '8.8.8.8', '2001:db9::1', 'no address'];
  expect(Object.fromEntries(await geo.find([...asked, ...nothing]))).toEqual({
    '192.0.2.1': { country: 'DE', network: 'AS64496 Example Net' },
    '192.0.2.200': { country: 'FR', network: 'AS64496 Example Net' },
    '198.51.100.7': { country: 'CH', network: 'AS64497 Example Cloud' },
    '203.0.113.9': { country: 'NL', network: null },
    '2001:db8::5': { country: 'JP', network: null },
    '2001:db8:1::5': { country: 'JP', network: 'AS4200000000' },
  });
  expect((await geoOf({ network: files.network }).find(['192.0.2.1'])).get('192.0.2.1')?.country).toBeNull();
});

it('a file that is replaced is read anew, and a broken one does not take the place of a good one', async () => {
  const country = join(folder, 'changing.mmdb');
  await writeFile(country, COUNTRIES);
  const geo = geoOf({ country });
  const now = async () => (await geo.find(['192.0.2.1'])).get('192.0.2.1')?.country;
  expect(await now()).toBe('DE');
  await replace(country, mmdbOf({ '192.0.2.0/24': { country: { iso_code: 'AT' } } }));
  expect(await now()).toBe('AT');
  for (const broken of ['', COUNTRIES.subarray(0, 100)]) {
    await replace(country, broken);
    expect(await now()).toBe('AT');
  }
  await rm(country);
  expect(await now()).toBe('AT');
  await writeFile(country, COUNTRIES);
  expect(await now()).toBe('DE');
});

it('the sources of a report have their place, whether or not names are asked for, and move with the file', async () => {
  const country = join(folder, 'moving.mmdb');
  await writeFile(country, COUNTRIES);
  const open = (names: NonNullable<ConfigurationInput['dmarc']>['names']) => {
    const configuration = Configuration.parse({
      state: join(folder, 'state'),
      dns: {
        zones: {
          '1.2.0.192.in-addr.arpa': ['PTR mx.a.test'],
          'mx.a.test': ['A 192.0.2.1'],
          '9.113.0.203.in-addr.arpa': [],
          '8.8.8.8.in-addr.arpa': [],
        },
      },
      dmarc: { names, geo: { country, network: files.network } },
    });
    return openDependencies(configuration, resolveAddresses(configuration));
  };
  const report = (id: string) => {
    const rows = ['192.0.2.1', '203.0.113.9', '8.8.8.8'].map((ip) => record({ row: row({ ip }) }));
    const text = feedback(metadata(range('1700000000', '1700086399')) + POLICY + rows.join(''));
    return mailWith({ bytes: text.replace(/(?<=<report_id>)[^<]+/, id) });
  };
  const publish = async (id: string, names: Parameters<typeof open>[0]) => {
    const dependencies = await open(names);
    await ingest(report(id), 'example.com', id, dependencies);
    const asked = { domain: 'example.com', from: '2023-11-01', to: '2023-11-30' };
    const sources = await dependencies.records.dmarc.queries.sources(asked);
    await dependencies.close();
    return Object.fromEntries(sources.map(({ source, ...one }) => [source, [one.name, one.country, one.network]]));
  };
  const rest = { '203.0.113.9': [null, 'NL', null], '8.8.8.8': [null, null, null] };
  const place = ['DE', 'AS64496 Example Net'];
  expect(await publish('1', { enabled: false })).toEqual({ '192.0.2.1': [null, ...place], ...rest });
  expect(await publish('2', { wait: '5s' })).toEqual({ '192.0.2.1': ['mx.a.test', ...place], ...rest });
  await replace(country, mmdbOf({ '192.0.2.0/24': { country: { iso_code: 'AT' } } }));
  expect(await publish('3', { wait: '5s' })).toEqual({
    '192.0.2.1': ['mx.a.test', 'AT', place[1]],
    '203.0.113.9': [null, null, null],
    '8.8.8.8': [null, null, null],
  });
});
