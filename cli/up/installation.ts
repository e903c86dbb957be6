/**
 * A whole Switchyard on one machine: everything that `switchyard up` starts and watches. The demo and the kill test
 * start theirs here too.
 */
import { EventEmitter } from 'node:events';
import { mkdirSync } from 'node:fs';
import { extname, join, resolve } from 'node:path';
import { GRACE_MS } from '../../servers/process.ts';
import type { Addresses, Endpoint } from '../../stores/configuration/addresses.ts';
import { loadConfiguration } from '../../stores/configuration/load.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { createProgress, elapsedText, silentProgress, type Progress } from '../progress.mjs';
import {
  SERVER_GRACE_MS,
  claimDatabase,
  databaseVersion,
  serverArguments,
  type TemporalProgram,
} from '../temporal/program.ts';
import { provideTemporal } from '../temporal/provide.ts';
import { packageVersion } from '../version.ts';
import { identify } from './birth.ts';
import { lockState, type Lock } from './lock.ts';
import { choosePorts, type ChosenPorts } from './ports.ts';
import { prepareState } from './prepare.ts';
import { endLeftovers, removeRunFile, writeRunFile, type RunFile } from './run-file.ts';
import { WatchedProcess, type Restart } from './supervise.ts';
import { connectTemporal, REACHABLE_TIMEOUT_MS, START_TIMEOUT_MS } from './temporal-ready.ts';

export interface InstallationOptions {
  /** Where it lives: switchyard.yaml and the state folder are looked for here. */
  folder: string;
  /** Another file than `<folder>/switchyard.yaml`; without either, the demo configuration. */
  configurationFile?: string;
  /** Environment of the processes; default: this process's own. */
  env?: NodeJS.ProcessEnv;
  /** Show no progress, and do not say which process is started again. */
  quiet?: boolean;
  /** Where long steps are shown; default: stderr. */
  progress?: Progress;
  /** Any free ports instead of the default ones: for tests, which run side by side. */
  anyPort?: boolean;
  /** Choose a port for the n8n editor, unless the configuration switches it off; see cli/editor/start.ts. */
  editor?: boolean;
  /** Ends a start that is under way. */
  signal?: AbortSignal;
}

/** Emits 'restart' with a `Restart` when a process died and will be started again. */
export class Installation extends EventEmitter<{ restart: [Restart] }> {
  readonly configuration: Configuration;
  readonly addresses: Addresses;
  /** Sentences about default ports that were taken. */
  readonly moved: string[];
  /** Server version, or null when the server is not ours. */
  readonly temporalVersion: string | null;
  readonly run: RunFile;
  readonly #watched: WatchedProcess[] = [];
  readonly #ending = new AbortController();
  readonly #beside: Promise<unknown>[] = [];
  readonly #lock: Lock;
  #stopped: Promise<void> | undefined;
  #writeAgain: NodeJS.Timeout | undefined;

  constructor(configuration: Configuration, chosen: ChosenPorts, temporalVersion: string | null, lock: Lock) {
    super();
    this.configuration = configuration;
    this.addresses = chosen.addresses;
    this.moved = chosen.moved;
    this.temporalVersion = temporalVersion;
    this.#lock = lock;
    this.run = {
      state: configuration.state,
      version: packageVersion(),
      startedAt: new Date().toISOString(),
      addresses: chosen.addresses,
      pids: {},
    };
  }

  /** A stop was asked for. */
  get isEnding(): boolean {
    return this.#ending.signal.aborted;
  }

