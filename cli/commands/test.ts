/** `switchyard test`, which is `npm test`: the tests of the checkout; further arguments go to vitest. */
import { runTool } from '../tool.ts';

export const summary = 'Run the tests (arguments go to vitest)';

export async function run(args: string[]): Promise<number> {
  return runTool('vitest', ['run', ...args]);
}
