/**
 * Signatures of callbacks, in the form of the Standard Webhooks specification: who has the key knows that the call
 * comes from here, that nothing in it was changed, and that it is no recording.
 */
import { createHmac } from 'node:crypto';

/** Header fields of a signed call (https://www.standardwebhooks.com, "Webhook Headers"). */
export interface SignatureHeaders {
  'webhook-id': string;
  /** Seconds since the epoch. */
  'webhook-timestamp': string;
  /** `v1,<base64 of HMAC-SHA256>` over id, timestamp and body. */
  'webhook-signature': string;
}

/**
 * @param id the same for every repeat of one message, so that the receiver can tell
 * @param key 32 bytes: the SHA-256 of the token that the receiver registered with
 * @param at ms since the epoch
 */
export function signCallback(id: string, body: string, key: Uint8Array, at: number): SignatureHeaders {
  const timestamp = String(Math.floor(at / 1_000));
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}
