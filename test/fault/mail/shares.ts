/** Who of several machines did how much of what they share. */
import { Client, Connection } from '@temporalio/client';
import type { ProcessorTime } from './processor-time.ts';
import type { Evidence } from './reckoning.ts';
import type { Lane, Site } from './site.ts';

/**
 * Sessions by machine, and tasks of the runs where every message is one; nothing for a single machine.
 * @param cpu knows whose a process was
 */
export async function sharesOf(
  site: Site,
  lane: Lane['lane'],
  records: { workflowId: string | null }[],
  cpu: ProcessorTime,
): Promise<Evidence['shares']> {
  const sessions = site.sessions();
  if (!sessions || !site.temporal) return {};
  if (lane === 'direct') return { sessions };
  const ids = new Set(records.flatMap(({ workflowId }) => workflowId ?? []));
  const none = Object.fromEntries(Object.keys(sessions).map((name) => [name, 0]));
  const tasks = await tasksBy(site.temporal.address, ids, (pid) => cpu.partOf(pid)?.split(' ')[1]);
  return { sessions, tasks: { ...none, ...tasks } };
}

/**
 * Tasks of the runs by who did them: a worker names itself `switchyard:<stores>:<pid>@<host>`.
 * @param nameOf the machine of a process id; undefined for one that was never seen
 */
async function tasksBy(
  address: string,
  workflowIds: Iterable<string>,
  nameOf: (pid: number) => string | undefined,
): Promise<Record<string, number>> {
  const connection = await Connection.connect({ address });
  const counts: Record<string, number> = {};
  try {
    const { workflow } = new Client({ connection });
    for (const id of workflowIds) {
      const { events } = await workflow.getHandle(id).fetchHistory();
      for (const { activityTaskStartedEventAttributes, workflowTaskCompletedEventAttributes } of events ?? []) {
        const { identity } = activityTaskStartedEventAttributes ?? workflowTaskCompletedEventAttributes ?? {};
        if (!identity) continue;
        const name = nameOf(Number(/:(\d+)@/.exec(identity)?.[1])) ?? 'unknown';
        counts[name] = (counts[name] ?? 0) + 1;
      }
    }
    return counts;
  } finally {
    await connection.close();
  }
}
