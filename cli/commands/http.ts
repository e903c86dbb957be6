/** `switchyard http`: the HTTP API and the pages, as one process. `switchyard up` starts and watches it. */
import { onOwnStore } from '../../servers/own-store.ts';
import { runServer } from '../../servers/process.ts';

export const summary = 'Run the HTTP API and the pages, alone';

export async function run(args: string[]): Promise<number> {
  const { startHttp } = await import('../../servers/http/server.ts');
  return runServer('http', onOwnStore(startHttp), args);
}
