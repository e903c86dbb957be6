/** `switchyard inbox`: the local inbox, an SMTP sink for trying things out, as one process. `switchyard up` starts and watches it. */
import { serverCommand } from '../server-command.ts';

export const summary = 'Run the local inbox, an SMTP sink for trying things out, alone';

export function run(args: string[]): Promise<number> {
  return serverCommand('inbox', summary, args, async () => (await import('../../servers/inbox/server.ts')).startInbox);
}
