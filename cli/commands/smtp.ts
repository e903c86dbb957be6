/** `switchyard smtp`: the SMTP receiver, as one process. `switchyard up` starts and watches it. */
import { onOwnStore } from '../../servers/own-store.ts';
import { serverCommand } from '../server-command.ts';

export const summary = 'Run the SMTP receiver, alone';

export function run(args: string[]): Promise<number> {
  return serverCommand('smtp', summary, args, async () =>
    onOwnStore((await import('../../servers/smtp/server.ts')).startSmtp),
  );
}
