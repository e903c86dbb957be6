/** A message as people read it: addresses, subject, the beginning of the text, the attachments by name and size. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import { GUARD_ERRORS, guardBlob } from './verify.ts';

const Mailbox = z.object({ name: z.string(), address: z.string() });

export const parse = defineStep({
  name: 'mail.parse',
  summary: 'Read a message: addresses, subject, text, list of attachments.',
  input: z.object({ message: BlobRef.describe('The stored message to read.') }),
  output: z.object({
    messageId: z.string().nullable(),
    date: z.string().nullable(),
    from: Mailbox.nullable(),
    to: z.array(Mailbox),
    cc: z.array(Mailbox),
    subject: z.string().nullable(),
    /** The first 2,000 characters of the plain text. */
    text: z.string(),
    attachments: z.array(z.object({ filename: z.string().nullable(), mimeType: z.string(), size: z.number().int() })),
    attachmentCount: z.number().int(),
  }),
  needs: ['configuration', 'blobs', 'authenticator'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:read',
  errors: ['mail.malformed', 'mail.too_complex', 'mail.verification_timeout', 'blob.missing', ...GUARD_ERRORS],
  async run({ message }, { configuration, blobs, authenticator }, step) {
    await guardBlob(blobs, message.key, configuration.mail.limits);
    return authenticator.read({ key: message.key }, step.signal);
  },
});