  /** What runs now. `temporal` and `editor` are the servers themselves, not their guards. */
  get processes(): { name: string; pid: number }[] {
    return this.#watched.flatMap(({ name, pid, serverPid, isGuarded }) => {
      const number = isGuarded ? serverPid : pid;
      return number === undefined ? [] : [{ name, pid: number }];
    });
  }

  /**
   * A server that knows no parent, behind its guard.
   * @param options.command the program and its arguments
   * @param options.probe resolves when it answers
   */
  watchServer(options: {
    name: string;
    command: string[];
    folder: string;
    environment: NodeJS.ProcessEnv;
    graceMs: number;
    probe: () => Promise<void>;
  }): WatchedProcess {
    const { command, graceMs, ...others } = options;
    return this.watch({
      ...others,
      args: [guardFile, String(graceMs), ...command],
      graceMs: graceMs + GUARD_GRACE_MS,
    });
  }

  watch(options: {
    name: string;
    /** Of node. */
    args: string[];
    folder: string;
    environment: NodeJS.ProcessEnv;
    graceMs: number;
    probe?: () => Promise<void>;
  }): WatchedProcess {
    const watched = new WatchedProcess({
      ...options,
      logFile: join(this.configuration.state, 'logs', `${options.name}.log`),
      onPids: () => this.#note(),
      onRestart: (restart) => this.emit('restart', restart),
    });
    this.#watched.push(watched);
    return watched;
  }

  /**
   * Work beside the running processes, such as the set-up of the editor: a stop ends it by the signal, and waits for it.
   */
  beside<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    const result = work(this.#ending.signal);
    this.#beside.push(result.catch(() => undefined));
    return result;
  }

  /**
   * Ends everything in the order in which nothing is cut off: who takes mail first, then the editor, which may decide
   * about the last of it and asks the API; Temporal last.
   */
  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#ending.abort();
      for (const names of [['smtp'], ['editor'], ['http'], ['worker'], ['inbox'], [TEMPORAL]]) {
        await Promise.all(this.#watched.filter(({ name }) => names.includes(name)).map((watched) => watched.stop()));
      }
      await Promise.all(this.#beside);
      removeRunFile(this.configuration.state);
      this.#lock.release();
    })();
    return this.#stopped;
  }

  /** Ends everything at once; what was accepted goes on with the next start. */
  kill(): void {
    this.#ending.abort();
    for (const watched of this.#watched) watched.kill();
  }

  /** Writes down what runs, so that the next start finds it if this process is killed. */
  #note(): void {
    const numbers = this.#watched.flatMap(({ name, pid, serverPid, isGuarded }): [string, number | undefined][] =>
      isGuarded
        ? [
            [`${name} guard`, pid],
            [name, serverPid],
          ]
        : [[name, pid]],
    );
    this.run.pids = Object.fromEntries(
      ([['supervisor', process.pid], ...numbers] as [string, number | undefined][]).flatMap(([name, pid]) => {
        const identity = pid === undefined ? undefined : identify(pid);
        return identity ? [[name, identity]] : [];
      }),
    );
    this.#writeRun();
  }

  /** On a full disk it is written later: without it processes end by themselves when this one is killed. */
  #writeRun(): void {
    clearTimeout(this.#writeAgain);
    if (this.isEnding) return;
    try {
      writeRunFile(this.configuration.state, this.run);
    } catch {
      this.#writeAgain = setTimeout(() => this.#writeRun(), WRITE_AGAIN_MS).unref();
    }
  }
}

const TEMPORAL = 'temporal';
/** ms until the next try to write down what runs. */
const WRITE_AGAIN_MS = 5_000;
const extension = extname(import.meta.filename);
const mainFile = join(import.meta.dirname, '..', `main${extension}`);
const guardFile = join(import.meta.dirname, `guard${extension}`);
/** The guard's own end, after its server's. */
const GUARD_GRACE_MS = 2_000;

/** Semi-space of the worker's heap in MB: workflow sandboxes die young (measured: part of twice the runs a second). */
const WORKER_SEMI_SPACE = 64;

/**
 * Starts everything and resolves when all of it is ready.
 * @throws PermanentError `state.locked`, `port.taken`, `temporal.missing`, `temporal.version`, `temporal.unreachable`,
 *   `process.failed`, and those of the configuration; nothing is left running then
 */
