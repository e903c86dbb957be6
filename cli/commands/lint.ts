/** `switchyard lint`: types, then the rules of eslint.config.js, imports downwards among them. */
import { runTool } from '../tool.ts';

export const summary = 'Check types and lint rules';

export async function run(args: string[]): Promise<number> {
  return (
    (await runTool('typescript', [], 'tsc')) ||
    (await runTool('typescript', ['-p', 'tsconfig.nodes.json', '--noEmit'], 'tsc')) ||
    (await runTool('eslint', args.length > 0 ? args : ['.']))
  );
}
