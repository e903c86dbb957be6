/** A message as people read it: addresses, subject, the beginning of the text, the attachments by name and size. */
import { z } from 'zod';
import PostalMime, { type Address } from 'postal-mime';
import { buffer } from 'node:stream/consumers';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import { guardBlob } from './verify.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';

/** The output travels through workflow histories: a few KB. */
const TEXT_CHARACTERS = 2_000;
const LISTED_ATTACHMENTS = 50;
const LISTED_ADDRESSES = 50;
/** Deeper MIME is an attack; mail clients give up far earlier. */
const MAX_NESTING = 50;

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
  needs: ['configuration', 'blobs'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:read',
  errors: ['mail.malformed', 'blob.missing', 'mail.header_too_large', 'mail.line_too_long', 'smtp.bare_newline'],
  async run({ message }, { configuration, blobs }) {
    await guardBlob(blobs, message.key, configuration.mail.limits);
    const bytes = await buffer(await blobs.read(message.key));
    const mail = await PostalMime.parse(bytes, {
      maxNestingDepth: MAX_NESTING,
      maxHeadersSize: configuration.mail.limits.headerBytes,
    }).catch((thrown: unknown) => {
      throw new PermanentError({
        code: 'mail.malformed',
        message: `The message could not be read: ${messageOf(thrown)}`,
        fix: 'Look at the raw message; it breaks RFC 5322 or RFC 2045.',
        cause: thrown,
      });
    });
    return {
      messageId: cut(mail.messageId),
      date: mail.date ?? null,
      from: mail.from ? (mailboxes([mail.from])[0] ?? null) : null,
      to: mailboxes(mail.to),
      cc: mailboxes(mail.cc),
      subject: cut(mail.subject),
      text: (mail.text ?? '').slice(0, TEXT_CHARACTERS),
      attachments: mail.attachments.slice(0, LISTED_ATTACHMENTS).map((one) => ({
        filename: cut(one.filename),
        mimeType: one.mimeType,
        size: typeof one.content === 'string' ? Buffer.byteLength(one.content) : one.content.byteLength,
      })),
      attachmentCount: mail.attachments.length,
    };
  },
});

const FIELD_CHARACTERS = 500;
const cut = (text: string | null | undefined): string | null => text?.slice(0, FIELD_CHARACTERS) ?? null;

/** Groups (RFC 5322, 3.4) are listed by their members. */
function mailboxes(addresses: Address[] | undefined): z.output<typeof Mailbox>[] {
  return (addresses ?? [])
    .flatMap((one) => (one.group ? one.group : [one]))
    .slice(0, LISTED_ADDRESSES)
    .map((one) => ({ name: cut(one.name) ?? '', address: cut(one.address) ?? '' }));
}
