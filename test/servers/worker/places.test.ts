/** Hosts of reports that came before the files of places did. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { startPlaces, watchPlaces } from '../../../servers/worker/places.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration, type ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { record, report } from '../../stores/contract/dmarc.ts';
import { eventually } from '../../support/house.ts';
import { mmdbOf } from '../../support/mmdb.ts';

const DOMAINS = ['one.example', 'two.example'];
/** More than the store gives at once. */
const SOURCES = Array.from({ length: 1_203 }, (_, at) => `10.${at >> 8}.${at & 255}.1`);
const log = pino({ level: 'silent' });

let folder: string;
let country: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-places-'));
  country = join(folder, 'country.mmdb');
  await writeFile(country, mmdbOf({ '10.0.0.0/8': { country: { iso_code: 'DE' } } }));
  const before = await open({});
  const { reports, generations, hosts } = before.records.dmarc;
  const { number } = await generations.current();
  for (const domain of DOMAINS) {
    const records = SOURCES.map((source, at) => record({ source }, at + 1));
    await reports.publish(report({ domain }), { kind: 'aggregate', records }, number);
  }
  await hosts.put([{ address: '10.0.0.1', name: 'mx.one.example', country: null, network: null }]);
  await before.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function open(dmarc: NonNullable<ConfigurationInput['dmarc']>): Promise<OpenDependencies> {
  const configuration = Configuration.parse({ state: folder, dmarc });
  return openDependencies(configuration, resolveAddresses(configuration));
}

async function countriesOf({ records }: OpenDependencies): Promise<(string | null)[]> {
  const found: (string | null)[] = [];
  for (const domain of DOMAINS)
    for await (const some of records.dmarc.queries.everySource({ domain, from: '2000-01-01', to: '2099-12-31' }))
      found.push(...some.map((one) => one.country));
  return found;
}

it('have their places soon after the worker has begun with the files, and keep their names', async () => {
  const dependencies = await open({ geo: { country } });
  const places = startPlaces({ dependencies, log });
  await eventually(async () => (await countriesOf(dependencies)).every((one) => one === 'DE'), 'the places');
  expect(await countriesOf(dependencies)).toHaveLength(DOMAINS.length * SOURCES.length);
  const known = await dependencies.records.dmarc.hosts.find(['10.0.0.1', '10.1.0.1']);
  expect(known.get('10.0.0.1')?.name).toBe('mx.one.example');
  // Never asked for: its name is asked for with the next report.
  expect(known.get('10.1.0.1')?.lookedUpAt).toBe('');
  await places.stop();
  await dependencies.close();
});

it('move with a file that is replaced; where it is the same nothing is looked up', async () => {
  const dependencies = await open({ geo: { country } });
  const look = watchPlaces({ dependencies, log });
  const { signal } = new AbortController();
  expect(await look(signal)).toBe(0);
  await dependencies.records.dmarc.hosts.locate([{ address: '10.0.0.1', country: 'XX', network: null }]);
  expect(await look(signal)).toBe(0);
  expect((await dependencies.records.dmarc.hosts.find(['10.0.0.1'])).get('10.0.0.1')?.country).toBe('XX');
  await writeFile(`${country}.new`, mmdbOf({ '10.0.0.0/16': { country: { iso_code: 'AT' } } }));
  await rename(`${country}.new`, country);
  expect(await look(signal)).toBe(SOURCES.length);
  const countries = await countriesOf(dependencies);
  expect(countries.filter((one) => one === 'AT')).toHaveLength(DOMAINS.length * 256);
  expect(countries.filter((one) => one === null)).toHaveLength(DOMAINS.length * (SOURCES.length - 256));
  await dependencies.close();
});

it('are left alone where no file is named', async () => {
  const dependencies = await open({});
  await startPlaces({ dependencies, log }).stop();
  expect(await countriesOf(dependencies)).toContain('AT');
  await dependencies.close();
});
