/** A mail as a trigger is told of it: envelope, verdicts, and the reference of the message, which never travels itself. */
import type { MailActivity } from '../../stores/records/port.ts';
import type { CallbackMessage } from './callbacks.ts';

/** What the record does not say. */
export interface MailCircumstances {
  trigger: string;
  /** RFC 3848. */
  protocol: string;
  eightBit: boolean;
  utf8: boolean;
  /** It may have been told before, and what came of it is not known. */
  resent: boolean;
  /** ISO time until which the session waits; null where nobody does. */
  answerBefore: string | null;
  /** Public URL of the API. */
  api: string;
}

/** The destination under which a trigger stands among the deliveries of a message. */
export const triggerDestination = (trigger: string): string => `${PREFIX}${trigger}`;
const PREFIX = 'trigger:';

/** The id of the trigger behind a destination, undefined for an address. No address has a colon before its "@" unquoted. */
export function triggerOf(destination: string): string | undefined {
  return destination.startsWith(PREFIX) ? destination.slice(PREFIX.length) : undefined;
}

export function mailMessage(record: MailActivity, circumstances: MailCircumstances): CallbackMessage['body'] {
  return {
    type: 'mail',
    id: record.id,
    delivery: record.deliveryKey,
    receivedAt: record.receivedAt,
    sender: record.sender,
    recipient: record.recipient,
    sourceAddress: record.sourceAddress,
    helo: record.helo,
    tls: record.tls,
    message: record.blob,
    subject: record.subject,
    headerFrom: record.headerFrom,
    headerMessageId: record.headerMessageId,
    authentication: record.authentication,
    disposition: record.authentication?.dmarc.disposition ?? 'none',
    ...circumstances,
  };
}
