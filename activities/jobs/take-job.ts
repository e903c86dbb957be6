/** The next job of a key, for the run that works the key. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Job } from '../../stores/records/jobs-port.ts';

export const Key = z.string().min(1).describe('What one job at a time is done of.');

const Running = z.object({ id: z.string(), workflowId: z.string() });

export const takeJob = defineStep({
  name: 'jobs.take',
  summary: 'Take the next job of a key.',
  input: z.object({ key: Key }),
  output: z.object({
    job: Running.extend({
      kind: z.string(),
      workflow: z.string(),
      parameters: z.record(z.string(), z.unknown()),
      requestedBy: z.string(),
    })
      .optional()
      .describe('Start this one; it is recorded as running.'),
    leftover: Running.optional().describe('Recorded as running by somebody else, who is no more.'),
    leasedUntil: z.string().optional().describe('A step of an ended job may be at work until then.'),
    cleanUp: z.number().int().describe('ms that a job has to stop.'),
  }),
  needs: ['configuration', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'jobs:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ key }, { configuration, records }, step) {
    const { job, leftover, leasedUntil } = await records.jobs.take(key, step.idempotencyKey);
    return {
      job: job && { ...running(job), ...facts(job) },
      leftover: leftover && running(leftover),
      leasedUntil,
      cleanUp: configuration.jobs.cleanUp,
    };
  },
});

const running = ({ id, workflowId }: Job) => ({ id, workflowId: workflowId ?? '' });
const facts = ({ kind, workflow, parameters, requestedBy }: Job) => ({ kind, workflow, parameters, requestedBy });
