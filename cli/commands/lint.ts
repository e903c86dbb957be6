/** `switchyard lint`: types, the rules of eslint.config.js, imports downwards among them, and n8n's rules for the pack. */
import { checkPack, providePackTools } from '../build/pack-rules.ts';
import { createProgress } from '../progress.mjs';
import { runTool } from '../tool.ts';

export const summary = 'Check types and lint rules';

export async function run(args: string[]): Promise<number> {
  const status =
    (await runTool('typescript', [], 'tsc')) ||
    (await runTool('typescript', ['-p', 'tsconfig.nodes.json', '--noEmit'], 'tsc')) ||
    (await runTool('eslint', args.length > 0 ? args : ['.']));
  if (status || args.length > 0) return status;
  const tools = await providePackTools(createProgress());
  return (await checkPack(tools, (text) => process.stdout.write(`${text}\n`))) ? 0 : 1;
}
