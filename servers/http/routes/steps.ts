/** The HTTP face of the steps: each runs at once, in this process. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Step, StepContext } from '../../../activities/step.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import type { HttpContext } from '../context.ts';
import { STEP_TIMEOUT } from '../limits.ts';
import { defineRoute, type Route, type RouteRequest } from '../route.ts';

/** JSON Schema (2020-12) of a step's input or output, as a caller sees it. */
export function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}

const StepDescription = z.object({
  name: z.string(),
  summary: z.string(),
  takes: z.enum(['cpu', 'network', 'delivery', 'long']),
  repeat: z.enum(['safe', 'needs-key']),
  scope: z.string(),
  errors: z.array(z.string()),
  input: z.record(z.string(), z.unknown()),
  output: z.record(z.string(), z.unknown()),
});

const list = defineRoute({
  method: 'get',
  path: '/v1/steps',
  group: 'Steps',
  summary: 'List the steps with their schemas.',
  scope: null,
  answers: { 200: { description: 'Every step.', body: z.object({ items: z.array(StepDescription) }) } },
  async handle({ http, context }) {
    const items = context.steps.map(({ name, summary, takes, repeat, scope, errors, input, output }) => ({
      name,
      summary,
      takes,
      repeat,
      scope,
      errors,
      input: jsonSchema(input, 'input'),
      output: jsonSchema(output, 'output'),
    }));
    return http.json({ items });
  },
});

/** One route a step, so that each has its own schemas and scope in OpenAPI. */
export function stepRoutes(steps: readonly Step[]): Route[] {
  return [list, ...steps.map(stepRoute)];
}

function stepRoute(step: Step): Route {
  return defineRoute({
    method: 'post',
    path: `/v1/steps/${step.name}`,
    group: 'Steps',
    summary: step.summary,
    description:
      step.repeat === 'needs-key'
        ? 'Repeats are recognised by the header Idempotency-Key, which is therefore required.'
        : 'May be repeated freely.',
    scope: step.scope,
    headers: {
      'Idempotency-Key':
        step.repeat === 'needs-key'
          ? 'Required: the same for every repeat of the same act.'
          : 'The same for every repeat of the same act.',
    },
    // The step checks its own input, so that every face says the same of it.
    body: z.unknown().meta({ step: step.name }),
    answers: { 200: { description: 'What the step found or did.', body: step.output } },
    errors: ['input.invalid', ...(step.repeat === 'needs-key' ? ['step.key_required'] : []), ...step.errors],
    async handle(request) {
      return request.http.json(await callStep(step, request), 200);
    },
  });
}

async function callStep(
  step: Step,
  { context, http, token, body }: RouteRequest<unknown, unknown>,
): Promise<Record<string, unknown>> {
  const key = http.req.header('idempotency-key');
  if (step.repeat === 'needs-key' && !key) {
    throw new PermanentError({
      code: 'step.key_required',
      message: `${step.name} acts on the world and needs the header Idempotency-Key.`,
      fix: 'Send Idempotency-Key with a value that is the same for every repeat of the same act.',
    });
  }
  const milliseconds = STEP_TIMEOUT[step.takes];
  const timeout = AbortSignal.timeout(milliseconds);
  const signal = AbortSignal.any([http.req.raw.signal, timeout, context.ended]);
  const log = context.log.child({ requestId: http.get('requestId'), step: step.name });
  const stepContext: StepContext = {
    signal,
    report: (progress) => log.debug({ progress }, 'progress'),
    log,
    // A key of one token never meets another's.
    idempotencyKey: key ? `http/${token.id}/${key}` : `http/${randomUUID()}`,
  };
  return (await Promise.race([
    step.call(body, context.dependencies, stepContext),
    rejectOn(signal, timeout, step, context),
  ])) as Record<string, unknown>;
}

/** Answers in time even when the step is slow to notice its signal. */
function rejectOn(signal: AbortSignal, timeout: AbortSignal, step: Step, context: HttpContext): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      const cause = timeout.aborted
        ? `${step.name} took longer than ${STEP_TIMEOUT[step.takes] / 1_000} s.`
        : context.ended.aborted
          ? 'The server is stopping.'
          : 'The caller went away.';
      reject(
        new TemporaryError({
          code: 'step.timeout',
          message: cause,
          fix: 'Run it durably: POST /v1/runs with the workflow runStep.',
        }),
      );
    });
  });
}
