/**
 * `<state>/run.json`: what runs and where it listens. The command line reads the addresses; the next start finds here
 * what a killed one left behind.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RUN_FILE, type Addresses } from '../../stores/configuration/addresses.ts';
import { isAlive, type ProcessIdentity } from './birth.ts';

export interface RunFile {
  /** The state folder that it belongs to: in a copy of the folder, the processes it names are another installation's. */
  state: string;
  version: string;
  /** ISO time. */
  startedAt: string;
  addresses: Addresses;
  /** By name: `supervisor`, `temporal`, `temporal guard`, `worker`, `smtp`, `http`, `inbox`, `editor`, `editor guard`. */
  pids: Record<string, ProcessIdentity>;
}

/** Processes of a killed supervisor end by themselves; one that has not after this long is killed. */
const LEFTOVER_GRACE_MS = 5_000;
const LOOK_EVERY_MS = 50;

export function writeRunFile(state: string, run: RunFile): void {
  const half = join(state, `${RUN_FILE}.part`);
  writeFileSync(half, `${JSON.stringify(run, null, 2)}\n`, { mode: 0o600 });
  renameSync(half, join(state, RUN_FILE));
}

export function removeRunFile(state: string): void {
  rmSync(join(state, RUN_FILE), { force: true });
}

/**
 * Ends what an earlier supervisor left running. Call it under the lock of the folder.
 * @returns the names of what was ended
 */
export async function endLeftovers(state: string): Promise<string[]> {
  const leftovers = Object.entries(readPids(state)).filter(([, identity]) => isAlive(identity));
  const living = () => leftovers.filter(([, identity]) => isAlive(identity));
  signal(living(), 'SIGTERM');
  for (let waited = 0; living().length > 0 && waited < LEFTOVER_GRACE_MS; waited += LOOK_EVERY_MS)
    await sleep(LOOK_EVERY_MS);
  signal(living(), 'SIGKILL');
  while (living().length > 0) await sleep(LOOK_EVERY_MS);
  removeRunFile(state);
  return leftovers.map(([name]) => name);
}

function readPids(state: string): RunFile['pids'] {
  try {
    const run = JSON.parse(readFileSync(join(state, RUN_FILE), 'utf8')) as RunFile;
    return run.state === state ? run.pids : {};
  } catch {
    return {};
  }
}

function signal(processes: [string, ProcessIdentity][], name: NodeJS.Signals): void {
  for (const [, { pid }] of processes) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended in this moment.
    }
  }
}
