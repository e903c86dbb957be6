/**
 * `rereadReports`: after a change of the parser all stored reports are read anew, into a generation of answers beside the
 * present one. The old answers hold until the new ones are complete; when it is cancelled they stay.
 */
import { continueAsNew, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { RereadPosition } from '../../../activities/dmarc/reread-some.ts';
import { preparing, readingMany } from '../../activities.ts';
import { withCleanUp } from '../../jobs/clean-up.ts';
import type { JobInput } from '../../jobs/contract.ts';
import { survivedByAll } from '../lost-worker.ts';

export async function rereadReports(input: JobInput & { position?: RereadPosition }): Promise<void> {
  const { job } = input;
  let position = input.position;
  await withCleanUp(
    async () => {
      position ??= await preparing['dmarc.beginReread']({ job });
      for (;;) {
        setCurrentDetails(`**Reading anew** into generation ${position.generation}: ${position.done} reports so far.`);
        const from: RereadPosition & { job: string } = { job, ...position };
        const { isCurrent, ...next } = await survivedByAll((lost) =>
          readingMany['dmarc.rereadSome']({ ...from, lost }),
        );
        position = next;
        if (isCurrent) break;
        if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof rereadReports>({ ...input, position });
      }
      setCurrentDetails(`**Current:** generation ${position.generation}. Removing the answers from before.`);
      await preparing['dmarc.clearReread']({ job, drop: null });
    },
    async ({ isStopped }) => {
      // After a failure the next one goes on with what is there.
      if (isStopped && position) await preparing['dmarc.clearReread']({ job, drop: position.generation });
    },
  );
}
