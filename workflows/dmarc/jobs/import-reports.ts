/**
 * `importReports`: reports of the past, out of an archive that was stored as a whole. Where it is in the archive is in
 * the history, so that the next worker goes on there; what was published before it was cancelled stays.
 */
import { continueAsNew, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { ImportPosition } from '../../../activities/dmarc/import-some.ts';
import type { BlobRef } from '../../../stores/blobs/port.ts';
import { preparing, readingMany } from '../../activities.ts';
import { withCleanUp } from '../../jobs/clean-up.ts';
import type { JobInput } from '../../jobs/contract.ts';
import { survivedByAll } from '../lost-worker.ts';
import { inline } from '../../../protocols/markdown.ts';

export async function importReports(
  input: JobInput<{ archive: BlobRef; name: string | null }> & { position?: ImportPosition },
): Promise<void> {
  const { job, parameters } = input;
  const { archive, name } = parameters;
  let position: ImportPosition = input.position ?? {
    ...{ at: 0, mailbox: null, inside: null, startedAt: new Date().toISOString() },
    ...{ imported: 0, repeated: 0, others: 0, refused: {}, foreign: {}, asksNames: true },
  };
  await withCleanUp(
    async () => {
      for (;;) {
        setCurrentDetails(describe(name, archive, position));
        const from = { job, archive, ...position };
        const { isDone, ...next } = await survivedByAll((lost) => readingMany['dmarc.importSome']({ ...from, lost }));
        position = next;
        if (isDone) break;
        if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof importReports>({ ...input, position });
      }
      setCurrentDetails(describe(name, archive, position));
      await preparing['dmarc.clearImport']({ job, archive });
    },
    async ({ isStopped }) => {
      // After a failure somebody may want to look at it; it is kept for some days.
      if (isStopped) await preparing['dmarc.clearImport']({ job, archive });
    },
  );
}

function describe(name: string | null, { size }: BlobRef, position: ImportPosition): string {
  const { at, imported, repeated, others, refused } = position;
  const refusals = Object.values(refused).reduce((all, one) => all + one, 0);
  const share = size === 0 ? 100 : Math.floor((at / size) * 100);
  return `**Importing** ${inline(name ?? 'an archive')}: ${share} % read. ${imported} reports imported, ${repeated} already there, ${refusals} refused, ${others} others.`;
}