export async function startInstallation(options: InstallationOptions): Promise<Installation> {
  const environment = options.env ?? process.env;
  const progress = options.quiet ? silentProgress : (options.progress ?? createProgress());
  const named = options.configurationFile ?? (environment.SWITCHYARD_CONFIG || undefined);
  const file = named && resolve(options.folder, named);
  const configuration = await loadConfiguration({ file, folder: options.folder });
  const { state } = configuration;

  const lock = lockState(state);
  let installation: Installation | undefined;
  try {
    mkdirSync(join(state, 'logs'), { recursive: true, mode: 0o700 });
    const leftovers = await endLeftovers(state);
    if (leftovers.length > 0) progress.line(`  Ended what an earlier start had left running: ${leftovers.join(', ')}`);

    const database = join(state, 'temporal.sqlite');
    const externalTemporal = environment.TEMPORAL_ADDRESS || configuration.temporal.address;
    const program = externalTemporal
      ? undefined
      : await provideTemporal({
          environment,
          progress,
          preferServer: databaseVersion(database),
          signal: options.signal,
        });
    const chosen = await choosePorts(configuration, {
      externalTemporal,
      anyPort: options.anyPort,
      editor: options.editor,
    });
    installation = new Installation(configuration, chosen, program?.serverVersion ?? null, lock);
    const { signal, folder } = options;
    installation.on('restart', (restart) => progress.line(restartLine(restart)));
    const abort = () => installation?.kill();
    signal?.addEventListener('abort', abort);
    await startProcesses(installation, {
      environment,
      folder,
      file,
      database,
      program,
      ui: chosen.temporalUi,
      progress,
      signal,
    });
    // From here on it is ended with grace.
    signal?.removeEventListener('abort', abort);
    return installation;
  } catch (error) {
    installation?.kill();
    await installation?.stop();
    lock.release();
    throw error;
  }
}

interface StartPlan {
  environment: NodeJS.ProcessEnv;
  folder: string;
  file: string | undefined;
  database: string;
  program: TemporalProgram | undefined;
  /** Where the UI of our own server listens. */
  ui: Endpoint | null;
  progress: Progress;
  signal: AbortSignal | undefined;
}

async function startProcesses(installation: Installation, plan: StartPlan): Promise<void> {
  const { addresses, configuration } = installation;
  const environment = { ...plan.environment, SWITCHYARD_ADDRESSES: JSON.stringify(addresses) };
  // Its own variables would override what the arguments say.
  const temporalEnvironment = Object.fromEntries(
    Object.entries(plan.environment).filter(([name]) => !name.startsWith('TEMPORAL_')),
  );

  const temporalStep = plan.progress.step(
    plan.program ? 'Starting Temporal' : `Reaching Temporal at ${addresses.temporal}`,
  );
  try {
    if (plan.program) {
      claimDatabase(plan.database, plan.program);
      const server = serverArguments({
        database: plan.database,
        grpc: endpoint(addresses.temporal),
        ui: plan.ui,
        namespace: configuration.temporal.namespace,
      });
      const probe = () => connectTemporal(configuration, addresses, START_TIMEOUT_MS);
      await installation
        .watchServer({
          name: TEMPORAL,
          command: [plan.program.path, ...server],
          folder: plan.folder,
          environment: temporalEnvironment,
          graceMs: SERVER_GRACE_MS,
          probe,
        })
        .start();
    } else {
      await connectTemporal(configuration, addresses, REACHABLE_TIMEOUT_MS);
    }
  } catch (error) {
    temporalStep.fail();
    throw error;
  }
  temporalStep.done();
  plan.signal?.throwIfAborted();

  const processStep = plan.progress.step('Starting worker, smtp, http and inbox');
  try {
    await prepareState(configuration, addresses);
    const names = ['worker', 'smtp', 'http', ...(addresses.inbox ? ['inbox'] : [])];
    await Promise.all(
      names.map((name) =>
        installation
          .watch({
            name,
            args: [
              ...(name === 'worker' ? [`--max-semi-space-size=${WORKER_SEMI_SPACE}`] : []),
              mainFile,
              name,
              ...(plan.file ? ['--config', plan.file] : []),
            ],
            folder: plan.folder,
            environment,
            graceMs: GRACE_MS + 5_000,
          })
          .start(),
      ),
    );
  } catch (error) {
    processStep.fail();
    throw error;
  }
  processStep.done();
}

function restartLine({ name, at, reason, delayMs }: Restart): string {
  return `  ${at.toLocaleTimeString('en-GB')}  ${name} ended (${reason}); it starts again in ${elapsedText(delayMs)}`;
}

function endpoint(address: string): Endpoint {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
  return { host, port: Number(port) };
}
