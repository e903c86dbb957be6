/** The command line of a process that is one server: `switchyard smtp`, `http`, `worker`, `inbox`. */
import { parseArgs } from 'node:util';
import { runServer } from '../servers/process.ts';
import type { StartServer } from '../servers/server.ts';
import { printHelp } from './usage.ts';

/**
 * @param load the server, which is loaded only when it is to run
 * @param summary the command's own
 * @returns the exit status of the process
 */
export async function serverCommand(
  name: string,
  summary: string,
  args: string[],
  load: () => Promise<StartServer>,
): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return printHelp(helpOf(name, summary));
  return runServer(name, await load(), values.config);
}

const helpOf = (name: string, summary: string): string => `switchyard ${name} [--config FILE]

  ${summary}. switchyard up starts and watches all that
  an installation needs; this is for a service manager that does it itself.

  --config  the configuration, instead of switchyard.yaml here

  It logs to standard output and ends well after SIGTERM; exit status 1 says
  that it could not start.
`;
