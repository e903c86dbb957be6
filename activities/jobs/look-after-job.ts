/** What has changed about the jobs of a key, for the run that works the key. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { Key } from './take-job.ts';

export const lookAfterJob = defineStep({
  name: 'jobs.look',
  summary: 'See whether the running job of a key has to stop.',
  input: z.object({
    key: Key,
    job: z.string().nullable().describe('The running job, if there is one.'),
    all: z.boolean().describe('Cancel whatever is open of the key.'),
  }),
  output: z.object({ stop: z.boolean() }),
  needs: ['records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'jobs:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ key, job, all }, { records }) {
    if (all) {
      const why = { code: 'job.cancelled', text: 'Cancelled in Temporal, with all that was open of its key.' };
      const open = await records.jobs.list({ key, states: ['waiting', 'running'] });
      for (const { id } of open) await records.jobs.cancel(id, why);
    }
    const now = job === null ? undefined : await records.jobs.look(job);
    return { stop: now !== undefined && now.state !== 'running' };
  },
});
