/** Long jobs: ask for one, see what became of each, read its log, cancel it. */
import { z } from 'zod';
import type * as port from '../../../stores/records/jobs-port.ts';
import { taskQueues } from '../../../workflows/mail/contract.ts';
import { findJobKind, jobKinds } from '../../jobs/kinds.ts';
import { cancelJob, checkParameters, jobMissing, requestJob, type JobDesk } from '../../jobs/request.ts';
import { runUrl } from '../../temporal.ts';
import { demand } from '../authentication.ts';
import type { HttpContext } from '../context.ts';
import { defineRoute, type Route } from '../route.ts';
import { TimeOrAge } from '../schemas.ts';

export const JOB_STATES = [
  'waiting',
  'running',
  'cancelling',
  'done',
  'failed',
  'cancelled',
  'superseded',
] as const satisfies readonly port.JobState[];

const Job = z.object({
  id: z.string(),
  key: z.string(),
  kind: z.string(),
  workflow: z.string(),
  parameters: z.record(z.string(), z.unknown()),
  requestedBy: z.string(),
  requestedAt: z.string(),
  state: z.enum(JOB_STATES),
  progress: z.object({ done: z.number(), total: z.number().nullable(), words: z.string() }).nullable(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  errorCode: z.string().nullable(),
  errorText: z.string().nullable(),
  workflowId: z.string().nullable(),
}) satisfies z.ZodType<port.Job>;
const Shown = Job.extend({ runUrl: z.string().nullable().describe('Page of its run in the Temporal UI.') });
const Line = z.object({ line: z.number().int(), at: z.string(), words: z.string() }) satisfies z.ZodType<port.JobLine>;

/** `failed` or `waiting,running`. */
export const JobStates = z
  .string()
  .transform((text) => text.split(',').filter(Boolean))
  .pipe(z.array(z.enum(JOB_STATES)));

const PATH = { id: 'Id of the job.' };
const LOG_PAGE = 500;

const show = ({ addresses, configuration }: HttpContext, job: port.Job): z.output<typeof Shown> => ({
  ...job,
  runUrl: job.workflowId && runUrl(addresses, configuration.temporal.namespace, job.workflowId),
});

const deskOf = ({ dependencies: { records }, temporal, configuration }: HttpContext): JobDesk => ({
  records,
  client: temporal,
  taskQueue: taskQueues(configuration.temporal.taskQueue).main,
});

/** @throws PermanentError `job.missing` */
async function find({ dependencies }: HttpContext, id = ''): Promise<port.Job> {
  const job = await dependencies.records.jobs.get(id);
  if (!job) throw jobMissing(id);
  return job;
}

const kindList = () => jobKinds.map(({ name, summary }) => `${name} (${summary})`).join('; ') || 'none yet';

export const jobRoutes: readonly Route[] = [
  defineRoute({
    method: 'post',
    path: '/v1/jobs',
    group: 'Jobs',
    summary: 'Ask for a job; the answer has its id.',
    description: `One job of a key runs at a time: a newer request stops the running one, waits for its clean-up and starts then; one that still waits is superseded. The request is kept before the answer is given, also while Temporal is away. Needs the scope of the kind as well. Kinds: ${kindList()}.`,
    headers: { 'Idempotency-Key': 'The same for every repeat of the same request, which meets the same job.' },
    scope: 'jobs:write',
    body: z.strictObject({
      kind: z.string().max(100),
      parameters: z.record(z.string(), z.unknown()).default({}),
      ifRunning: z
        .enum(['replace', 'join'])
        .default('replace')
        .describe('join: meet the job that is under way where its parameters are the same.'),
    }),
    answers: { 202: { description: 'The job: it waits, or is the one that was met.', body: Shown } },
    errors: [
      ...['job.kind_unknown', 'input.invalid', 'job.request_reused'],
      ...new Set(jobKinds.flatMap(({ errors }) => errors ?? [])),
    ],
    async handle({ http, context, token, body }) {
      const kind = findJobKind(body.kind);
      demand(token, kind.scope);
      // Requests of two tokens are never the same.
      const given = http.req.header('idempotency-key');
      const requestId = given === undefined ? undefined : `${token.id}/${given.slice(0, 200)}`;
      const isNew = requestId === undefined || !(await context.dependencies.records.jobs.asked(requestId));
      if (isNew) await kind.prepare?.(checkParameters(kind, body.parameters), context.dependencies);
      const asked = { requestId, requestedBy: `token:${token.name}`, ifRunning: body.ifRunning };
      const { job } = await requestJob(deskOf(context), kind, body.parameters, asked);
      return http.json(show(context, job), 202);
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/jobs',
    group: 'Jobs',
    summary: 'What was asked for and what became of it: newest first.',
    scope: 'jobs:read',
    query: z.object({
      key: z.string().max(300).optional(),
      kind: z.string().max(100).optional(),
      state: JobStates.optional().describe(`One state, or several with commas: ${JOB_STATES.join(', ')}.`),
      since: TimeOrAge.optional().describe('A time, or an age such as 2h.'),
      before: z.string().max(64).optional().describe('Jobs older than this id: the `next` of the page before.'),
      limit: z.coerce.number().int().min(1).max(500).default(50),
    }),
    answers: {
      200: {
        description: 'A page; `next` is the cursor of the following one.',
        body: z.object({ items: z.array(Shown), next: z.string().nullable() }),
      },
    },
    async handle({ http, context, query: { state, ...filter } }) {
      const items = await context.dependencies.records.jobs.list({ ...filter, states: state });
      const next = items.length === filter.limit ? (items.at(-1)?.id ?? null) : null;
      return http.json({ items: items.map((job) => show(context, job)), next });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/jobs/{id}',
    group: 'Jobs',
    summary: 'One job: its state, how far it is, and how it ended.',
    parameters: PATH,
    scope: 'jobs:read',
    answers: { 200: { description: 'The job.', body: Shown } },
    errors: ['job.missing'],
    async handle({ http, context, path }) {
      return http.json(show(context, await find(context, path.id)));
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/jobs/{id}/log',
    group: 'Jobs',
    summary: 'The log of a job: the newest thousand lines are kept.',
    parameters: PATH,
    scope: 'jobs:read',
    query: z.object({
      after: z.coerce.number().int().min(0).default(0).describe('Lines after this one: `next` of the page before.'),
      limit: z.coerce.number().int().min(1).max(LOG_PAGE).default(LOG_PAGE),
    }),
    answers: {
      200: {
        description: 'Lines in their order. More may come while the job is open: ask with `after` = `next`.',
        body: z.object({ items: z.array(Line), next: z.number().int(), open: z.boolean() }),
      },
    },
    errors: ['job.missing'],
    async handle({ http, context, path, query: { after, limit } }) {
      // The job first: what it is at its end is in the lines that are read after it.
      const { id, endedAt } = await find(context, path.id);
      const items = await context.dependencies.records.jobs.lines(id, after, limit);
      return http.json({ items, next: items.at(-1)?.line ?? after, open: endedAt === null });
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/jobs/{id}/cancel',
    group: 'Jobs',
    summary: 'Ask a job to stop; it cleans up first. One that is over stays as it is.',
    parameters: PATH,
    scope: 'jobs:write',
    answers: { 202: { description: 'The job as it is now.', body: Shown } },
    errors: ['job.missing'],
    async handle({ http, context, token, path }) {
      const { job } = await cancelJob(deskOf(context), path.id ?? '', `token:${token.name}`);
      return http.json(show(context, job), 202);
    },
  }),
];
