/** One watched process: started, started again with backoff when it dies, ended with grace. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { PermanentError } from '../../protocols/errors.ts';
import type { ProcessMessage } from '../../servers/process.ts';
import type { GuardMessage } from './guard.ts';

export interface WatchedOptions {
  name: string;
  /** Arguments of node. */
  args: string[];
  folder: string;
  environment: NodeJS.ProcessEnv;
  /** stdout and stderr go here. */
  logFile: string;
  /** Time between SIGTERM and SIGKILL. */
  graceMs: number;
  /** For a server behind a guard, which does not say 'ready' itself: resolves when it is. */
  probe?: () => Promise<void>;
  /** It was started, or its server was: the numbers have changed. */
  onPids(): void;
  onRestart(restart: Restart): void;
}

/** A process died and will be started again. */
export interface Restart {
  name: string;
  at: Date;
  /** `SIGKILL` or `exit status 1`. */
  reason: string;
  /** ms until the next start. */
  delayMs: number;
}

/** First wait before a dead process is started again; doubled each time. */
const FIRST_DELAY_MS = 500;
/** A process that keeps dying is tried twice a minute: whatever it needs may come back. */
const LONGEST_DELAY_MS = 30_000;
/** After a minute of life a death is a new story. */
const STABLE_MS = 60_000;
/** Deaths before the first 'ready' after which the whole start is given up: something is wrong that a person must see. */
const FIRST_TRIES = 4;
/** A log larger than this is set aside at the next start; one older log is kept. */
const LOG_ROTATE_BYTES = 10 * 1_048_576;

export class WatchedProcess {
  readonly name: string;
  /** Of the server behind its guard, undefined for all others. */
  serverPid: number | undefined;
  readonly #options: WatchedOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #hasBeenReady = false;
  #deaths = 0;
  #exited: Promise<void> = Promise.resolve();
  readonly #wake = new AbortController();

  constructor(options: WatchedOptions) {
    this.#options = options;
    this.name = options.name;
    rotateLog(options.logFile);
  }

  get isGuarded(): boolean {
    return this.#options.probe !== undefined;
  }

  get pid(): number | undefined {
    return this.#child?.exitCode === null && this.#child.signalCode === null ? this.#child.pid : undefined;
  }

  /**
   * Starts it, and from then on keeps it running. Resolves when it is ready for the first time.
   * @throws PermanentError what the process itself said, or `process.failed` when it dies again and again
   */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#spawn(resolve, reject));
  }

  /** Asks it to end, and makes it end after its grace time. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake.abort();
    if (this.pid === undefined) return this.#exited;
    this.#child?.kill('SIGTERM');
    const late = setTimeout(() => this.kill(), this.#options.graceMs);
    await this.#exited;
    clearTimeout(late);
  }

  /** Ends it at once. */
  kill(): void {
    this.#stopping = true;
    this.#wake.abort();
    this.#child?.kill('SIGKILL');
    this.#killServer();
  }

  #spawn(onReady: () => void, onFailure: (error: Error) => void): void {
    const { args, folder, environment, logFile, probe } = this.#options;
    const log = openSync(logFile, 'a', 0o600);
    const startedAt = Date.now();
    // A process group of its own: Ctrl-C in the terminal reaches the supervisor only, which knows the order.
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: environment,
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.#options.onPids();

    let reason: string | undefined;
    const ready = () => {
      this.#hasBeenReady = true;
      onReady();
    };
    child.on('message', (message: ProcessMessage | GuardMessage) => {
      if (message.type === 'server') {
        this.serverPid = message.pid;
        this.#options.onPids();
        probe?.().then(ready, () => undefined);
      } else if (message.type === 'ended') {
        reason = message.reason;
        this.serverPid = undefined;
      } else if (message.type === 'ready') ready();
      else if (!this.#hasBeenReady) {
        this.#stopping = true;
        onFailure(new PermanentError({ code: message.code, message: message.message, fix: message.fix }));
      }
    });

    this.#exited = new Promise((resolve) => {
      // It could not even be started.
      child.on('error', (error) => {
        resolve();
        onFailure(error);
      });
      child.on('exit', (code, signal) => {
        // A guard that was killed leaves its server behind.
        this.#killServer();
        resolve();
        if (this.#stopping) return onFailure(new Error(`${this.name} was stopped`));
        if (Date.now() - startedAt > STABLE_MS) this.#deaths = 0;
        this.#deaths++;
        reason ??= signal ?? `exit status ${code}`;
        if (!this.#hasBeenReady && this.#deaths >= FIRST_TRIES) return onFailure(this.#gaveUp(reason));
        void this.#startAgain(reason, onReady, onFailure);
      });
    });
  }

  async #startAgain(reason: string, onReady: () => void, onFailure: (error: Error) => void): Promise<void> {
    const delayMs = Math.min(FIRST_DELAY_MS * 2 ** (this.#deaths - 1), LONGEST_DELAY_MS);
    this.#options.onRestart({ name: this.name, at: new Date(), reason, delayMs });
    await sleep(delayMs, undefined, { signal: this.#wake.signal }).catch(() => undefined);
    if (this.#stopping) return onFailure(new Error(`${this.name} was stopped`));
    this.#spawn(onReady, onFailure);
  }

  #killServer(): void {
    if (this.serverPid === undefined) return;
    try {
      process.kill(this.serverPid, 'SIGKILL');
    } catch {
      // It ended before its guard.
    }
    this.serverPid = undefined;
  }

  #gaveUp(reason: string): PermanentError {
    return new PermanentError({
      code: 'process.failed',
      message: `${this.name} does not start (${reason}): ${lastLogLine(this.#options.logFile)}`,
      fix: `The whole story is in ${this.#options.logFile}; switchyard doctor looks for the usual causes.`,
    });
  }
}

function rotateLog(file: string): void {
  if (existsSync(file) && statSync(file).size > LOG_ROTATE_BYTES) renameSync(file, `${file}.1`);
}

/** The message of the last line, be it JSON or plain. */
function lastLogLine(file: string): string {
  const line = existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) : undefined;
  if (!line) return 'it said nothing';
  try {
    return (JSON.parse(line) as { msg?: string }).msg ?? line;
  } catch {
    return line;
  }
}
