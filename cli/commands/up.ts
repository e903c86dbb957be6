/** `switchyard up`: starts everything on this machine, watches it, and ends it with Ctrl-C. */
import { parseArgs } from 'node:util';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';
import { ONE_SIGNAL_MS } from '../../servers/process.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import { createProgress, type Progress } from '../progress.mjs';
import type { Installation } from '../up/installation.ts';
import { printHelp } from '../usage.ts';

export const summary = 'Start everything here and watch it (Ctrl-C stops it)';

const HELP = `switchyard up [options]

  Starts Temporal, the worker, smtp, http, the local inbox and the n8n editor on
  the folder you are in, and starts again what dies. The editor comes last: the
  first time it is installed, some 3 GB outside this folder, while mail flows.
  Settings: switchyard.yaml, if there is one.

  --config FILE   another configuration file
  --json          print what runs as JSON, once it runs
  --any-port      any free ports instead of the usual ones
  --demo          run the demo instead: real mail, checked, then the end
  --no-editor     without the n8n editor
`;

/** Exit status after a second Ctrl-C: 128 + SIGINT. */
const INTERRUPTED = 130;

export async function run(args: string[]): Promise<number> {
  const since = Date.now();
  if (args.includes('--demo')) {
    const rest = args.filter((arg) => arg !== '--demo');
    return (await import('./demo.ts')).run(rest);
  }
  const { values } = parseArgs({
    args,
    options: {
      config: { type: 'string' },
      json: { type: 'boolean', default: false },
      'any-port': { type: 'boolean', default: false },
      'no-editor': { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return printHelp(HELP);

  const stop = stopRequest();
  const { startInstallation } = await import('../up/installation.ts');
  const { runningTable } = await import('../up/table.ts');
  const progress = createProgress();
  let installation;
  try {
    installation = await startInstallation({
      folder: process.cwd(),
      configurationFile: values.config,
      anyPort: values['any-port'],
      editor: !values['no-editor'],
      progress,
      signal: stop.signal,
    });
  } catch (error) {
    if (stop.signal.aborted) return INTERRUPTED;
    throw error;
  }
  // A second signal leaves no time for grace.
  stop.onSecond = () => {
    installation.kill();
    process.exit(INTERRUPTED);
  };
  if (values.json) process.stdout.write(`${JSON.stringify(installation.run)}\n`);
  else {
    const isTerminal = process.stdout.isTTY;
    process.stdout.write(runningTable(installation, { tookMs: Date.now() - since, bold, isTerminal }));
  }
  if (installation.addresses.editor) void bringEditor(installation, progress);

  await stop.requested;
  if (!values.json)
    process.stderr.write('\n  Stopping: what is under way ends first (Ctrl-C again to stop at once) ...\n');
  await installation.stop();
  if (!values.json) process.stderr.write('  Stopped.\n');
  return 0;
}

/** Mail never depends on it: what is wrong with it is said, and everything else goes on. */
async function bringEditor(installation: Installation, progress: Progress): Promise<void> {
  try {
    const { startEditor } = await import('../editor/start.ts');
    const { isCredentialOutdated } = await startEditor(installation, { progress });
    if (isCredentialOutdated)
      progress.line(
        `  Its credential was changed by hand and is left alone; the API is now at ${localUrl(installation.addresses.http)}`,
      );
  } catch (error) {
    if (installation.isEnding) return;
    progress.line(`  There is no editor; all else runs. ${messageOf(error)}`);
    if (error instanceof SwitchyardError) progress.line(`    ${error.fix}`);
  }
}

interface StopRequest {
  /** Aborted by the first signal. */
  signal: AbortSignal;
  requested: Promise<void>;
  onSecond: (() => void) | undefined;
}

function stopRequest(): StopRequest {
  const controller = new AbortController();
  const request: StopRequest = {
    signal: controller.signal,
    requested: new Promise((resolve) => controller.signal.addEventListener('abort', () => resolve(), { once: true })),
    onSecond: undefined,
  };
  let first = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (first && Date.now() - first > ONE_SIGNAL_MS) request.onSecond?.();
      first ||= Date.now();
      controller.abort();
    });
  }
  return request;
}

function bold(text: string): string {
  const isPlain = !process.stdout.isTTY || process.env.NO_COLOR !== undefined || process.env.TERM === 'dumb';
  return isPlain ? text : `\x1b[1m${text}\x1b[22m`;
}
