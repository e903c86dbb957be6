/**
 * Locks that the kernel releases when their process dies, kill -9 included: an SQLite database held in an exclusive
 * transaction. Imports nothing from node_modules: the set-up of a checkout uses it too.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { PermanentError } from '../../protocols/errors.ts';

export interface Lock {
  release(): void;
}

/** How often a waiting process looks again. */
const RETRY_MS = 250;

/** Takes the lock, or undefined when another process holds it. */
export function tryLock(file: string): Lock | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
  } catch (error) {
    database.close();
    if (/locked|busy/i.test(String(error))) return undefined;
    throw error;
  }
  return {
    release() {
      if (database.isOpen) database.close();
    },
  };
}

/**
 * Takes the lock as soon as whoever holds it lets go.
 * @param onWait called once when it has to wait
 */
export async function waitForLock(file: string, onWait?: () => void): Promise<Lock> {
  for (let waited = false; ; waited = true) {
    const lock = tryLock(file);
    if (lock) return lock;
    if (!waited) onWait?.();
    await sleep(RETRY_MS);
  }
}

/**
 * Locks a state folder for this process.
 * @param state absolute path; made when missing, readable by its owner only
 * @throws PermanentError `state.locked`, naming who holds it and since when
 */
export function lockState(state: string): Lock {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const holder = join(state, 'lock.json');
  const lock = tryLock(join(state, 'lock.sqlite'));
  if (!lock) throw lockedError(state, holder);
  writeFileSync(holder, JSON.stringify({ pid: process.pid, since: new Date().toISOString() }), { mode: 0o600 });
  return {
    release: () => {
      rmSync(holder, { force: true });
      lock.release();
    },
  };
}

function lockedError(state: string, holder: string): PermanentError {
  let who = 'another process';
  let stop = 'stop it';
  try {
    const { pid, since } = JSON.parse(readFileSync(holder, 'utf8')) as { pid: number; since: string };
    who = `process ${pid}, since ${since}`;
    stop = `stop it with Ctrl-C or: kill ${pid}`;
  } catch {
    // It has the lock and has not written its name yet.
  }
  return new PermanentError({
    code: 'state.locked',
    message: `Switchyard already runs on ${state} (${who}).`,
    fix: `Use that one, or ${stop}. For a second installation go to another folder${dirname(state) === process.cwd() ? '' : ', or name another state folder in switchyard.yaml'}.`,
  });
}
