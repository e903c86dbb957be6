/** The mail domain's contract: workflow names, id builders, updates, queries. The only thing servers and the command line take from here. */
import type { Authentication, SmtpReply } from '../../stores/records/port.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { Origin } from '../contract.ts';

export const ROUTE_MAIL = 'routeMail';

/** Update: waits for the end of the first attempts or for the run's own session timer. Sent with the start. */
export const FIRST_ANSWER = 'firstAnswer';
/** Update: the session has decided what the sender is told, for a message with several recipients. */
export const SETTLE = 'settle';
/** Query: where the run stands. */
export const PROGRESS = 'progress';

export interface RouteMailInput {
  activityId: string;
  message: BlobRef;
  /** Envelope as it came. */
  sender: string;
  recipient: string;
  sourceAddress: string;
  helo: string;
  subject: string | null;
  /** SMTP transaction id, for Received and for the logs. */
  messageId: string;
  receivedAt: string;
  /** Name of the protocol for Received (RFC 3848): ESMTP, ESMTPS, UTF8SMTP, ... */
  protocol: string;
  /** TLS version and cipher it came by, null for plain text; runs of older builds have none. */
  tls?: string | null;
  /** Addresses, or `trigger:<id>` for an n8n workflow that takes the message. */
  destinations: string[];
  /** What people call a destination that is no address. */
  names?: Record<string, string>;
  /** Who started the run, where that was not the SMTP session. */
  origin?: Origin;
  /** The local domain that signs and rewrites. */
  domain: string;
  /** Body bytes over 127 (8BITMIME), header bytes over 127 (SMTPUTF8): what the next host must be able to take. */
  eightBit: boolean;
  utf8: boolean;
  authentication: Authentication;
  /** `srs`: a mail that comes back to one of our SRS addresses and goes to its original sender. */
  kind: 'forward' | 'srs';
  /** Whether the sender may be told of a failure: a bounce address that authenticated. */
  bounceAllowed: boolean;
  /**
   * How a refusal in the first attempt is settled. `alone`: the session passes it back, the run ends. `session`:
   * other recipients share the session, so the run waits for `settle`. `accepted`: the sender already has its 250.
   */
  settlement: 'alone' | 'session' | 'accepted';
  /** A refusal that an earlier run of the same message met: only the bounce is left to do. */
  refusedBefore?: SmtpReply;
  policy: DeliveryPolicy;
  taskQueues: MailTaskQueues;
  /**
   * What runs inside a workflow task, as local activities: the first attempt of each address, the close of the record.
   * Runs of older builds have none.
   */
  local?: ('attempt' | 'close')[];
}

/**
 * A workflow task that lasts is renewed after this many ms (four fifths of the ten seconds it may take), and only then
 * do timers that it started begin to run. A session that waits less than twice that cannot have its first attempt
 * inside the task.
 */
export const TASK_RENEWAL = 8_000;

export interface DeliveryPolicy {
  /** ms the session may wait. */
  sessionWait: number;
  /** ms between attempts; the last repeats. */
  retryDelays: number[];
  /** ms after `receivedAt`. */
  giveUpAfter: number;
}

export interface MailTaskQueues {
  first: string;
  retry: string;
}

/** What the session may tell the sender. */
export type FirstAnswer = { answer: 'delivered' } | { answer: 'queued' } | { answer: 'refused'; reply: SmtpReply };

export type Settlement = 'passed-back' | 'bounce';

export interface RouteMailResult {
  outcome: 'delivered' | 'refused' | 'bounced' | 'failed';
  attempts: number;
  errorCode: string | null;
}

export interface RouteMailProgress {
  phase: 'first attempt' | 'waiting' | 'retrying' | 'bouncing' | 'closed';
  destinations: { destination: string; state: string; attempts: number; lastReply: string | null }[];
  nextAttemptAt: string | null;
}

/**
 * Workflow id of a message for a recipient, the same for the same message sent again.
 * @param deliveryKey hex SHA-256 over sender, recipient and message
 */
export function routeMailId(deliveryKey: string): string {
  return `mail/${deliveryKey.slice(0, 32)}`;
}

/** Task queues of one installation: a backlog of retries never delays a session. */
export function taskQueues(prefix: string): { main: string } & MailTaskQueues {
  return { main: prefix, first: `${prefix}-mail-first`, retry: `${prefix}-mail-retry` };
}
