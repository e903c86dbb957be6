/** What processes have used, as the kernel counts it (proc(5)): Linux only. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

const TICK_MS = 1_000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

export interface Usage {
  /** CPU ms of user and system, all threads. */
  cpu: number;
  /** Resident bytes. */
  memory: number;
}

interface Entry extends Usage {
  parent: number;
  /** CPU ms of the process alone, without children that it waited for. */
  own: number;
}

/** CPU of children that have ended is counted with whoever waited for them. */
function read(pid: number): Entry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    const [, parent = 0] = fields;
    const ticks = (...at: number[]): number => at.reduce((sum, i) => sum + (fields[i] ?? 0), 0) * TICK_MS;
    return { parent, cpu: ticks(11, 12, 13, 14), own: ticks(11, 12), memory: (fields[21] ?? 0) * 4_096 };
  } catch {
    return undefined;
  }
}

/** CPU ms of one process alone, or undefined when it is gone. */
export function ownCpuOf(pid: number): number | undefined {
  return read(pid)?.own;
}

/** The processes and all below them. */
export function usageOf(roots: number[]): Usage {
  const all = new Map<number, Entry>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const entry = Number.isInteger(pid) ? read(pid) : undefined;
    if (entry) all.set(pid, entry);
  }
  const sum: Usage = { cpu: 0, memory: 0 };
  for (const [pid, entry] of all) {
    if (!isBelow(pid, roots, all)) continue;
    sum.cpu += entry.cpu;
    sum.memory += entry.memory;
  }
  return sum;
}

function isBelow(pid: number, roots: number[], all: Map<number, Entry>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1; at = all.get(at)?.parent)
    if (roots.includes(at)) return true;
  return false;
}
