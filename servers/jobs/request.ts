/** Asks for a job, and cancels one. The record comes first: what is recorded is done, be Temporal there or not. */
import { randomUUID } from 'node:crypto';
import { PermanentError } from '../../protocols/errors.ts';
import type { Job, JobRequest } from '../../stores/records/jobs-port.ts';
import type { Records } from '../../stores/records/port.ts';
import type { JobKind } from './kinds.ts';
import { wakeKey, type JobRuns } from './wake.ts';

export interface JobDesk extends JobRuns {
  records: Pick<Records, 'jobs'>;
}

/** Bytes of the parameters as JSON: they travel through histories. */
const PARAMETERS = 4_096;

export interface Asked {
  job: Job;
  /** It was there already: the same request came before, or it joined. */
  met: boolean;
  /** False while Temporal is away: the job waits, and the sweep of the worker starts it. */
  isHeard: boolean;
}

/**
 * Asks for a job of a kind.
 * @param ask.requestId the same for every repeat of the same request; one of its own where it is left out
 * @throws PermanentError `input.invalid`, `job.request_reused`
 */
export async function requestJob(
  desk: JobDesk,
  kind: JobKind,
  given: unknown,
  ask: Pick<JobRequest, 'requestedBy'> & { requestId?: string; ifRunning?: JobRequest['ifRunning'] },
): Promise<Asked> {
  const parameters = checkParameters(kind, given);
  const { job, met } = await desk.records.jobs.request({
    requestId: ask.requestId ?? randomUUID(),
    key: kind.key(parameters),
    kind: kind.name,
    workflow: kind.workflow,
    parameters,
    requestedBy: ask.requestedBy,
    ifRunning: ask.ifRunning ?? 'replace',
  });
  // Also where it was met: whoever asked before may have died between the record and the signal.
  return { job, met, isHeard: job.endedAt !== null || (await isHeard(desk, job.key)) };
}

/**
 * Asks a job to stop. One that waits is cancelled at once; one that is over stays as it is.
 * @throws PermanentError `job.missing`
 */
export async function cancelJob(desk: JobDesk, id: string, by: string): Promise<Omit<Asked, 'met'>> {
  const job = await desk.records.jobs.cancel(id, { code: 'job.cancelled', text: `Cancelled by ${by}.` });
  if (!job) throw jobMissing(id);
  return { job, isHeard: job.endedAt !== null || (await isHeard(desk, job.key)) };
}

export function jobMissing(id: string): PermanentError {
  return new PermanentError({
    code: 'job.missing',
    message: `There is no job with the id ${JSON.stringify(id)}.`,
    fix: 'switchyard jobs lists them, and so does GET /v1/jobs. Old ones are forgotten (jobs.keep in switchyard.yaml).',
  });
}

async function isHeard(desk: JobDesk, key: string): Promise<boolean> {
  return wakeKey(desk, key).then(
    () => true,
    () => false,
  );
}

/**
 * The parameters as the kind takes them.
 * @throws PermanentError `input.invalid`
 */
export function checkParameters(kind: JobKind, given: unknown): Record<string, unknown> {
  const checked = kind.parameters.safeParse(given ?? {});
  const issue = checked.success ? undefined : checked.error.issues[0];
  const isLarge = checked.success && JSON.stringify(checked.data).length > PARAMETERS;
  if (checked.success && !isLarge) return checked.data;
  const field = ['parameters', ...(issue?.path ?? [])].join('.');
  throw new PermanentError({
    code: 'input.invalid',
    message: `${field}: ${issue?.message ?? `larger than ${PARAMETERS} bytes`}`,
    fix: `A job of the kind ${kind.name} takes {${Object.keys(kind.parameters.shape).join(', ')}}; /docs says more.`,
    details: { field },
  });
}
