/** Runs: start, list, describe, result, signal, update, query, cancel. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import type { Step } from '../../../activities/step.ts';
import type { TokenRecord } from '../../../stores/records/port.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import { RUN_STEP, type RunStepInput } from '../../../workflows/contract.ts';
import { ROUTE_MAIL, taskQueues } from '../../../workflows/mail/contract.ts';
import { demand } from '../authentication.ts';
import type { HttpContext } from '../context.ts';
import { giveMail, GivenMail } from '../given-mail.ts';
import { RESULT_WAIT } from '../limits.ts';
import { inline, link } from '../../../protocols/markdown.ts';
import { labelsOf } from '../../mail/labels.ts';
import { defineRoute, type Route } from '../route.ts';
import { GivenReport, givenReportRun, ingestionLabels } from '../../dmarc/ingestion.ts';
import { INGEST_DMARC_REPORT } from '../../../workflows/dmarc/contract.ts';
import { askTemporal, awaitResult, findRun, listRuns, noAnswer, WORKFLOWS } from '../runs.ts';
import { HttpUrl, Run, RUN_STATUSES, Wait } from '../schemas.ts';

const ID = { id: 'Id of the run, with each slash written %2F.' };
const RUN_ERRORS = ['run.missing', 'temporal.unavailable'] as const;
const Arguments = z.object({ args: z.array(z.unknown()).max(10).default([]) }).prefault({});
/** Temporal's limit of a workflow id. */
const MAX_ID = 1_000;
/** A query or an update waits for a worker; this long is usual, longer means that none runs. */
const HANDLER_DEADLINE = 10_000;

const StartRun = z.strictObject({
  workflow: z.enum(WORKFLOWS),
  id: z.string().min(1).max(MAX_ID).optional().describe('The same id meets the same run; without it one is made.'),
  input: z
    .unknown()
    .describe(
      'For runStep: {step, input}. For routeMail of a mail that came to a trigger: {activityId, destinations}. For ingestDmarcReport of a mail or a report from elsewhere: {message, kind, domain}.',
    ),
  origin: z
    .strictObject({ name: z.string().min(1).max(200), url: HttpUrl })
    .optional()
    .describe('The n8n workflow that starts it and the page of its execution: the run shows a link.'),
});

const start = defineRoute({
  method: 'post',
  path: '/v1/runs',
  group: 'Runs',
  summary: 'Start a run, or meet the one that has the same id.',
  description:
    "A run with the same id that still runs, or that ended well, is answered as it is: a retry never acts twice. One that failed, was cancelled or terminated is run again. runStep runs any one step durably and also needs the scope of that step; routeMail needs mail:write, ingestDmarcReport dmarc:write. A mail that came to a trigger is given to a run of its own by its activityId, once: the id of that run is the message's.",
  scope: 'runs:write',
  body: StartRun,
  answers: { 200: { description: 'The run.', body: Run } },
  errors: [
    'workflow.unknown',
    'step.unknown',
    'input.invalid',
    'dmarc.domain_missing',
    'activity.missing',
    'activity.closed',
    'activity.incomplete',
    'blob.missing',
    'temporal.unavailable',
  ],
  async handle({ http, context, token, body }) {
    const { origin } = body;
    const prepared =
      body.workflow === RUN_STEP
        ? stepRun(context.steps, body.input, token)
        : body.workflow === ROUTE_MAIL
          ? await mailRun(body.input, token, context.dependencies)
          : await reportRun(body.input, token, context.dependencies);
    const { input, staticDetails = '', ...labels } = prepared;
    const from = origin ? `Started from ${link(origin.name, origin.url)}.` : '';
    const id = prepared.id ?? body.id ?? `${body.workflow}/${randomUUID()}`;
    try {
      await askTemporal(context, () =>
        context.temporal.workflow.start(body.workflow, {
          taskQueue: taskQueues(context.configuration.temporal.taskQueue).main,
          args: [origin ? { ...input, origin } : input],
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY',
          ...(origin ? { memo: { origin } } : {}),
          ...labels,
          staticDetails: [staticDetails, from].filter(Boolean).join(' '),
          workflowId: id,
        }),
      );
    } catch (thrown) {
      if (!(thrown instanceof WorkflowExecutionAlreadyStartedError)) throw thrown;
    }
    return http.json(await findRun(context, id));
  },
});

/** What a run is started with: its input, and what it shows of itself. */
interface Prepared {
  input: object;
  /** Where the input decides it. */
  id?: string;
  staticSummary?: string;
  /** Markdown. */
  staticDetails?: string;
  typedSearchAttributes?: SearchAttributePair[];
}

