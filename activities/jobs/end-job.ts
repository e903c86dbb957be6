/** The end of a job's record. */
import { z } from 'zod';
import { defineStep } from '../step.ts';

export const endJob = defineStep({
  name: 'jobs.end',
  summary: 'Record how a job ended.',
  input: z.object({
    job: z.string().describe('Id of the job.'),
    state: z.enum(['done', 'failed', 'cancelled']),
    code: z.string().nullable().describe('Code of the error; a cancelled job without one keeps the reason it has.'),
    text: z.string().max(1_000).nullable().describe('The same in words.'),
  }),
  output: z.object({ state: z.string().nullable() }),
  needs: ['records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'jobs:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ job, ...end }, { records }) {
    return { state: (await records.jobs.end(job, end))?.state ?? null };
  },
});
