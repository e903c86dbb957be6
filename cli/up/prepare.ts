/**
 * What must be there before the first mail: search attributes in Temporal, the rules that the configuration declares,
 * a key for each declared domain, a first token for the API.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureSearchAttributes, lazyTemporal } from '../../servers/temporal.ts';
import type { Addresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Records, RuleAction } from '../../stores/records/port.ts';

/** File in the state folder with the first token, readable by its owner only. */
export const TOKEN_FILE = 'token';

/** Repeating it changes nothing. A store that cannot be used is said here, before any process has to. */
export async function prepareState(configuration: Configuration, addresses: Addresses): Promise<void> {
  const blobs = await openBlobs(configuration);
  await blobs.check().finally(() => blobs.close());
  const client = lazyTemporal(configuration, addresses);
  const records = await openRecords(configuration);
  try {
    await Promise.all([
      ensureSearchAttributes(client),
      applyDeclarations(configuration, records),
      makeFirstToken(configuration, records),
    ]);
  } finally {
    await records.close();
    await client.connection.close();
  }
}

/** The rules that the configuration declares, and a key for each of its domains. */
export async function applyDeclarations(configuration: Configuration, records: Records): Promise<void> {
  await Promise.all([applyDeclaredRules(configuration, records), makeMissingKeys(configuration, records)]);
}

async function applyDeclaredRules(configuration: Configuration, records: Records): Promise<void> {
  await records.rules.applyDeclared(
    Object.entries(configuration.mail.domains).map(([domain, { rules }]) => ({
      domain,
      rules: rules.map(({ address, forward, runs }) => ({
        localPart: address,
        action: (forward
          ? { type: 'forward', destinations: forward, ...(runs ? { runs } : {}) }
          : { type: 'drop' }) satisfies RuleAction,
      })),
    })),
  );
}

async function makeMissingKeys(configuration: Configuration, records: Records): Promise<void> {
  const keys = await openKeys(records, configuration);
  const have = new Set((await keys.list()).map(({ domain }) => domain));
  for (const domain of Object.keys(configuration.mail.domains)) if (!have.has(domain)) await keys.create(domain);
}

/** Someone who removed every token, and the file, gets a new first one: otherwise the API is shut for good. */
async function makeFirstToken(configuration: Configuration, records: Records): Promise<void> {
  if ((await records.tokens.list()).length > 0) return;
  const { id, name, scopes, token } = await records.tokens.create('first', ['*']);
  await records.audit.write({
    actor: 'start',
    action: 'token.added',
    subject: name,
    before: null,
    after: { id, scopes },
  });
  const file = join(configuration.state, TOKEN_FILE);
  // The mode of writeFile is for new files only.
  writeFileSync(file, `${token}\n`, { mode: 0o600, flag: existsSync(file) ? 'r+' : 'wx' });
}
