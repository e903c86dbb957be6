/** The kinds of jobs: what each is called, what it takes, what it has for itself while it runs, and its workflow. */
import type { z } from 'zod';
import { PermanentError } from '../../protocols/errors.ts';

export interface JobKind<Parameters extends z.ZodObject = z.ZodObject> {
  /** `domain.verb`. */
  name: string;
  /** One sentence for people. */
  summary: string;
  /** Name of the workflow that does it; its input is `JobInput` (workflows/jobs/contract.ts). */
  workflow: string;
  parameters: Parameters;
  /** What one job at a time is done of, such as `dmarc.reparse` or `site/<id>`. */
  key(parameters: z.output<Parameters>): string;
  /** What a token must be allowed beside jobs:write. */
  scope: string;
}

/** Forgets the types of the parameters, for the list below. */
export const defineJobKind = <Parameters extends z.ZodObject>(kind: JobKind<Parameters>): JobKind =>
  kind as unknown as JobKind;

export const jobKinds: readonly JobKind[] = [];

/** @throws PermanentError `job.kind_unknown` */
export function findJobKind(name: string, kinds: readonly JobKind[] = jobKinds): JobKind {
  const kind = kinds.find((one) => one.name === name);
  if (kind) return kind;
  throw new PermanentError({
    code: 'job.kind_unknown',
    message: `There is no kind of job ${JSON.stringify(name)}.`,
    fix: `The kinds are: ${kinds.map((one) => one.name).join(', ') || 'none yet'}.`,
  });
}