const stepAttribute = defineSearchAttributeKey('SwitchyardStep', 'KEYWORD');

function stepRun(steps: readonly Step[], input: unknown, token: TokenRecord): Prepared & { input: RunStepInput } {
  const checked = z.object({ step: z.string(), input: z.unknown() }).safeParse(input);
  if (!checked.success)
    throw new PermanentError({
      code: 'input.invalid',
      message: 'input: runStep takes {step, input}.',
      fix: 'Write the name of the step in input.step; GET /v1/steps lists them.',
      details: { field: 'input.step' },
    });
  const step = steps.find((one) => one.name === checked.data.step);
  if (!step)
    throw new PermanentError({
      code: 'step.unknown',
      message: `There is no step ${JSON.stringify(checked.data.step)}.`,
      fix: `The steps are: ${steps.map((one) => one.name).join(', ')}.`,
      details: { field: 'input.step' },
    });
  demand(token, step.scope);
  const valid = step.input.safeParse(checked.data.input);
  if (!valid.success) {
    const field = ['input', 'input', ...(valid.error.issues[0]?.path ?? [])].join('.');
    throw new PermanentError({
      code: 'input.invalid',
      message: `${field}: ${valid.error.issues[0]?.message}`,
      fix: `See the input schema of ${step.name} in /docs.`,
      details: { field },
    });
  }
  return {
    input: { step: step.name, input: checked.data.input, takes: step.takes },
    staticSummary: step.name,
    staticDetails: inline(step.summary),
    typedSearchAttributes: [{ key: stepAttribute, value: step.name }],
  };
}

async function mailRun(
  input: unknown,
  token: TokenRecord,
  dependencies: HttpContext['dependencies'],
): Promise<Prepared> {
  demand(token, 'mail:write');
  const short = GivenMail.safeParse(input);
  if (short.success) {
    const given = await giveMail(short.data, dependencies);
    return { ...given, ...labelsOf(given.input) };
  }
  if (
    typeof input === 'object' &&
    input !== null &&
    'activityId' in input &&
    'message' in input &&
    'destinations' in input
  )
    return { input };
  throw new PermanentError({
    code: 'input.invalid',
    message: `input: this is not an input of ${ROUTE_MAIL}.`,
    fix: 'Mail is best sent to the SMTP port, which verifies it first.',
    details: { field: 'input' },
  });
}

async function reportRun(
  input: unknown,
  token: TokenRecord,
  dependencies: HttpContext['dependencies'],
): Promise<Prepared> {
  demand(token, 'dmarc:write');
  const given = GivenReport.safeParse(input);
  if (!given.success) {
    const field = ['input', ...(given.error.issues[0]?.path ?? [])].join('.');
    throw new PermanentError({
      code: 'input.invalid',
      message: `${field}: ${given.error.issues[0]?.message}`,
      fix: `${INGEST_DMARC_REPORT} takes {message, kind, domain}: upload the mail or the report with POST /v1/blobs first.`,
      details: { field },
    });
  }
  const run = await givenReportRun(given.data, dependencies);
  return { ...run, ...ingestionLabels(run.input) };
}

const list = defineRoute({
  method: 'get',
  path: '/v1/runs',
  group: 'Runs',
  summary: 'List runs, newest first.',
  scope: 'runs:read',
  query: z.object({
    workflow: z.enum(WORKFLOWS).optional(),
    status: z.enum(RUN_STATUSES).optional(),
    sender: z.string().max(320).optional(),
    recipient: z.string().max(320).optional(),
    domain: z.string().max(255).optional(),
    outcome: z.string().max(50).optional(),
    step: z.string().max(100).optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    page: z.string().max(4_000).optional().describe('The `next` of the page before.'),
  }),
  answers: {
    200: { description: 'A page of runs.', body: z.object({ items: z.array(Run), next: z.string().nullable() }) },
  },
  errors: ['temporal.unavailable'],
  async handle({ http, context, query }) {
    return http.json(await listRuns(context, query));
  },
});

const describe = defineRoute({
  method: 'get',
  path: '/v1/runs/{id}',
  group: 'Runs',
  summary: 'Where a run stands.',
  parameters: ID,
  scope: 'runs:read',
  answers: { 200: { description: 'The run.', body: Run } },
  errors: RUN_ERRORS,
  async handle({ http, context, path }) {
    return http.json(await findRun(context, path.id ?? ''));
  },
});

