/** Temporal as the API shows it: only our workflows, answers within seconds, errors of the house. */
import {
  isGrpcServiceError,
  QueryNotRegisteredError,
  QueryRejectedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import { messageOf, PermanentError, SwitchyardError, TemporaryError } from '../../protocols/errors.ts';
import { RUN_STEP, SEARCH_ATTRIBUTES } from '../../workflows/contract.ts';
import { INGEST_DMARC_REPORT } from '../../workflows/dmarc/contract.ts';
import { ROUTE_MAIL } from '../../workflows/mail/contract.ts';
import { runUrl } from '../temporal.ts';
import type { HttpContext } from './context.ts';
import { TEMPORAL_DEADLINE } from './limits.ts';
import { RUN_STATUSES, type Run } from './schemas.ts';

/** The workflows of the house: all that the API starts, lists or touches. */
export const WORKFLOWS = [RUN_STEP, ROUTE_MAIL, INGEST_DMARC_REPORT] as const;

/** gRPC status codes that mean: the server is away, or too slow. */
const CANCELLED = 1;
const INVALID_ARGUMENT = 3;
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const UNAVAILABLE = 14;

/**
 * Asks the Temporal server one thing, under a deadline.
 * @throws TemporaryError `temporal.unavailable`; PermanentError `run.missing` and the others of `translate`
 */
export async function askTemporal<Answer>(
  context: HttpContext,
  question: () => Promise<Answer>,
  milliseconds = TEMPORAL_DEADLINE,
): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  // The client retries while the server is away and connects without a deadline: hence our own clock beside its.
  const clock = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailable('it did not answer in time')), milliseconds + 250);
  });
  try {
    return await Promise.race([context.temporal.withDeadline(Date.now() + milliseconds, question), clock]);
  } catch (thrown) {
    throw translate(thrown);
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(why: string, cause?: unknown): TemporaryError {
  return new TemporaryError({
    code: 'temporal.unavailable',
    message: `The Temporal server cannot be asked at the moment: ${why}.`,
    fix: 'Try again; if it stays so, see /readyz and switchyard doctor.',
    cause,
  });
}

function translate(thrown: unknown): unknown {
  if (thrown instanceof SwitchyardError || thrown instanceof WorkflowFailedError) return thrown;
  if (thrown instanceof WorkflowNotFoundError) return missing(thrown);
  if (thrown instanceof QueryNotRegisteredError || thrown instanceof QueryRejectedError) {
    return new PermanentError({
      code: 'run.query_refused',
      message: `The run does not answer this query: ${thrown.message}`,
      fix: 'See the queries of its workflow in /docs.',
      cause: thrown,
    });
  }
  if (thrown instanceof WorkflowUpdateFailedError) {
    return new PermanentError({
      code: 'run.update_refused',
      message: `The run refused the update: ${messageOf(thrown.cause ?? thrown)}`,
      fix: 'See the updates of its workflow in /docs.',
      cause: thrown,
    });
  }
  if (thrown instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return noAnswer(thrown);
  const grpc = isGrpcServiceError(thrown)
    ? thrown
    : thrown instanceof Error && isGrpcServiceError(thrown.cause)
      ? thrown.cause
      : undefined;
  if (!grpc) return thrown;
  if (grpc.code === NOT_FOUND) return missing(thrown);
  if (grpc.code === INVALID_ARGUMENT)
    return new PermanentError({
      code: 'input.invalid',
      message: `Temporal refuses the request: ${grpc.details}`,
      fix: 'Correct the request.',
      cause: thrown,
    });
  if (
    grpc.code === DEADLINE_EXCEEDED ||
    grpc.code === UNAVAILABLE ||
    grpc.code === CANCELLED ||
    grpc.code === RESOURCE_EXHAUSTED
  )
    return unavailable(grpc.details || 'no connection', thrown);
  return thrown;
}

function missing(cause?: unknown): PermanentError {
  return new PermanentError({
    code: 'run.missing',
    message: 'There is no such run, or it no longer runs.',
    fix: 'GET /v1/runs lists the runs. A slash in an id is written %2F. Temporal forgets closed runs after its retention time.',
    cause,
  });
}

/** A query or an update that no worker took in time. */
export function noAnswer(cause: unknown): TemporaryError {
  return new TemporaryError({
    code: 'run.no_answer',
    message: 'No worker answered for this run in time.',
    fix: 'See that switchyard worker runs, then try again.',
    cause,
  });
}

/**
 * One run of ours.
 * @throws PermanentError `run.missing`, also for workflows of others in the same namespace
 */
export async function findRun(context: HttpContext, id: string): Promise<Run> {
  const found = await askTemporal(context, () => context.temporal.workflow.getHandle(id).describe());
  if (!WORKFLOWS.some((name) => name === found.type)) throw missing();
  return show(context, {
    id,
    runId: found.runId,
    workflow: found.type,
    status: found.status.name,
    startedAt: found.startTime,
    closedAt: found.closeTime,
    attributes: found.searchAttributes,
  });
}

/** The result, or undefined when the time is over first. */
export async function awaitResult(
  context: HttpContext,
  id: string,
  milliseconds: number,
  caller: AbortSignal,
): Promise<{ result: unknown } | undefined> {
  const over = AbortSignal.any([AbortSignal.timeout(milliseconds), caller, context.closing]);
  const stop = new Promise<undefined>((resolve) =>
    over.addEventListener('abort', () => resolve(undefined), { once: true }),
  );
  try {
    const result = context.temporal.withAbortSignal(over, () => context.temporal.workflow.getHandle(id).result());
    return await Promise.race([result.then((value: unknown) => ({ result: value })), stop]);
  } catch (thrown) {
    if (thrown instanceof WorkflowFailedError) throw failureOf(id, thrown);
    if (over.aborted) return undefined;
    return await askTemporal(context, () => Promise.reject(thrown));
  }
}

export interface RunFilter {
  workflow?: string;
  status?: (typeof RUN_STATUSES)[number];
  sender?: string;
  recipient?: string;
  domain?: string;
  outcome?: string;
  step?: string;
  limit: number;
  /** Cursor of an earlier page. */
  page?: string;
}

/** A status as the list filter names it: `TIMED_OUT` is `TimedOut`, and `CANCELLED` has one l there. */
export function filterStatus(status: string): string {
  if (status.toUpperCase() === 'CANCELLED') return 'Canceled';
  return status.toLowerCase().replace(/(?:^|_)(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** The visibility query of a filter (Temporal's SQL-like list filter). Only our workflows, only our attributes. */
export function visibilityQuery(filter: Omit<RunFilter, 'limit' | 'page'>): string {
  const conditions: [string, string | undefined][] = [
    ['ExecutionStatus', filter.status && filterStatus(filter.status)],
    ['SwitchyardSender', filter.sender],
    ['SwitchyardRecipient', filter.recipient],
    ['SwitchyardDomain', filter.domain],
    ['SwitchyardOutcome', filter.outcome],
    ['SwitchyardStep', filter.step],
  ];
  const workflows = filter.workflow ? [filter.workflow] : WORKFLOWS;
  return [
    `WorkflowType IN (${workflows.map(quote).join(', ')})`,
    ...conditions
      .filter((one): one is [string, string] => one[1] !== undefined)
      .map(([name, value]) => `${name} = ${quote(value)}`),
  ].join(' AND ');
}

/**
 * A string literal of Temporal's list filter, whose parser is MySQL's. A value with a double quote, a backslash or a quote at its end
 * stays inside its quotes but is never found: server 1.29 compares it with the escapes left in (tried on SQLite).
 */
function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** A page of runs, newest first. */
export async function listRuns(
  context: HttpContext,
  filter: RunFilter,
): Promise<{ items: Run[]; next: string | null }> {
  const answer = await askTemporal(context, () =>
    context.temporal.workflowService.listWorkflowExecutions({
      namespace: context.configuration.temporal.namespace,
      pageSize: filter.limit,
      nextPageToken: filter.page ? Buffer.from(filter.page, 'base64url') : undefined,
      query: visibilityQuery(filter),
    }),
  );
  const items = answer.executions.map((one) =>
    show(context, {
      id: one.execution?.workflowId ?? '',
      runId: one.execution?.runId ?? '',
      workflow: one.type?.name ?? '',
      status: STATUS_NAMES[one.status ?? 0] ?? 'UNKNOWN',
      startedAt: dateOf(one.startTime),
      closedAt: dateOf(one.closeTime),
      attributes: Object.fromEntries(
        Object.entries(one.searchAttributes?.indexedFields ?? {}).map(([name, payload]) => [
          name,
          JSON.parse(Buffer.from(payload.data ?? []).toString('utf8') || 'null'),
        ]),
      ),
    }),
  );
  return { items, next: answer.nextPageToken?.length ? Buffer.from(answer.nextPageToken).toString('base64url') : null };
}

/** WorkflowExecutionStatus of Temporal's API, by number. */
const STATUS_NAMES = ['UNSPECIFIED', ...RUN_STATUSES, 'PAUSED'] as const;

function dateOf(time: { seconds?: unknown; nanos?: number | null } | null | undefined): Date | undefined {
  return time ? new Date(Number(time.seconds ?? 0) * 1_000 + Math.round((time.nanos ?? 0) / 1e6)) : undefined;
}

function show(
  context: HttpContext,
  run: {
    id: string;
    runId: string;
    workflow: string;
    status: string;
    startedAt: Date | undefined;
    closedAt: Date | undefined;
    attributes: object;
  },
): Run {
  const attributes = Object.entries(run.attributes).filter(([name]) =>
    SEARCH_ATTRIBUTES.some((known) => known === name),
  );
  const url = runUrl(context.addresses, context.configuration.temporal.namespace, run.id);
  return {
    id: run.id,
    runId: run.runId,
    workflow: run.workflow,
    status: run.status as Run['status'],
    startedAt: run.startedAt?.toISOString() ?? null,
    closedAt: run.closedAt?.toISOString() ?? null,
    attributes: Object.fromEntries(
      attributes.map(([name, value]) => [name, String(Array.isArray(value) ? value[0] : value)]),
    ),
    url,
    runUrl: url,
  };
}

/** A failed run as an error of the house: the code of the step's own error where it has one. */
export function failureOf(id: string, failed: WorkflowFailedError): SwitchyardError {
  let cause: unknown = failed.cause;
  // Activity and child failures wrap what really happened.
  while (cause instanceof Error && !(cause instanceof ApplicationFailure) && cause.cause instanceof Error)
    cause = cause.cause;
  if (cause instanceof CancelledFailure)
    return new PermanentError({
      code: 'run.cancelled',
      message: `The run ${id} was cancelled.`,
      fix: 'Start it again if it is still wanted.',
      details: { run: id },
    });
  const facts = {
    code:
      cause instanceof ApplicationFailure && cause.type && /^[a-z_]+\.[a-z_]+$/.test(cause.type)
        ? cause.type
        : 'run.failed',
    message:
      cause instanceof TerminatedFailure
        ? `The run ${id} was terminated.`
        : cause instanceof TimeoutFailure
          ? `The run ${id} ran out of time.`
          : `The run ${id} failed: ${messageOf(cause ?? failed)}`,
    fix: fixOf(cause) ?? 'Look at the run in the Temporal UI.',
    details: { run: id },
  };
  return new PermanentError(facts);
}

/** Steps carry their `fix` in the first detail of the failure. */
function fixOf(cause: unknown): string | undefined {
  const [details] = cause instanceof ApplicationFailure ? (cause.details ?? []) : [];
  return typeof details === 'object' && details !== null && 'fix' in details && typeof details.fix === 'string'
    ? details.fix
    : undefined;
}
