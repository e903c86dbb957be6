/** The records and the keys. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MASTER_KEY_FILE } from '../../stores/keys/master.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords, RECORDS_FILE } from '../../stores/records/open.ts';
import { fail, failed, ok, type Check } from './check.ts';

export const checkRecords: Check = async ({ configuration }) => {
  const file = join(configuration.state, RECORDS_FILE);
  if (!existsSync(file)) return [ok('records', 'none yet; the first start makes them')];
  try {
    const records = await openRecords(configuration);
    await records.check().finally(() => records.close());
    return [ok('records', file)];
  } catch (error) {
    return [failed('records', error, `Put back a copy of ${file}, or move it away to begin anew.`)];
  }
};

/** Whether every key can sign. The master key is never made here. */
export const checkKeys: Check = async ({ configuration, environment }) => {
  const { state } = configuration;
  if (!existsSync(join(state, RECORDS_FILE))) return [ok('keys', 'none yet; the first start makes them')];
  const records = await openRecords(configuration);
  try {
    const rows = await records.keys.list();
    const hasMaster = Boolean(environment.SWITCHYARD_MASTER_KEY) || existsSync(join(state, MASTER_KEY_FILE));
    if (!hasMaster && rows.length > 0) {
      const fix = `Put back ${MASTER_KEY_FILE} from your backup, or set SWITCHYARD_MASTER_KEY; without it, make new keys in a new state folder.`;
      return [fail('keys', `the master key is gone, and ${rows.length} keys are sealed with it`, fix)];
    }
    if (!hasMaster) return [ok('keys', 'none yet; the first start makes them')];
    const keys = await openKeys(records, configuration);
    const domains = [...new Set([...rows.map((row) => row.domain)])];
    for (const domain of domains) await keys.signingKey(domain);
    const missing = Object.keys(configuration.mail.domains).filter((domain) => !domains.includes(domain));
    if (missing.length > 0)
      return [
        fail(
          'keys',
          `${missing.join(', ')} has no key, so nothing can be signed for it`,
          `switchyard keys create ${missing[0]}`,
        ),
      ];
    return [ok('keys', domains.length === 0 ? 'no domain needs one yet' : `${domains.join(', ')} can sign`)];
  } catch (error) {
    return [failed('keys', error, 'switchyard keys list')];
  } finally {
    await records.close();
  }
};
