/** What tells a record that a session delivers by itself from one that was left behind. */
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { MailActivity } from '../../stores/records/port.ts';

/** ms beside the waits that a session is bounded by. */
const MARGIN = 5_000;

/** ms after the arrival of a message in which a session may be at it. */
export function inSessionFor(configuration: Configuration): number {
  const { limits, sessionWait } = configuration.mail;
  return limits.verification + sessionWait + finalDotWait(configuration) + MARGIN;
}

/** ms that the answer to a final dot is waited for; no connection waits longer than `outbound.dataTimeout`. */
export function finalDotWait({ mail, outbound }: Configuration): number {
  return Math.min(mail.finalDotWait, outbound.dataTimeout);
}

/** Open, forwarded, and no run has it: a session is at it, or died at it. */
export function isDirect({ outcome, workflowId, action }: MailActivity): boolean {
  return outcome === 'accepted' && workflowId === null && action?.type === 'forward';
}
