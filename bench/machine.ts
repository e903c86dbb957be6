/** What every table of figures says about where it was made, and how several turns become one figure. */
import { cpus, release, totalmem } from 'node:os';

/** One line for a table: processors, memory, kernel, Node, day. */
export function machineLine(): string {
  const { cpu, memory, kernel, node, at } = machine();
  return `${cpu}, ${memory}, Linux ${kernel}, Node ${node}, ${at.slice(0, 10)}`;
}

export function machine() {
  const [cpu] = cpus();
  return {
    cpu: `${cpus().length} x ${cpu?.model.trim() ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    node: process.version,
    at: new Date().toISOString(),
  };
}

export const median = (numbers: number[]): number => quantile(numbers, 0.5);

/** @param part 0.5 for the median, 0.99 for what one in a hundred exceeds */
export function quantile(numbers: number[], part: number): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
