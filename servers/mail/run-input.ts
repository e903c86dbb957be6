/** From an activity record to the input of its run: the session and the sweep start runs from the same facts. */
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { triggerDestination } from '../../activities/triggers/mail-message.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { mayBounce } from '../../protocols/mail/policy.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { TASK_RENEWAL, taskQueues, type RouteMailInput } from '../../workflows/mail/contract.ts';

/** What the record does not say, found while the message was read. */
export interface MessageShape {
  /** RFC 3848 name of the protocol it came by. */
  protocol: string;
  eightBit: boolean;
  utf8: boolean;
}

export function routeMailInput(
  record: MailActivity,
  shape: MessageShape,
  configuration: Configuration,
  settlement: RouteMailInput['settlement'],
  refusedBefore?: RouteMailInput['refusedBefore'],
): RouteMailInput {
  const ways = waysOf(record);
  if (!record.blob || !record.authentication || !ways)
    throw new PermanentError({
      code: 'activity.incomplete',
      message: `Activity record ${record.id} names no message to forward.`,
      fix: 'Only accepted messages with a rule that forwards them or hands them to n8n have a run.',
    });
  const { mail, temporal } = configuration;
  const { first, retry } = taskQueues(temporal.taskQueue);
  return {
    activityId: record.id,
    message: record.blob,
    sender: record.sender,
    recipient: record.recipient,
    sourceAddress: record.sourceAddress,
    helo: record.helo,
    subject: record.subject,
    messageId: record.messageId,
    receivedAt: record.receivedAt,
    tls: record.tls,
    ...shape,
    ...ways,
    domain: parseAddress(record.recipient).domain,
    authentication: record.authentication,
    kind: record.ruleId === null ? 'srs' : 'forward',
    bounceAllowed: mayBounce(record.authentication, record.sender),
    settlement,
    refusedBefore,
    policy: { sessionWait: mail.sessionWait, retryDelays: mail.retry.delays, giveUpAfter: mail.retry.giveUpAfter },
    taskQueues: { first, retry },
    local: settlement !== 'accepted' && mail.sessionWait >= 2 * TASK_RENEWAL ? ['attempt', 'close'] : ['close'],
  };
}

/** When the message of a run may go at the latest, longer than any run lasts: its close sets it sooner. */
export function keptUntil({ mail }: Configuration): string {
  return new Date(Date.now() + mail.retry.giveUpAfter * 2 + mail.keepActivity).toISOString();
}

/** Where it goes, and what people call that; undefined for what goes nowhere. */
function waysOf({ action }: MailActivity): Pick<RouteMailInput, 'destinations' | 'names'> | undefined {
  if (action?.type === 'forward') return { destinations: action.destinations };
  if (action?.type !== 'trigger') return undefined;
  const destination = triggerDestination(action.trigger);
  return { destinations: [destination], names: { [destination]: `n8n workflow ${action.name}` } };
}
