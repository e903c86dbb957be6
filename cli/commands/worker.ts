/** `switchyard worker`: the Temporal worker, which carries out runs, as one process. `switchyard up` starts and watches it. */
import { serverCommand } from '../server-command.ts';

export const summary = 'Run the Temporal worker, which carries out runs, alone';

export function run(args: string[]): Promise<number> {
  return serverCommand(
    'worker',
    summary,
    args,
    async () => (await import('../../servers/worker/server.ts')).startWorker,
  );
}
