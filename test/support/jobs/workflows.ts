/** The bundle of the tests of jobs: the workflows of the house, and one that does a job as a test wants it. */
import { proxyActivities } from '@temporalio/workflow';
import type { StepActivity } from '../../../activities/step.ts';
import type { JobInput } from '../../../workflows/jobs/contract.ts';
import { withCleanUp } from '../../../workflows/jobs/clean-up.ts';
import { CLASS_OPTIONS } from '../../../workflows/activities.ts';
import type { cleanUp, TestParameters, work } from './steps.ts';

export * from '../../../workflows/index.ts';

const steps = proxyActivities<{ 'test.work': StepActivity<typeof work>; 'test.cleanUp': StepActivity<typeof cleanUp> }>(
  {
    ...CLASS_OPTIONS.long,
    heartbeatTimeout: '7 seconds',
  },
);

export const testJob = ({ job, parameters }: JobInput<TestParameters>): Promise<unknown> =>
  withCleanUp(
    () => steps['test.work']({ job, ...parameters }),
    () => steps['test.cleanUp']({ job, ...parameters }),
  );
