/** Signatures of callbacks in the form of the Standard Webhooks specification (standardwebhooks.com). */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** A call that is older than this, or this far in the future, may be a recording. ms */
const TOLERANCE = 5 * 60_000;

export interface SignedCall {
  /** Header names in lower case. */
  headers: Record<string, unknown>;
  /** Byte for byte as it came. */
  body: Uint8Array;
  /** The token of the credential that registered the callback; its SHA-256 is the key. */
  token: string;
  /** ms since the epoch */
  now: number;
}

/** Whether Switchyard sent this call, and sent it now. */
export function isSigned({ headers, body, token, now }: SignedCall): boolean {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    String(headers[name] ?? ''),
  ) as [string, string, string];
  if (id === '' || !/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(now - Number(timestamp) * 1_000) > TOLERANCE) return false;
  const key = createHash('sha256').update(token).digest();
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
  // Several signatures with spaces between them: keys may be changed over time.
  return signatures.split(' ').some((one) => {
    if (!one.startsWith('v1,')) return false;
    const given = Buffer.from(one.slice(3), 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}
