/**
 * A step: one definition from which come the Temporal activity, the HTTP operation, the command line and the
 * contract that the n8n node is tested against. This file knows none of the four.
 */
import type { z } from 'zod';
import type { Logger } from 'pino';
import type { Dependencies } from './dependencies.ts';
import { PermanentError, TemporaryError } from '../protocols/errors.ts';

/** Time-out and retry class; one activity proxy and one HTTP time-out each. */
export type StepClass = 'cpu' | 'network' | 'delivery' | 'long';

/** What a caller hands to a running step. */
export interface StepContext {
  /** Aborts when the caller gave up, cancelled, or the process shuts down. */
  signal: AbortSignal;
  /** Progress: a Temporal heartbeat in a run, a log line elsewhere. Small plain JSON. */
  report(progress: unknown): void;
  log: Logger;
  /** The same for every repeat of the same act: ids of the run and of the activity in a run, the Idempotency-Key header over HTTP. */
  idempotencyKey: string;
  /** Id of the run that this is a part of, for links; none at the other faces. */
  run?: string;
  /**
   * Set where others are held up while the step runs. Once it aborts, a step that can stop without harm throws
   * `elsewhere()` and is run again where nobody waits for it; one that cannot goes on.
   */
  moveOn?: AbortSignal;
}

/** The step has no place here, or no more time; nothing is wrong with it. */
export const elsewhere = (): TemporaryError =>
  new TemporaryError({
    code: ELSEWHERE,
    message: 'The step takes too long to hold up others.',
    fix: 'Nothing needs doing: it is run again as an activity of its own.',
  });
export const ELSEWHERE = 'step.elsewhere';

export interface StepDefinition<Input extends z.ZodType, Output extends z.ZodType, Needs extends keyof Dependencies> {
  /** `domain.verb`, the name on every face. */
  name: string;
  /** One sentence for people: OpenAPI summary, command line help. */
  summary: string;
  input: Input;
  output: Output;
  needs: readonly Needs[];
  takes: StepClass;
  /** `safe`: may be repeated freely. `needs-key`: repeats are recognised by the idempotency key. */
  repeat: 'safe' | 'needs-key';
  /** What a token must be allowed. */
  scope: string;
  /** A part of a workflow of the house, which makes sense nowhere else: its only face is the Temporal activity. */
  internal?: true;
  /** Codes this step may throw on purpose. */
  errors: readonly string[];
  run(input: z.output<Input>, dependencies: Pick<Dependencies, Needs>, step: StepContext): Promise<z.input<Output>>;
}

/** A step whose types were forgotten, for registries and faces. */
export interface Step<Input extends z.ZodType = z.ZodType, Output extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly summary: string;
  readonly input: Input;
  readonly output: Output;
  readonly needs: readonly (keyof Dependencies)[];
  readonly takes: StepClass;
  readonly repeat: 'safe' | 'needs-key';
  readonly scope: string;
  readonly internal?: true;
  readonly errors: readonly string[];
  /** The typed function, for steps that call steps. */
  run(input: z.output<Input>, dependencies: Dependencies, step: StepContext): Promise<z.output<Output>>;
  /**
   * The door: checks the input, runs, checks the output.
   * @throws PermanentError `input.invalid`, naming the field.
   */
  call(input: unknown, dependencies: Dependencies, step: StepContext): Promise<z.output<Output>>;
}

/** The step as a workflow sees it: JSON in, JSON out. */
export type StepActivity<S> =
  S extends Step<infer Input, infer Output> ? (input: z.input<Input>) => Promise<z.output<Output>> : never;

/** Defines a step. The definition is the whole contract; nothing about a step is said elsewhere. */
export function defineStep<Input extends z.ZodType, Output extends z.ZodType, Needs extends keyof Dependencies>(
  definition: StepDefinition<Input, Output, Needs>,
): Step<Input, Output> {
  const run = async (
    input: z.output<Input>,
    dependencies: Dependencies,
    step: StepContext,
  ): Promise<z.output<Output>> => definition.output.parse(await definition.run(input, dependencies, step));
  return {
    ...definition,
    run,
    call: async (input, dependencies, step) =>
      run(checkInput(definition.name, definition.input, input), dependencies, step),
  };
}

function checkInput<Input extends z.ZodType>(name: string, schema: Input, input: unknown): z.output<Input> {
  const checked = schema.safeParse(input);
  if (checked.success) return checked.data;
  const issue = checked.error.issues[0];
  const field = issue?.path.join('.') || '(the whole input)';
  throw new PermanentError({
    code: 'input.invalid',
    message: `${name}: ${field}: ${issue?.message ?? 'not valid'}`,
    fix: `See the input schema of ${name} in /openapi.json or with: switchyard step ${name} --help`,
    details: { field },
  });
}
