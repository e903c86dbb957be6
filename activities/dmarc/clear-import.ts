/** The archive of an import is nobody's any more: the sweep removes it. */
import { z } from 'zod';
import { BlobRef } from '../schemas.ts';
import { defineStep } from '../step.ts';
import { inJob } from '../jobs/in-job.ts';
import { JobId } from './reread-some.ts';
import { importOwner } from '../../stores/records/dmarc/port.ts';

export const clearImport = defineStep({
  name: 'dmarc.clearImport',
  summary: 'Give up the archive of an import.',
  input: z.object({ job: JobId, archive: BlobRef }),
  output: z.object({}),
  needs: ['records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ job, archive }, { records }, step) {
    return inJob(job, records, step, async () => {
      await records.blobOwners.disown(archive.key, importOwner(archive.sha256));
      return {};
    });
  },
});
