/** `switchyard worker`: the Temporal worker, which carries out runs, as one process. `switchyard up` starts and watches it. */
import { runServer } from '../../servers/process.ts';

export const summary = 'Run the Temporal worker, which carries out runs, alone';

export async function run(args: string[]): Promise<number> {
  const { startWorker } = await import('../../servers/worker/server.ts');
  return runServer('worker', startWorker, args);
}
