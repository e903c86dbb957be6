/** `switchyard smtp`: the SMTP receiver, as one process. `switchyard up` starts and watches it. */
import { onOwnStore } from '../../servers/own-store.ts';
import { runServer } from '../../servers/process.ts';

export const summary = 'Run the SMTP receiver, alone';

export async function run(args: string[]): Promise<number> {
  const { startSmtp } = await import('../../servers/smtp/server.ts');
  return runServer('smtp', onOwnStore(startSmtp), args);
}
