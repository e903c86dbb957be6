/** A mail that a graph was told of and gives to a run of its own: from the short input to the whole one. */
import { z } from 'zod';
import { guardBlob } from '../../activities/mail/verify.ts';
import type { OpenDependencies } from '../../activities/open.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { needsUtf8, parseAddress } from '../../protocols/mail/address.ts';
import { UNLIMITED } from '../../protocols/mail/limits.ts';
import { protocolName } from '../../protocols/mail/received.ts';
import type { MailActivity, RuleAction } from '../../stores/records/port.ts';
import { routeMailId, type RouteMailInput } from '../../workflows/mail/contract.ts';
import { keptUntil, routeMailInput } from '../mail/run-input.ts';

export const GivenMail = z.strictObject({
  activityId: z.string().min(1).max(100).describe('Id of the activity record, as the message to the trigger has it.'),
  destinations: z.array(z.string().min(3).max(320)).min(1).max(20).describe('Where the mail is to go.'),
});

type Part = Pick<OpenDependencies, 'configuration' | 'records' | 'blobs'>;

/**
 * Gives the message to a run, so that the run, and no longer the session, answers for it. Repeating it meets the same
 * run, whose destinations are those of the first time.
 * @returns the id of the run and its input
 * @throws PermanentError `activity.missing`, `activity.closed`, `activity.incomplete`, `address.invalid`, `blob.missing`
 */
export async function giveMail(
  { activityId, destinations }: z.output<typeof GivenMail>,
  dependencies: Part,
): Promise<{ id: string; input: RouteMailInput }> {
  destinations.forEach(parseAddress);
  const record = await dependencies.records.activity.get(activityId);
  if (!record)
    throw new PermanentError({
      code: 'activity.missing',
      message: `There is no mail activity with the id ${JSON.stringify(activityId)}.`,
      fix: 'Pass the id that came with the mail.',
    });
  const given = await give(record, { type: 'forward', destinations }, dependencies);
  const { blob, workflowId } = given;
  if (!blob || !workflowId) throw incomplete(record);
  const facts = await guardBlob(dependencies.blobs, blob.key, {
    ...dependencies.configuration.mail.limits,
    ...UNLIMITED,
  });
  const utf8 = facts.utf8Header || needsUtf8(given.sender) || needsUtf8(given.recipient);
  const protocol = protocolName({ extended: true, tls: given.tls !== null, utf8 });
  const shape = { protocol, eightBit: facts.eightBit, utf8: facts.utf8Header };
  return { id: workflowId, input: routeMailInput(given, shape, dependencies.configuration, 'accepted') };
}

async function give(record: MailActivity, action: RuleAction, dependencies: Part): Promise<MailActivity> {
  if (record.action?.type === 'forward' && record.workflowId) return record;
  if (!record.deliveryKey || !record.blob || !record.authentication || record.action?.type !== 'trigger')
    throw incomplete(record);
  if (!isGivable(record))
    throw new PermanentError({
      code: 'activity.closed',
      message: `The mail for ${record.recipient} has its end already: ${record.outcome}.`,
      fix: 'Give a mail to a run before the workflow ends, and without a verdict that says something else.',
      details: { outcome: record.outcome },
    });
  const own = routeMailId(record.deliveryKey);
  const { configuration, records } = dependencies;
  await records.blobOwners.expireOwner(`activity:${record.id}`, keptUntil(configuration));
  // The run that handed the mail to the graph has the message's own id.
  const id = record.workflowId === own ? `${own}/onward` : own;
  return (await records.activity.giveTo(record.id, id, action)) ?? record;
}

/** Still open, handed to the graph by a run, or told to come again because the graph was slow. */
function isGivable({ outcome, errorCode, workflowId }: MailActivity): boolean {
  if (outcome === 'accepted') return true;
  if (outcome === 'delivered') return workflowId !== null;
  return outcome === 'failed' && errorCode === 'trigger.no_verdict';
}

const incomplete = (record: MailActivity): PermanentError =>
  new PermanentError({
    code: 'activity.incomplete',
    message: `Activity record ${record.id} names no message that a workflow was told of.`,
    fix: 'Pass the id that came with the mail to a trigger.',
  });
