/** `switchyard init`: a commented switchyard.yaml to begin with. */
import { constants, copyFileSync, existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PermanentError } from '../../protocols/errors.ts';
import { printHelp } from '../usage.ts';

export const summary = 'Write a commented switchyard.yaml to begin with';

const EXAMPLE = join(dirname(dirname(import.meta.dirname)), 'switchyard.example.yaml');

const HELP = `switchyard init

  Writes switchyard.yaml into this folder, every setting with its default and a
  line about it. One that is there already is left as it is.
`;

export async function run(args: string[]): Promise<number> {
  const { values } = parseArgs({ args, options: { help: { type: 'boolean', short: 'h' } } });
  if (values.help) return printHelp(HELP);
  const file = resolve('switchyard.yaml');
  if (existsSync(file)) {
    throw new PermanentError({
      code: 'configuration.exists',
      message: `${file} is there already, and is left as it is.`,
      fix: `Edit it, or compare it with ${EXAMPLE}.`,
    });
  }
  copyFileSync(EXAMPLE, file, constants.COPYFILE_EXCL);
  process.stdout.write(`Wrote ${file}. Next: read it, then switchyard up\n`);
  return 0;
}