const result = defineRoute({
  method: 'get',
  path: '/v1/runs/{id}/result',
  group: 'Runs',
  summary: 'The result of a run; waits for it if asked to.',
  description: `With wait=30s the answer comes when the run ends or after that time (at most ${RESULT_WAIT / 1_000} s), whichever is first.`,
  parameters: ID,
  scope: 'runs:read',
  query: z.object({ wait: Wait.default(0).describe('How long to wait, such as 30s.') }),
  answers: {
    200: {
      description: 'It ended well.',
      body: z.object({ id: z.string(), status: z.literal('COMPLETED'), result: z.unknown() }),
    },
    202: { description: 'It still runs: ask again.', body: Run },
  },
  errors: [...RUN_ERRORS, 'run.failed', 'run.cancelled'],
  async handle({ http, context, path, query }) {
    const run = await findRun(context, path.id ?? '');
    if (run.status === 'RUNNING' && query.wait === 0) return http.json(run, 202);
    const ended = await awaitResult(context, run.id, Math.max(query.wait, 1_000), http.req.raw.signal);
    return ended
      ? http.json({ id: run.id, status: 'COMPLETED', result: ended.result ?? null })
      : http.json(await findRun(context, run.id), 202);
  },
});

const signal = defineRoute({
  method: 'post',
  path: '/v1/runs/{id}/signals/{name}',
  group: 'Runs',
  summary: 'Send a signal to a run.',
  parameters: { ...ID, name: 'Name of the signal.' },
  scope: 'runs:write',
  body: Arguments,
  answers: { 204: { description: 'The server has it; the run will see it.' } },
  errors: RUN_ERRORS,
  async handle({ http, context, path, body }) {
    const run = await findRun(context, path.id ?? '');
    await askTemporal(context, () => context.temporal.workflow.getHandle(run.id).signal(path.name ?? '', ...body.args));
    return http.body(null, 204);
  },
});

const update = defineRoute({
  method: 'post',
  path: '/v1/runs/{id}/updates/{name}',
  group: 'Runs',
  summary: 'Send an update to a run and wait for its answer.',
  parameters: { ...ID, name: 'Name of the update.' },
  headers: { 'Idempotency-Key': 'The same for every repeat of the same update.' },
  scope: 'runs:write',
  body: Arguments,
  answers: { 200: { description: 'What the run answered.', body: z.object({ result: z.unknown() }) } },
  errors: [...RUN_ERRORS, 'run.update_refused', 'run.no_answer'],
  async handle({ http, context, path, body }) {
    const run = await findRun(context, path.id ?? '');
    const updateId = http.req.header('idempotency-key');
    const answer = await askHandler(() =>
      askTemporal(
        context,
        () =>
          context.temporal.workflow
            .getHandle(run.id)
            .executeUpdate(path.name ?? '', { args: body.args as [unknown], ...(updateId ? { updateId } : {}) }),
        HANDLER_DEADLINE,
      ),
    );
    return http.json({ result: answer ?? null });
  },
});

const query = defineRoute({
  method: 'post',
  path: '/v1/runs/{id}/queries/{name}',
  group: 'Runs',
  summary: 'Ask a run.',
  parameters: { ...ID, name: 'Name of the query, such as progress for routeMail.' },
  scope: 'runs:read',
  body: Arguments,
  answers: { 200: { description: 'What the run answered.', body: z.object({ result: z.unknown() }) } },
  errors: [...RUN_ERRORS, 'run.query_refused', 'run.no_answer'],
  async handle({ http, context, path, body }) {
    const run = await findRun(context, path.id ?? '');
    const answer = await askHandler(() =>
      askTemporal(
        context,
        () => context.temporal.workflow.getHandle(run.id).query(path.name ?? '', ...body.args),
        HANDLER_DEADLINE,
      ),
    );
    return http.json({ result: answer ?? null });
  },
});

/** The server answered a moment ago, so what is missing now is a worker. */
async function askHandler<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
  try {
    return await ask();
  } catch (thrown) {
    throw thrown instanceof TemporaryError && thrown.code === 'temporal.unavailable' ? noAnswer(thrown) : thrown;
  }
}

const cancel = defineRoute({
  method: 'post',
  path: '/v1/runs/{id}/cancel',
  group: 'Runs',
  summary: 'Ask a run to stop; it cleans up first.',
  parameters: ID,
  scope: 'runs:write',
  answers: { 202: { description: 'It was asked.', body: Run } },
  errors: RUN_ERRORS,
  async handle({ http, context, path }) {
    const run = await findRun(context, path.id ?? '');
    await askTemporal(context, () => context.temporal.workflow.getHandle(run.id).cancel());
    return http.json(await findRun(context, run.id), 202);
  },
});

export const runRoutes: readonly Route[] = [start, list, describe, result, signal, update, query, cancel];
