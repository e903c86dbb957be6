/** `switchyard inbox`: the local inbox, an SMTP sink for trying things out, as one process. `switchyard up` starts and watches it. */
import { runServer } from '../../servers/process.ts';

export const summary = 'Run the local inbox, an SMTP sink for trying things out, alone';

export async function run(args: string[]): Promise<number> {
  const { startInbox } = await import('../../servers/inbox/server.ts');
  return runServer('inbox', startInbox, args);
}
