/** The `temporal` command line program: the server that Switchyard starts when it is given none. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import type { Endpoint } from '../../stores/configuration/addresses.ts';

export interface TemporalProgram {
  path: string;
  /** Version of the server in it, such as `1.29.1`: what its database file depends on. */
  serverVersion: string;
}

/** It prints one line; a first start from a cold disk reads 250 MB. */
const VERSION_TIMEOUT_MS = 30_000;

/**
 * Asks a program which server it carries.
 * @throws PermanentError `temporal.unusable` when it does not run or is something else
 */
export async function inspectTemporal(path: string): Promise<TemporalProgram> {
  let output: string;
  try {
    output = (await promisify(execFile)(path, ['--version'], { timeout: VERSION_TIMEOUT_MS })).stdout;
  } catch (error) {
    throw unusable(path, messageOf(error).split('\n')[0] ?? '');
  }
  const serverVersion = /\(Server ([\w.+-]+)/.exec(output)?.[1];
  if (!serverVersion) throw unusable(path, `it says ${JSON.stringify(output.trim().slice(0, 80))} to --version`);
  return { path, serverVersion };
}

function unusable(path: string, reason: string): PermanentError {
  return new PermanentError({
    code: 'temporal.unusable',
    message: `${path} is not a Temporal command line program: ${reason}`,
    fix: 'Point TEMPORAL_CLI to a working `temporal` program, or unset it and take the wrong one off the PATH.',
  });
}

/**
 * Settings measured on two cores: twice the runs a second and a third of the latency of the defaults. One task queue
 * partition suits one worker; the poll rates are what timers and transfers wait for.
 */
const DYNAMIC_SETTINGS = [
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'history.transferProcessorMaxPollRPS=1000',
  'history.timerProcessorMaxPollRPS=1000',
  'history.visibilityProcessorMaxPollRPS=1000',
  'system.enableActivityEagerExecution=true',
];

/** FULL costs 7 % against NORMAL and survives a power cut. */
const PRAGMAS = ['journal_mode=WAL', 'synchronous=FULL'];

/** Time between SIGTERM and SIGKILL. It closes in well under a second, and on a file with FULL even SIGKILL loses nothing. */
export const SERVER_GRACE_MS = 5_000;

/** Arguments that start the server on a database file, listening on loopback addresses only. */
export function serverArguments(options: {
  database: string;
  grpc: Endpoint;
  ui: Endpoint | null;
  namespace: string;
}): string[] {
  return [
    ...['server', 'start-dev', '--db-filename', options.database],
    ...['--ip', options.grpc.host, '--port', String(options.grpc.port)],
    ...(options.ui ? ['--ui-ip', options.ui.host, '--ui-port', String(options.ui.port)] : ['--headless']),
    ...['--log-level', 'warn', '--log-format', 'json'],
    ...(options.namespace === 'default' ? [] : ['--namespace', options.namespace]),
    ...PRAGMAS.flatMap((pragma) => ['--sqlite-pragma', pragma]),
    ...DYNAMIC_SETTINGS.flatMap((setting) => ['--dynamic-config-value', setting]),
  ];
}

/** Version of the server that made a database file, or undefined when there is no file yet. */
export function databaseVersion(database: string): string | undefined {
  if (!existsSync(database) || !existsSync(versionFile(database))) return undefined;
  return readFileSync(versionFile(database), 'utf8').trim();
}

/**
 * The schema is made once, with the file; another server version does not migrate it. Notes the version for a new
 * file and refuses another one for an old file.
 * @throws PermanentError `temporal.version`
 */
export function claimDatabase(database: string, program: TemporalProgram): void {
  const made = databaseVersion(database);
  if (made !== undefined && made !== program.serverVersion) {
    throw new PermanentError({
      code: 'temporal.version',
      message: `${database} was made by Temporal server ${made}, and ${program.path} is ${program.serverVersion}: it would not read it correctly.`,
      fix: `Set TEMPORAL_CLI to a program with server ${made}, let its runs end and move ${database}* away; rules, keys and mail records are elsewhere and stay.`,
    });
  }
  writeFileSync(versionFile(database), `${program.serverVersion}\n`);
}

function versionFile(database: string): string {
  return `${database}.version`;
}
