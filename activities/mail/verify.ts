/** SPF, DKIM, DMARC and ARC of a stored message. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { Authentication, BlobRef, Envelope } from '../schemas.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { createMessageGuard, type MessageFacts, type MessageLimits } from '../../protocols/mail/limits.ts';

/** Codes of the guard. */
export const GUARD_ERRORS = [
  'smtp.bare_newline',
  'smtp.nul',
  'mail.header_blanks',
  'mail.header_field_too_large',
  'mail.header_lines',
  'mail.header_too_large',
  'mail.line_too_long',
  'mail.loop',
  'mail.too_many_signatures',
] as const;

/**
 * Reads a stored message through the guard, so that nothing over the limits reaches a parser.
 * @throws PermanentError one of GUARD_ERRORS
 */
export async function guardBlob(blobs: BlobStore, key: string, limits: MessageLimits): Promise<MessageFacts> {
  const guard = createMessageGuard(limits);
  for await (const chunk of (await blobs.read(key)) as AsyncIterable<Uint8Array>) guard.push(chunk);
  return guard.end();
}

export const verify = defineStep({
  name: 'mail.verify',
  summary: 'Verify SPF, DKIM, DMARC and ARC of a message.',
  input: z.object({ message: BlobRef.describe('The stored message to verify.'), envelope: Envelope }),
  output: z.object({
    authentication: Authentication,
    headerFrom: z.string().nullable(),
    headerMessageId: z.string().nullable(),
    subject: z.string().nullable(),
    temporary: z.boolean(),
    authorProblem: z.string().nullable(),
    takenBefore: z
      .array(z.string())
      .describe('Recipients for whom this host took the message before: it goes in a circle.'),
  }),
  needs: ['configuration', 'blobs', 'authenticator'],
  takes: 'network',
  repeat: 'safe',
  scope: 'mail:read',
  errors: ['mail.verification_timeout', 'mail.malformed', 'blob.missing', ...GUARD_ERRORS],
  async run({ message, envelope }, { configuration, blobs, authenticator }, step) {
    await guardBlob(blobs, message.key, configuration.mail.limits);
    return authenticator.verify({ key: message.key, ...envelope }, step.signal);
  },
});
