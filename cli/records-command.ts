/** What the commands that read and write the records have in common: `switchyard rules`, `tokens`, `keys`, `jobs` and others. */
import type { ParseArgsOptionsConfig } from 'node:util';
import { loadConfiguration } from '../stores/configuration/load.ts';
import type { Configuration } from '../stores/configuration/schema.ts';
import { openRecords } from '../stores/records/open.ts';
import type { Records } from '../stores/records/port.ts';

/** What each of them takes, beside its own. */
export const COMMON_OPTIONS = {
  json: { type: 'boolean', default: false },
  config: { type: 'string' },
  verbose: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig;

/**
 * Opens the records that the configuration names, and closes them when the work has ended.
 * @param file the configuration; `switchyard.yaml` here where it is not given
 */
export async function withRecords<Result>(
  file: string | undefined,
  work: (records: Records, configuration: Configuration) => Promise<Result>,
): Promise<Result> {
  const configuration = await loadConfiguration({ file });
  const records = await openRecords(configuration);
  try {
    return await work(records, configuration);
  } finally {
    await records.close();
  }
}
