/** Tells one who registered one thing. Whoever is not there yet is told again by the workflow around it. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import type { Trigger } from '../../stores/records/port.ts';
import type { CallbackAnswer } from './callbacks.ts';

/** n8n's words for an execution that has ended, well or badly; "is running already" means: come again. */
const FINISHED = /has finished (already|with error)/i;

export const notify = defineStep({
  name: 'trigger.notify',
  summary: 'Tell a trigger that a run ended, or a waiting execution that it may go on.',
  input: z.object({
    trigger: z.string().describe('Id of the registration.'),
    message: z
      .object({
        id: z.string().describe('The same for every repeat.'),
        body: z.looseObject({ type: z.string() }),
      })
      .describe('What is posted.'),
  }),
  output: z.object({ state: z.enum(['taken', 'gone']) }),
  needs: ['records', 'callbacks'],
  takes: 'network',
  repeat: 'safe',
  scope: 'triggers:write',
  internal: true,
  errors: ['trigger.not_taken', 'trigger.unreachable', 'trigger.key_missing', 'records.unavailable'],
  async run({ trigger: id, message }, { records, callbacks }, step) {
    const trigger = await records.triggers.get(id);
    if (!trigger) return { state: 'gone' as const };
    const answer = await callbacks.post(trigger, message, step.signal).catch((thrown: unknown) => {
      throw retried(thrown);
    });
    if (!isTaken(answer, trigger)) throw notTaken(answer, trigger);
    // It was for once; another wait may have been registered under the same id meanwhile.
    if (trigger.kind === 'resume')
      await records.triggers.remove(id, 'done', (now) => now.runs.join('\0') === trigger.runs.join('\0'));
    return { state: 'taken' as const };
  },
});

function isTaken({ status, body }: CallbackAnswer, { kind }: Trigger): boolean {
  if (status >= 200 && status < 300) return true;
  return kind === 'resume' && status === 409 && FINISHED.test(body);
}

const notTaken = ({ status }: CallbackAnswer, { name }: Trigger): TemporaryError =>
  new TemporaryError({
    code: 'trigger.not_taken',
    message: `n8n answered HTTP ${status} for ${JSON.stringify(name)}.`,
    fix: 'See that the workflow is active, and its executions in n8n; it is tried again.',
    details: { status },
  });

/** What the configuration forbids today it may allow after the next start. */
function retried(thrown: unknown): unknown {
  if (!(thrown instanceof PermanentError)) return thrown;
  const { code, message, fix, details } = thrown;
  return new TemporaryError({ code, message, fix, details, cause: thrown });
}
