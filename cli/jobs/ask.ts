/** Asks for a job and shows it to its end. The job is the worker's: Ctrl-C ends the showing, and nothing else. */
import type { JobKind } from '../../servers/jobs/kinds.ts';
import { requestJob } from '../../servers/jobs/request.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Records } from '../../stores/records/port.ts';
import { ACTOR, openDesk, sayIfUnheard } from './desk.ts';
import { followJob, sayEnd } from './follow.ts';

/**
 * Meets the job that is under way where it is the same.
 * @returns the exit status: 0 when it is done, or goes on without being watched
 */
export async function askAndFollow(
  kind: JobKind,
  parameters: Record<string, unknown>,
  { configuration, records, detach }: { configuration: Configuration; records: Records; detach: boolean },
): Promise<number> {
  const desk = openDesk(configuration, records);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    const asked = await requestJob(desk, kind, parameters, { requestedBy: ACTOR, ifRunning: 'join' });
    const { id } = asked.job;
    process.stdout.write(asked.met ? `It is under way: job ${id}\n` : `Job ${id}\n`);
    sayIfUnheard(asked);
    // Nobody is there to do it now: a script does not wait for who may come tomorrow.
    const end = detach || !asked.isHeard ? asked.job : await followJob(records, id, { signal: stop.signal });
    if (end?.endedAt !== null) return sayEnd(end);
    process.stdout.write(`It goes on:  switchyard jobs log ${id} --follow\n`);
    return 0;
  } finally {
    await desk.close();
  }
}
