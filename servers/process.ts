/**
 * How every process of the house lives: configuration, addresses and log; start; 'ready' to the parent; and an end
 * that finishes what runs. One process is one server.
 */
import { PermanentError, SwitchyardError, messageOf } from '../protocols/errors.ts';
import { resolveAddresses } from '../stores/configuration/addresses.ts';
import { loadConfiguration } from '../stores/configuration/load.ts';
import { createLog } from './log.ts';
import type { RunningServer, StartServer } from './server.ts';

/** What a process tells the parent that started it, over IPC. */
export type ProcessMessage =
  | { type: 'ready' }
  /** It cannot start; starting it again will fail the same way. */
  | { type: 'failed'; code: string; message: string; fix: string };

/** A closing process has this long for sessions and activities; the session's own wait for a first delivery fits in. */
export const GRACE_MS = 25_000;

/**
 * Two signals closer than this are one: Ctrl-C reaches a process from the terminal and once more from npm, which
 * passes on what it got itself.
 */
export const ONE_SIGNAL_MS = 500;

/**
 * Runs one server until it is told to stop.
 * @param file its configuration; without it the one that is found here
 * @returns the exit status: 0 after a stop that was asked for, 1 when it could not start or did not end in time
 */
export async function runServer(name: string, start: StartServer, file?: string): Promise<number> {
  let log = createLog(name);
  const fatal = (what: string) => (error: unknown) => {
    log.fatal({ err: error }, what);
    process.exit(1);
  };
  process.on('unhandledRejection', fatal('unhandled rejection'));
  process.on('uncaughtException', fatal('uncaught exception'));

  const stopping = stopRequest();
  let server: RunningServer;
  try {
    const configuration = await loadConfiguration({ file });
    log = createLog(name, configuration.logLevel);
    server = await start({ configuration, addresses: resolveAddresses(configuration), log });
  } catch (error) {
    const facts = error instanceof SwitchyardError ? { code: error.code, fix: error.fix } : {};
    log.fatal({ err: error, ...facts }, `cannot start: ${messageOf(error)}`);
    if (error instanceof PermanentError)
      await tellParent({ type: 'failed', code: error.code, message: error.message, fix: error.fix });
    if (!process.send) throw error;
    return 1;
  }
  log.info('ready');
  await tellParent({ type: 'ready' });

  const why = await stopping;
  log.info({ why }, 'stopping');
  const late = setTimeout(() => fatal('did not end within its grace time')(undefined), GRACE_MS);
  await server.close();
  clearTimeout(late);
  log.info('stopped');
  return 0;
}

/** Resolves with the first reason to stop; a second signal ends the process at once. */
function stopRequest(): Promise<string> {
  return new Promise((resolve) => {
    let first = 0;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (first && Date.now() - first > ONE_SIGNAL_MS) process.exit(1);
        first ||= Date.now();
        resolve(signal);
      });
    }
    // The parent died, be it by kill -9: without it nobody watches this process.
    process.once('disconnect', () => resolve('the parent is gone'));
  });
}

function tellParent(message: ProcessMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.send || !process.connected) return resolve();
    process.send(message, undefined, undefined, () => resolve());
  });
}
