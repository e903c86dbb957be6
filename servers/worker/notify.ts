/**
 * Finds what triggers want to hear and starts a `notifyTrigger` for each. The workflow's id is the message's, so that
 * workers that find the same thing, or find it twice, tell it once.
 */
import { createHash } from 'node:crypto';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { Trigger } from '../../stores/records/port.ts';
import { NOTIFY_TRIGGER, notifyTriggerId, type NotifyTriggerInput } from '../../workflows/triggers/contract.ts';
import { endedQuery, findEnd, runMessage, type EndedRun, type RunSource } from './ended-runs.ts';

export interface NotifyOptions extends RunSource {
  dependencies: Pick<Dependencies, 'configuration' | 'records'>;
  /** The main task queue. */
  taskQueue: string;
}

/** What one worker remembers from look to look; without it nothing is told twice, only asked twice. */
export interface NotifyMemory {
  /** Ids of workflows that were started, newest last. */
  started: Set<string>;
  /** When each waiting execution is looked at next. */
  due: Map<string, number>;
}

export const newMemory = (): NotifyMemory => ({ started: new Set(), due: new Map() });

/** The list of runs may be this much behind the runs. */
const OVERLAP = 60_000;
/** How often a cursor is written down. */
const CURSOR_EVERY = 30_000;
const REMEMBERED = 10_000;
/** A wait is looked at after a tenth of its age: a short run is answered at once, a long one costs little. */
const SHORTEST_WAIT = 500;
const LONGEST_WAIT = 30_000;

/** Tells the `run` triggers of every run that ended since they were told last. */
export async function notifyOfRuns(options: NotifyOptions, memory: NotifyMemory): Promise<void> {
  const { records } = options.dependencies;
  for (const trigger of await records.triggers.list('run')) {
    const looked = new Date();
    const seen = Date.parse(trigger.seenUntil ?? trigger.createdAt);
    const since = new Date(Math.max(seen - OVERLAP, Date.parse(trigger.createdAt)));
    for await (const run of options.client.workflow.list({ query: endedQuery(trigger, since) })) {
      const id = notifyTriggerId(trigger.id, run.runId);
      if (memory.started.has(id)) continue;
      const body = await runMessage(trigger, run, options);
      await start(id, trigger, `run ${run.workflowId} ended as ${String(body.status)}`, body, options);
      remember(memory, id);
    }
    if (looked.getTime() - seen > CURSOR_EVERY) await records.triggers.seen(trigger.id, looked.toISOString());
  }
}

/** Wakes the executions all of whose runs have ended. */
export async function notifyWaiting(options: NotifyOptions, memory: NotifyMemory, now: number): Promise<void> {
  const waiting = await options.dependencies.records.triggers.list('resume');
  for (const id of memory.due.keys()) if (!waiting.some((one) => one.id === id)) memory.due.delete(id);
  for (const trigger of waiting) {
    const id = notifyTriggerId(trigger.id, waitOf(trigger));
    if (memory.started.has(id) || (memory.due.get(trigger.id) ?? 0) > now) continue;
    const pause = (now - Date.parse(trigger.createdAt)) / 10;
    memory.due.set(trigger.id, now + Math.min(Math.max(pause, SHORTEST_WAIT), LONGEST_WAIT));
    const runs = await endsOf(trigger.runs, options);
    if (!runs) continue;
    const about = `${runs.length === 1 ? `run ${trigger.runs[0]}` : `${runs.length} runs`} ended`;
    await start(id, trigger, about, { type: 'resume', trigger: trigger.id, runs }, options);
    remember(memory, id);
  }
}

/** In the order asked, or undefined while one of them goes on. */
async function endsOf(ids: string[], source: RunSource): Promise<EndedRun[] | undefined> {
  const ends: EndedRun[] = [];
  for (const id of ids) {
    const end = await findEnd(id, source);
    if (!end) return undefined;
    ends.push(end);
  }
  return ends;
}

/** Names one wait: the same id may wait again later, or for other runs. */
function waitOf({ createdAt, runs }: Trigger): string {
  const hash = createHash('sha256').update(runs.join('\0')).digest('hex').slice(0, 12);
  return `${Date.parse(createdAt)}-${hash}`;
}

async function start(
  id: string,
  trigger: Trigger,
  about: string,
  body: NotifyTriggerInput['message']['body'],
  { client, taskQueue, dependencies: { configuration } }: NotifyOptions,
): Promise<void> {
  const input: NotifyTriggerInput = {
    trigger: trigger.id,
    name: trigger.name,
    link: trigger.link,
    about,
    message: { id, body },
    giveUpAfter: configuration.triggers.forgetAfter,
  };
  try {
    await client.workflow.start(NOTIFY_TRIGGER, {
      workflowId: id,
      taskQueue,
      args: [input],
      workflowIdReusePolicy: 'REJECT_DUPLICATE',
      workflowIdConflictPolicy: 'FAIL',
      staticSummary: `${about} -> ${trigger.name}`.slice(0, 130),
    });
  } catch (thrown) {
    if (!(thrown instanceof WorkflowExecutionAlreadyStartedError)) throw thrown;
  }
}

function remember({ started }: NotifyMemory, id: string): void {
  started.add(id);
  for (const oldest of started) {
    if (started.size <= REMEMBERED) break;
    started.delete(oldest);
  }
}
