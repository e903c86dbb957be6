/** Secrets at rest: AES-256-GCM (NIST SP 800-38D) under the master key. Layout: 12 bytes nonce, ciphertext, 16 bytes tag. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const NONCE = 12;
const TAG = 16;

/** @param context what the secret is for; it opens only under the same, so that rows cannot be exchanged. */
export function seal(master: Buffer, secret: Uint8Array, context: string): Buffer {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv('aes-256-gcm', master, nonce, { authTagLength: TAG }).setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

/** Undefined when it was sealed under another key or for another context, or was altered. */
export function unseal(master: Buffer, sealed: Uint8Array, context: string): Buffer | undefined {
  if (sealed.length < NONCE + TAG) return undefined;
  const bytes = Buffer.from(sealed);
  const decipher = createDecipheriv('aes-256-gcm', master, bytes.subarray(0, NONCE), { authTagLength: TAG })
    .setAAD(Buffer.from(context))
    .setAuthTag(bytes.subarray(-TAG));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE, -TAG)), decipher.final()]);
  } catch {
    return undefined;
  }
}
