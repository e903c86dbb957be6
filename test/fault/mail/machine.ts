/** One machine of the site: `switchyard up` in a folder of its own, whose processes are killed by the numbers that it writes down. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from '../../../cli/up/birth.ts';
import type { RunFile } from '../../../cli/up/run-file.ts';
import { RUN_FILE } from '../../../stores/configuration/addresses.ts';

/** What may be killed of one. `supervisor` is `up` itself; `everything` is all of it at once, as at a power cut. */
export const MACHINE_PARTS = ['smtp', 'worker', 'temporal', 'http', 'supervisor', 'everything'] as const;
export type MachinePart = (typeof MACHINE_PARTS)[number];

/** ms that `up` has for a start on a busy machine. */
const STARTED_WITHIN = 120_000;
/** ms for an end with grace: those of the processes one after another. */
const ENDED_WITHIN = 90_000;
/** ms that a service manager waits before it starts a process again. */
export const REVIVED_AFTER = 500;
const MAIN = join(import.meta.dirname, '../../../cli/main.ts');

export class Machine {
  readonly #folder: string;
  readonly #state: string;
  readonly #environment: NodeJS.ProcessEnv;
  #up: ChildProcess | undefined;
  #starting: Promise<void> | undefined;
  #ending = false;
  #said = '';

  /** @param folder with its switchyard.yaml */
  constructor(folder: string, state: string, environment: NodeJS.ProcessEnv) {
    this.#folder = folder;
    this.#state = state;
    this.#environment = environment;
    process.on('exit', () => this.killAll());
  }

  async start(): Promise<void> {
    const args = [MAIN, 'up', '--json', '--no-editor'];
    const up = spawn(process.execPath, args, {
      cwd: this.#folder,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#up = up;
    up.stderr.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    const late = setTimeout(() => up.kill('SIGKILL'), STARTED_WITHIN);
    const [started] = (await Promise.race([once(up.stdout, 'data'), once(up, 'exit')])) as [Buffer | number | null];
    clearTimeout(late);
    if (!Buffer.isBuffer(started)) throw new Error(`up ended with ${started}:\n${this.#said.slice(-2_000)}`);
    up.on('exit', (code, signal) => {
      if (signal === 'SIGKILL' || this.#ending) return;
      this.#said += `\n  the supervisor ended (${signal ?? `status ${code}`})\n`;
      void sleep(REVIVED_AFTER).then(() => this.startAgain());
    });
  }

  /** As a service manager does: until it runs, and never two at once. What it needs may be away just now. */
  startAgain(): Promise<void> {
    this.#starting ??= this.#untilItRuns().finally(() => (this.#starting = undefined));
    return this.#starting;
  }

  async #untilItRuns(): Promise<void> {
    while (!this.#ending) {
      try {
        return await this.start();
      } catch {
        await sleep(REVIVED_AFTER);
      }
    }
  }

  /** Kills a part with SIGKILL. @returns false where it does not run now */
  async kill(part: MachinePart): Promise<boolean> {
    const pids = this.pids();
    if (part === 'everything') {
      for (const pid of Object.values(pids)) end(pid);
      return kill(this.#up);
    }
    if (part === 'supervisor') return kill(this.#up);
    const pid = pids[part];
    return pid !== undefined && end(pid);
  }

  /** Process ids by part, as they are now. */
  pids(): Record<string, number> {
    try {
      const { pids } = JSON.parse(readFileSync(join(this.#state, RUN_FILE), 'utf8')) as RunFile;
      const living = Object.entries(pids).filter(([, identity]) => isAlive(identity));
      return Object.fromEntries(living.map(([name, { pid }]) => [name, pid]));
    } catch {
      return {};
    }
  }

  /** What died although nobody killed it, in the words of `up`. */
  deaths(): string[] {
    const lines = this.#said.split('\n').filter((line) => /\bended \(/.test(line) && !line.includes('SIGKILL'));
    return lines.map((line) => line.trim());
  }

  /** Ends `up` with grace. @returns its exit status */
  async end(): Promise<number | null> {
    this.#ending = true;
    const up = this.#up;
    let status: number | null = null;
    if (up && up.exitCode === null && up.signalCode === null) {
      const ended = once(up, 'exit');
      const late = setTimeout(() => up.kill('SIGKILL'), ENDED_WITHIN);
      up.kill('SIGTERM');
      [status] = (await ended) as [number | null];
      clearTimeout(late);
    }
    return status;
  }

  killAll(): void {
    this.#ending = true;
    for (const pid of Object.values(this.pids())) end(pid);
    this.#up?.kill('SIGKILL');
  }
}

/** Resolves once it has ended; false when it had before. */
export async function kill(child: ChildProcess | undefined): Promise<boolean> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return false;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  return true;
}

function end(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
