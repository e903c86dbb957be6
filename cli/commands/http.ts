/** `switchyard http`: the HTTP API and the pages, as one process. `switchyard up` starts and watches it. */
import { onOwnStore } from '../../servers/own-store.ts';
import { serverCommand } from '../server-command.ts';

export const summary = 'Run the HTTP API and the pages, alone';

export function run(args: string[]): Promise<number> {
  return serverCommand('http', summary, args, async () =>
    onOwnStore((await import('../../servers/http/server.ts')).startHttp),
  );
}
