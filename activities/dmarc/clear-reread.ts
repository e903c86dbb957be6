/** Removes the answers that were replaced, or gives up those that are being made. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { inJob } from '../jobs/in-job.ts';
import { JobId } from './reread-some.ts';

export const clearReread = defineStep({
  name: 'dmarc.clearReread',
  summary: 'Remove answers that nobody asks any more.',
  input: z.object({
    job: JobId,
    drop: z.number().int().nullable().describe('A generation that is given up, if one is.'),
  }),
  output: z.object({ rows: z.number().int() }),
  needs: ['records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ job, drop }, { records }, step) {
    return inJob(job, records, step, async (at) => {
      const { generations } = records.dmarc;
      if (drop !== null) {
        await generations.drop(drop);
        await at.log(`Generation ${drop} is given up: the answers are those from before.`);
      }
      let rows = 0;
      for (let removed = await generations.clear(); removed > 0; removed = await generations.clear()) {
        at.check();
        rows += removed;
      }
      return { rows };
    });
  },
});
