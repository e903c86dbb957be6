/** Steps of the test job. Each writes a line into the ledger every few milliseconds while it is at work. */
import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { inJob, type JobWork } from '../../../activities/jobs/in-job.ts';
import { defineStep } from '../../../activities/step.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { defineJobKind } from '../../../servers/jobs/kinds.ts';

/** ms between two lines. */
const BEAT = 15;

export const TestParameters = z.object({
  key: z.string(),
  ledger: z.string(),
  /** Beats of the work; -1 goes on until it is stopped. */
  work: z.number().int(),
  /** Beats of the clean-up; -1 never ends by itself. */
  cleanUp: z.number().int(),
  /** Beats that the work goes on for after it was told to stop. */
  deaf: z.number().int(),
  fails: z.boolean(),
});
export type TestParameters = z.output<typeof TestParameters>;
const Input = TestParameters.extend({ job: z.string() });

export const testKind = defineJobKind({
  name: 'test.job',
  summary: 'Works as a test wants it.',
  workflow: 'testJob',
  parameters: TestParameters,
  key: ({ key }) => key,
  scope: 'runs:write',
});

/** Beats as often as asked, or until it is told to stop. */
async function beat(phase: string, count: number, deaf: number, { job, ledger }: z.output<typeof Input>, at: JobWork) {
  const attempt = randomUUID().slice(0, 8);
  let left = deaf;
  for (let done = 0; done !== count; done += 1) {
    if (!at.signal.aborted || left-- <= 0) at.check();
    appendFileSync(ledger, `${job} ${attempt} ${phase}\n`);
    at.progress({ done, total: count < 0 ? null : count, words: `${phase} ${done}` });
    await sleep(BEAT);
  }
}

const common = { takes: 'long', repeat: 'safe', scope: 'jobs:write', internal: true, errors: [] } as const;

export const work = defineStep({
  ...common,
  name: 'test.work',
  summary: 'Work.',
  input: Input,
  output: z.object({}),
  needs: ['records'],
  async run(input, { records }, step) {
    return inJob(input.job, records, step, async (at) => {
      await at.log('Working.');
      await beat('work', input.work, input.deaf, input, at);
      if (input.fails) throw new PermanentError({ code: 'test.broken', message: 'It broke.', fix: 'Mend it.' });
      return {};
    });
  },
});

export const cleanUp = defineStep({
  ...common,
  name: 'test.cleanUp',
  summary: 'Clean up.',
  input: Input,
  output: z.object({}),
  needs: ['records'],
  async run(input, { records }, step) {
    return inJob(input.job, records, step, async (at) => {
      await beat('clean-up', input.cleanUp, input.deaf, input, at);
      return {};
    });
  },
});
