/** The version of this package. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** As package.json says it: the pack's in a checkout, the server's in the published package. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(dirname(import.meta.dirname), 'package.json'), 'utf8')) as { version: string })
    .version;
}
