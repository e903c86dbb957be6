/**
 * Another process on the same records: `node records.ts <configuration as JSON> <what>`.
 *   begin <activity> <times>   begins deliveries, one after the other
 *   hold                       takes the whole SQLite database until stdin closes
 *   insert                     opens three records in one transaction again and again, until it is killed
 *   open                       opens and closes
 *   secret                     prints a secret of the key store
 */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { openKeys } from '../../../stores/keys/open.ts';
import { openRecords, RECORDS_FILE, type RecordsConfiguration } from '../../../stores/records/open.ts';
import { activity } from '../contract/activity.ts';

const [json, what, id, times] = process.argv.slice(2) as [string, string, string, string];
const configuration = JSON.parse(json) as RecordsConfiguration;

if (what === 'hold') {
  const database = new DatabaseSync(join(configuration.state, RECORDS_FILE));
  database.exec('begin exclusive');
  process.stdout.write('held\n');
  process.stdin.resume().on('end', () => database.close());
} else {
  const records = await openRecords(configuration);
  if (what === 'begin') {
    for (let count = 0; count < Number(times); count += 1) await records.deliveries.begin(id, 'c@inbox.test');
  }
  if (what === 'secret')
    process.stdout.write((await (await openKeys(records, configuration)).secret('srs')).toString('hex'));
  for (let count = 0; what === 'insert'; count += 1) {
    const messageId = `m${count}`;
    await records.activity.open([activity({ messageId }), activity({ messageId }), activity({ messageId })]);
    if (count === 5) process.stdout.write('inserting\n');
  }
  await records.close();
}
