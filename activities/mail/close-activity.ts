/** The end of an activity record. The run calls it; the sweep does for runs that were terminated. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { SmtpReply } from '../schemas.ts';

/** A delivered message is kept a day for a look into it; an undelivered one as long as its record, so that it can be sent again. */
const KEEP_DELIVERED = 86_400_000;

export const closeActivity = defineStep({
  name: 'mail.closeActivity',
  summary: 'Set the final outcome of a message.',
  input: z.object({
    activityId: z.string().describe('Id of the activity record.'),
    outcome: z.enum(['delivered', 'refused', 'bounced', 'failed']).describe('What became of the message.'),
    errorCode: z.string().nullable().describe('Code of the error that decided a bad outcome.'),
    errorText: z.string().max(2_000).nullable().describe('The same in words.'),
    reply: SmtpReply.nullable().describe('The reply that ended the attempts, if there was one.'),
  }),
  output: z.object({ closed: z.boolean() }),
  needs: ['configuration', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  internal: true,
  errors: ['records.unavailable'],
  async run({ activityId, ...end }, { configuration, records }) {
    const record = await records.activity.close(activityId, end);
    if (!record) return { closed: false };
    const keep = record.outcome === 'delivered' ? KEEP_DELIVERED : configuration.mail.keepActivity;
    await records.blobOwners.expireOwner(`activity:${activityId}`, new Date(Date.now() + keep).toISOString());
    return { closed: true };
  },
});
