/** CPU that each part took. What the kernel counts goes with a process, so it is noted while the process lives. */
import { ownCpuOf, usageOf } from '../../support/processes.ts';

/** A process for each connection, under one; what has ended is counted there. */
const HAS_CHILDREN = new Set(['postgres']);

export class ProcessorTime {
  /** ms by part and process. */
  readonly #seen = new Map<string, Map<number, number>>();

  /** What a process takes after the last note before its end is not counted. */
  note(pids: Record<string, number>): void {
    for (const [name, pid] of Object.entries(pids)) {
      const cpu = HAS_CHILDREN.has(name) ? usageOf([pid]).cpu : ownCpuOf(pid);
      const processes = this.#seen.get(name) ?? new Map<number, number>();
      this.#seen.set(name, processes);
      processes.set(pid, Math.max(cpu ?? 0, processes.get(pid) ?? 0));
    }
  }

  /** Seconds by part, over all of its processes. */
  seconds(): Record<string, number> {
    return Object.fromEntries(
      [...this.#seen].map(([name, processes]) => {
        const ms = [...processes.values()].reduce((sum, one) => sum + one, 0);
        return [name, Math.round(ms / 100) / 10];
      }),
    );
  }

  /** The part that a process belonged to. */
  partOf(pid: number): string | undefined {
    return [...this.#seen].find(([, processes]) => processes.has(pid))?.[0];
  }
}
