/** The records and the keys. */
import { openBlobs } from '../../stores/blobs/open.ts';
import { hasMasterKey, MASTER_KEY_FILE } from '../../stores/keys/master.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { hasRecords, openRecords, recordsPlace } from '../../stores/records/open.ts';
import { fail, failed, ok, type Check } from './check.ts';

export const checkRecords: Check = async ({ configuration }) => {
  const place = recordsPlace(configuration);
  if (!hasRecords(configuration)) return [ok('records', 'none yet; the first start makes them')];
  try {
    const records = await openRecords(configuration);
    await records.check().finally(() => records.close());
    return [ok('records', place)];
  } catch (error) {
    return [failed('records', error, `Put back a copy of ${place}, or move it away to begin anew.`)];
  }
};

/** A folder is looked at with the state folder and the disk; a bucket has its own ways to fail. */
export const checkBlobs: Check = async ({ configuration }) => {
  const { s3 } = configuration.blobs;
  if (!s3) return [];
  try {
    const blobs = await openBlobs(configuration);
    await blobs.check().finally(() => blobs.close());
    return [ok('blobs', `bucket ${s3.bucket}${s3.endpoint === undefined ? '' : ` at ${s3.endpoint}`}`)];
  } catch (error) {
    return [failed('blobs', error, 'Compare blobs.s3 with what the S3 server knows.')];
  }
};

/** Whether every key can sign. The master key is never made here. */
export const checkKeys: Check = async ({ configuration, environment }) => {
  if (!hasRecords(configuration)) return [ok('keys', 'none yet; the first start makes them')];
  const records = await openRecords(configuration);
  try {
    const rows = await records.keys.list();
    const hasMaster = hasMasterKey(configuration.state, environment);
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
