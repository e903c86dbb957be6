/** Asks for a job and shows it to its end. The job is the worker's: Ctrl-C ends the showing, and nothing else. */
import type { JobKind } from '../../servers/jobs/kinds.ts';
import { requestJob } from '../../servers/jobs/request.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Records } from '../../stores/records/port.ts';
import { ACTOR, openDesk, sayIfUnheard } from './desk.ts';
import { followJob, sayEnd } from './follow.ts';

/**
 * Meets the job that is under way where it is the same.
 * @param whenDone says more, once it is
 * @returns the exit status: 0 when it is done, or goes on without being watched
 */
export async function askAndFollow(
  kind: JobKind,
  parameters: Record<string, unknown>,
  { configuration, records, detach }: { configuration: Configuration; records: Records; detach: boolean },
  whenDone: () => void = () => undefined,
): Promise<number> {
  const desk = openDesk(configuration, records);
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  try {
    const asked = await requestJob(desk, kind, parameters, { requestedBy: ACTOR, ifRunning: 'join' });
    const { id } = asked.job;
    process.stdout.write(asked.met ? `It is under way: job ${id}\n` : `Job ${id}\n`);
    sayIfUnheard(asked);
    const isFollowed = !detach && asked.isHeard;
    if (isFollowed && process.stderr.isTTY) process.stderr.write('  Ctrl-C ends the showing, and not the job.\n');
    // Nobody is there to do it now: a script does not wait for who may come tomorrow.
    const end = isFollowed ? await followJob(records, id, { signal: stop.signal }) : asked.job;
    if (end?.endedAt !== null) {
      const status = sayEnd(end);
      if (status === 0) whenDone();
      return status;
    }
    process.stdout.write(`It goes on:  switchyard jobs log ${id} --follow\n`);
    if (isFollowed) process.stdout.write(`To stop it:  switchyard jobs cancel ${id}\n`);
    return 0;
  } finally {
    await desk.close();
  }
}
