/** `switchyard editor`: the n8n editor that `up` starts. */
import { parseArgs } from 'node:util';
import { printHelp, typedWrong } from '../usage.ts';

export const summary = 'Install the n8n editor ahead of the first start';

const HELP = `switchyard editor install

  Installs n8n into the cache folder, outside this one, so that the next
  switchyard up has it at once: some 3 GB, about four minutes. It is there
  already? Then this says where.
`;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { verbose: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return printHelp(HELP);
  if (positionals.length !== 1 || positionals[0] !== 'install') throw typedWrong(HELP);
  const { createProgress } = await import('../progress.mjs');
  const { provideEditor } = await import('../editor/provide.ts');
  const { version, folder } = await provideEditor({ progress: createProgress() });
  process.stdout.write(`n8n ${version} is in ${folder}\n`);
  return 0;
}
