/** Begins to read all reports anew, or goes on with what an earlier job left. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { inJob } from '../jobs/in-job.ts';
import { JobId, Position } from './reread-some.ts';
import { PARSER_VERSION } from '../../protocols/dmarc/identity.ts';

export const beginReread = defineStep({
  name: 'dmarc.beginReread',
  summary: 'Begin a new reading of all reports, or go on with one that was left.',
  input: z.object({ job: JobId }),
  output: Position,
  needs: ['records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ job }, { records }, step) {
    return inJob(job, records, step, async (at) => {
      const { number } = await records.dmarc.generations.begin(PARSER_VERSION);
      await at.log(`Reading with parser ${PARSER_VERSION} into generation ${number}.`);
      return { generation: number, after: null, done: 0, refused: 0, kept: 0 };
    });
  },
});
