import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { prepareState, TOKEN_FILE } from '../../cli/up/prepare.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import { Configuration } from '../../stores/configuration/schema.ts';
import { openRecords } from '../../stores/records/open.ts';
import { sharedTemporal } from '../setup/temporal.ts';

it('makes the first token once, and the audit log says so', async () => {
  const state = await mkdtemp(join(tmpdir(), 'switchyard-prepare-'));
  const configuration = Configuration.parse({ state, temporal: { address: await sharedTemporal() } });
  const addresses = resolveAddresses(configuration, {});
  const records = await openRecords(configuration);
  try {
    for (let start = 0; start < 2; start++) await prepareState(configuration, addresses);
    const token = await records.tokens.find((await readFile(join(state, TOKEN_FILE), 'utf8')).trim());
    expect(token).toMatchObject({ scopes: ['*'] });
    const entries = (await records.audit.list({})).filter(({ action }) => action === 'token.added');
    expect(entries).toMatchObject([{ actor: 'start', subject: token?.name, after: { id: token?.id, scopes: ['*'] } }]);
  } finally {
    await records.close();
    await rm(state, { recursive: true });
  }
});
