/** Every step of the house, by name. Adding a step is: one file, one line here. */
import type { Step } from './step.ts';
import { PermanentError } from '../protocols/errors.ts';

export const steps: readonly Step[] = [];

/** @throws PermanentError `step.unknown` */
export function findStep(name: string): Step {
  const step = steps.find((one) => one.name === name);
  if (step) return step;
  throw new PermanentError({
    code: 'step.unknown',
    message: `There is no step ${JSON.stringify(name)}.`,
    fix: `The steps are: ${steps.map((one) => one.name).join(', ')}.`,
  });
}
