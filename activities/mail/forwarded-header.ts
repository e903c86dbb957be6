/** What goes on top of a message of others that leaves: trace, verdicts, and who signs and seals them. */
import { needsUtf8 } from '../../protocols/mail/address.ts';
import type { Authentication } from '../../protocols/mail/authentication.ts';
import { receivedField } from '../../protocols/mail/received.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { SigningIdentity, SignRequest } from './authenticator/port.ts';

/** RFC 8617, section 4.2.1. */
const MAX_ARC_SETS = 50;

/** @param received our Received field, with its CRLF */
export function forwardedHeader(
  authentication: Authentication,
  received: string,
  signer: SigningIdentity,
  signing: Configuration['mail']['signing'],
): Pick<SignRequest, 'prepend' | 'dkim' | 'arc'> {
  const { authenticationResults } = authentication;
  const cv = authentication.arc.result;
  // RFC 8617, section 5.1.2: a chain that has failed is not extended; the message goes on with our DKIM signature alone.
  const extensible = (cv === 'none' || cv === 'pass') && authentication.arc.instance < MAX_ARC_SETS;
  return {
    prepend: `${received}Authentication-Results: ${authenticationResults}\r\n`,
    dkim: signing.dkim ? signer : null,
    arc: signing.arc && extensible ? { ...signer, authenticationResults, cv } : null,
  };
}

/** How a message came, as its session knows it. */
export interface Arrival {
  helo: string;
  sourceAddress: string;
  /** RFC 3848. */
  protocol: string;
  tls?: string | null;
  /** Id of the SMTP transaction. */
  messageId: string;
  recipient: string;
  /** The header has UTF-8 in it (RFC 6532). */
  utf8: boolean;
  /** ISO 8601. */
  receivedAt: string;
}

/** Our Received field, with its CRLF. @param hostname our name */
export function receivedBy(arrival: Arrival, hostname: string): string {
  // A recipient in UTF-8 would turn an ASCII header into one that needs SMTPUTF8.
  const named = arrival.utf8 || !needsUtf8(arrival.recipient);
  return receivedField({
    helo: arrival.helo,
    address: arrival.sourceAddress,
    by: hostname,
    protocol: arrival.protocol,
    tls: arrival.tls ?? undefined,
    id: arrival.messageId,
    for: named ? arrival.recipient : undefined,
    date: new Date(arrival.receivedAt),
  });
}
