/** What a worker does for triggers, again and again: leases, runs that ended, executions that wait. */
import type { Logger } from 'pino';
import type { Dependencies } from '../../activities/dependencies.ts';
import { messageOf } from '../../protocols/errors.ts';
import { sweepLeases } from './leases.ts';
import { newMemory, notifyOfRuns, notifyWaiting, type NotifyOptions } from './notify.ts';

export interface TriggerOptions extends NotifyOptions {
  dependencies: Pick<Dependencies, 'configuration' | 'records' | 'callbacks'>;
  log: Logger;
}

const WAITING_EVERY = 500;
const RUNS_EVERY = 2_000;
const LEASES_EVERY = 5_000;
const VERDICTS_EVERY = 3_600_000;

/** Works from its start on. `stop` resolves when nothing is under way any more. */
export function startTriggers(options: TriggerOptions): { stop(): Promise<void> } {
  const { records, configuration } = options.dependencies;
  const memory = newMemory();
  const asked = new Map<string, number>();
  const parts = [
    repeat(WAITING_EVERY, options.log, () => notifyWaiting(options, memory, Date.now())),
    repeat(RUNS_EVERY, options.log, () => notifyOfRuns(options, memory)),
    repeat(LEASES_EVERY, options.log, () => sweepLeases(options, asked, Date.now())),
    // A message whose record is gone is another message when it comes again.
    repeat(VERDICTS_EVERY, options.log, async () => {
      await records.verdicts.expire(new Date(Date.now() - configuration.mail.keepActivity).toISOString());
    }),
  ];
  return {
    async stop() {
      await Promise.all(parts.map((part) => part.stop()));
    },
  };
}

/** Runs the work, rests, and so on; what fails is tried again at the next turn. */
function repeat(restMs: number, log: Logger, work: () => Promise<void>): { stop(): Promise<void> } {
  let stopped = false;
  let wake = (): void => undefined;
  let trouble = '';
  const turn = async (): Promise<void> => {
    try {
      await work();
      trouble = '';
    } catch (thrown) {
      const now = messageOf(thrown);
      // A server that is away for an hour is said once.
      if (now !== trouble) log.warn({ error: now }, 'triggers: the next turns will try again');
      trouble = now;
    }
  };
  const running = (async () => {
    while (!stopped) {
      await turn();
      if (stopped) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, restMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  })();
  return {
    async stop() {
      stopped = true;
      wake();
      await running;
    },
  };
}
