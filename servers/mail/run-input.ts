/** From an activity record to the input of its run: the session and the sweep start runs from the same facts. */
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { mayBounce } from '../../protocols/mail/policy.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { taskQueues, type RouteMailInput } from '../../workflows/mail/contract.ts';

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
  if (!record.blob || !record.authentication || record.action?.type !== 'forward')
    throw new PermanentError({
      code: 'activity.incomplete',
      message: `Activity record ${record.id} names no message to forward.`,
      fix: 'Only accepted messages with a forwarding rule have a run.',
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
    destinations: record.action.destinations,
    domain: parseAddress(record.recipient).domain,
    authentication: record.authentication,
    kind: record.ruleId === null ? 'srs' : 'forward',
    bounceAllowed: mayBounce(record.authentication, record.sender),
    settlement,
    refusedBefore,
    policy: { sessionWait: mail.sessionWait, retryDelays: mail.retry.delays, giveUpAfter: mail.retry.giveUpAfter },
    taskQueues: { first, retry },
  };
}
