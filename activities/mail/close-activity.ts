/** The end of an activity record. The run calls it; the sweep does for runs that were terminated. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { SmtpReply } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import type { MailActivity } from '../../stores/records/port.ts';

/** A delivered message is kept a day for a look into it; an undelivered one as long as its record, so that it can be sent again. */
const KEEP_DONE = 86_400_000;
const DONE = new Set(['delivered', 'dropped']);

export const closeActivity = defineStep({
  name: 'mail.closeActivity',
  summary: 'Set the final outcome of a message.',
  input: z.object({
    activityId: z.string().describe('Id of the activity record.'),
    outcome: z.enum(['delivered', 'refused', 'bounced', 'failed']).describe('What became of the message.'),
    errorCode: z.string().nullable().describe('Code of the error that decided a bad outcome.'),
    errorText: z.string().max(2_000).nullable().describe('The same in words.'),
    reply: SmtpReply.nullable().describe('The reply that ended the attempts, if there was one.'),
    workflowId: z
      .string()
      .optional()
      .describe('The run that closes it: a message that was given to another since stays open.'),
  }),
  output: z.object({ closed: z.boolean() }),
  needs: ['configuration', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ activityId, workflowId, ...end }, dependencies) {
    const record = await closeRecord(activityId, end, dependencies, workflowId);
    return { closed: record !== undefined && record.outcome !== 'accepted' };
  },
});

export type End = Pick<MailActivity, 'outcome' | 'errorCode' | 'errorText' | 'reply'>;

/**
 * Sets the outcome, and how long the message is kept from now on.
 * @param workflowId who closes it, null for a session without a run: one that belongs to another run stays open
 */
export async function closeRecord(
  id: string,
  end: End,
  { configuration, records }: Pick<Dependencies, 'configuration' | 'records'>,
  workflowId?: string | null,
): Promise<MailActivity | undefined> {
  const record = await records.activity.close(id, end, workflowId);
  if (!record || record.outcome === 'accepted') return record;
  const keep = DONE.has(record.outcome) ? KEEP_DONE : configuration.mail.keepActivity;
  await records.blobOwners.expireOwner(`activity:${id}`, new Date(Date.now() + keep).toISOString());
  return record;
}
