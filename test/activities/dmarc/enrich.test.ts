/** The step: whose names are asked for, from the list of a step before or from the report itself. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { enrich } from '../../../activities/dmarc/enrich.ts';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { feedback, metadata, POLICY, range, record, row } from '../../protocols/dmarc/report.ts';
import { stepContext, stored } from './mails.ts';

let folder: string;
let dependencies: OpenDependencies;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-enrich-'));
  const zones = Object.fromEntries(
    [1, 2, 3].flatMap((host) => [
      [`${host}.2.0.192.in-addr.arpa`, [`PTR mx${host}.a.test`]],
      [`mx${host}.a.test`, [`A 192.0.2.${host}`]],
    ]),
  );
  const configuration = Configuration.parse({ state: folder, dns: { zones } });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
});
afterAll(async () => {
  await dependencies?.close();
  await rm(folder, { recursive: true, force: true });
});

const ask = (input: object) => enrich.call(input as Parameters<typeof enrich.call>[0], dependencies, stepContext('a'));
const nameOf = async (address: string) => (await dependencies.records.dmarc.hosts.find([address])).get(address)?.name;
const GONE = { key: `dmarc/2026/11/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 };

it('takes the addresses that are listed, and reads no report for them', async () => {
  expect(await ask({ report: GONE, addresses: ['192.0.2.1'] })).toMatchObject({ addresses: 1, asked: 1, named: 1 });
  expect(await nameOf('192.0.2.1')).toBe('mx1.a.test');
  expect(await ask({ report: GONE, addresses: [] })).toMatchObject({ addresses: 0, asked: 0 });
});

it('reads them where none are listed, as of what has too many', async () => {
  const rows = ['192.0.2.2', '192.0.2.3'].map((ip) => record({ row: row({ ip }) })).join('');
  const text = feedback(metadata(range('1700000000', '1700086399')) + POLICY + rows);
  const report = await stored(Buffer.from(text), dependencies, 'uploads');
  expect(await ask({ report, addresses: null })).toMatchObject({ addresses: 2, named: 2 });
  expect([await nameOf('192.0.2.2'), await nameOf('192.0.2.3')]).toEqual(['mx2.a.test', 'mx3.a.test']);
  // They are known now.
  expect(await ask({ report })).toMatchObject({ addresses: 2, asked: 0 });
  await expect(ask({ report: GONE })).rejects.toMatchObject({ code: 'blob.missing' });
});

it('refuses a list that has something else in it', async () => {
  await expect(ask({ report: GONE, addresses: ['mx.a.test'] })).rejects.toMatchObject({ code: 'input.invalid' });
});
