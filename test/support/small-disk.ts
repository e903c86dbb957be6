/** A disk that fills: a small tmpfs under the state folder where root may mount, else a limit on the size of files. */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface Disk {
  /** How it fills, for the report. */
  how: string;
  isMounted: boolean;
  /** @param pids by part; of several machines `smtp one`, `smtp two` */
  fill(pids: Record<string, number>): void;
  free(pids: Record<string, number>): void;
  remove(): void;
}

const CHUNK = 1_048_576;
/** What keeps files; Temporal's server would be ended by the signal of the limit. */
const LIMITED = ['smtp', 'worker', 'http'];

/** @param state a folder that holds nothing yet */
export function openDisk(state: string, megabytes: number): Disk {
  mkdirSync(state, { recursive: true, mode: 0o700 });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', state], { stdio: 'pipe' });
  } catch {
    return limits;
  }
  const filler = join(state, 'filler');
  return {
    isMounted: true,
    how: `a tmpfs of ${megabytes} MB under the whole state folder was filled to its last byte`,
    fill: () => fillUp(filler),
    free: () => rmSync(filler, { force: true }),
    remove: () => void execFileSync('umount', ['-l', state]),
  };
}

function fillUp(file: string): void {
  const handle = openSync(file, 'w');
  try {
    for (let size = CHUNK; size >= 1;) {
      try {
        writeSync(handle, Buffer.alloc(size));
      } catch {
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(handle);
  }
}

const limits: Disk = {
  isMounted: false,
  how: `no tmpfs could be mounted: no file of ${LIMITED.join(', ')} could be written (RLIMIT_FSIZE 0), and the disk of Temporal did not fill`,
  fill: (pids) => limit(pids, '0'),
  free: (pids) => limit(pids, 'unlimited'),
  remove: () => undefined,
};

function limit(pids: Record<string, number>, soft: string): void {
  for (const [name, pid] of Object.entries(pids)) {
    if (LIMITED.includes(name.replace(/ .*/, '')))
      execFileSync('prlimit', ['--pid', String(pid), `--fsize=${soft}:`], { stdio: 'ignore' });
  }
}
