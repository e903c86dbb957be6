/**
 * Mail that comes back. A rule that forwards to an address whose owner forwards back would send one message around
 * until its hundredth Received field; the trace of the first round says enough (RFC 5321, 6.3).
 */
import { normalizeAddress } from './address.ts';
import type { SmtpReply } from './reply.ts';

/** Addresses in the trace that are looked at; a message has at most a hundred Received fields. */
const MAX_TRACED = 200;

/**
 * The recipients for whom a message was taken before: those of Received fields by this host, which name theirs
 * (RFC 5321, 4.4), and those of Delivered-To fields (RFC 9228), in the form of `normalizeAddress`.
 * @param fields names in lower case, bodies unfolded
 * @param host our name, as it stands in our Received fields
 */
export function takenBefore(fields: { name: string; body: string }[], host: string): string[] {
  const found = new Set<string>();
  for (const { name, body } of fields) {
    if (found.size >= MAX_TRACED) break;
    const address =
      name === 'delivered-to' ? deliveredTo(body) : name === 'received' ? tracedFor(body, host) : undefined;
    if (address === undefined) continue;
    try {
      found.add(normalizeAddress(address));
    } catch {
      // Not an address, so none of ours.
    }
  }
  return [...found];
}

/** The answer to a message that was taken for one of these recipients before; undefined for any other. */
export function loopReply(recipients: string[], before: string[]): SmtpReply | undefined {
  const again = recipients.find((recipient) => before.includes(comparable(recipient)));
  if (again === undefined) return undefined;
  const text = `The message was here before for ${again}: two addresses forward to each other`;
  return { code: 554, enhanced: '5.4.6', text };
}

const deliveredTo = (body: string): string => body.trim().replace(/^<(.*)>$/, '$1');

function tracedFor(body: string, host: string): string | undefined {
  const by = /(?:^|\s)by\s+([^\s;()]{1,255})/i.exec(body)?.[1];
  if (by?.toLowerCase() !== host.toLowerCase()) return undefined;
  return /\sfor\s+<([^<>\s]{1,320})>/i.exec(body)?.[1];
}

function comparable(address: string): string {
  try {
    return normalizeAddress(address);
  } catch {
    return address.toLowerCase();
  }
}
