/**
 * Whether a process is still the one that was started: its number may have gone to another since. Number and birth
 * together never repeat.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface ProcessIdentity {
  pid: number;
  /** When it was born, in the system's own form; only ever compared. */
  birth: string;
}

/** Identity of a running process, or undefined when there is none of that number. */
export function identify(pid: number): ProcessIdentity | undefined {
  const birth = process.platform === 'linux' ? linuxBirth(pid) : psBirth(pid);
  return birth === undefined ? undefined : { pid, birth };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.birth === identity.birth;
}

/** proc(5): state is the first field after the command in parentheses, the start time (ticks since boot) the 20th. */
function linuxBirth(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; only its parent has not asked yet.
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${fields[19]}`;
  } catch {
    return undefined;
  }
}

function psBirth(pid: number): string | undefined {
  try {
    const options = {
      encoding: 'utf8' as const,
      env: { ...process.env, LC_ALL: 'C', TZ: 'UTC' },
      stdio: 'pipe' as const,
    };
    const [state, ...start] = execFileSync('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], options)
      .trim()
      .split(/\s+/);
    return state === undefined || state.startsWith('Z') ? undefined : start.join(' ');
  } catch {
    return undefined;
  }
}
