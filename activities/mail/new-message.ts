/** What a new message is made of: the input that `mail.compose` and `mail.send` share, and its limits. */
import { z } from 'zod';
import { BlobRef } from '../schemas.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { parseMailbox } from '../../protocols/mail/mailbox.ts';

/** To, Cc and Bcc together. A mail to more people is a mailing, which needs more than this step: unsubscribing, bounces. */
export const MAX_RECIPIENTS = 50;
export const MAX_ATTACHMENTS = 20;
/** Characters of the text and of the HTML: they travel in the input; what is larger is an attachment. */
const MAX_TEXT = 262_144;
/** Characters; mail clients show far fewer. */
const MAX_SUBJECT = 500;
/** Characters of an address with its display name. */
const MAX_MAILBOX = 600;
const MAX_FILENAME = 200;
/** Further header fields, each of at most so many characters. */
const MAX_HEADERS = 30;
const MAX_HEADER_VALUE = 2_000;

/** A pattern for a name in any case, which also holds in a JSON schema, whose patterns have no flags. */
const anyCase = (name: string): string =>
  name.replace(/[a-z]/gi, (letter) => `[${letter.toUpperCase()}${letter.toLowerCase()}]`);

/** Fields that a caller may add: none that the message's structure, its trace or its authentication depend on. */
const FREE_HEADERS = [
  'In-Reply-To',
  'References',
  'Auto-Submitted',
  'Feedback-ID',
  'Importance',
  'Precedence',
  'Keywords',
  'Comments',
  'Organization',
];
const FREE_HEADER = new RegExp(
  `^(?:[Xx]-[A-Za-z0-9-]{1,98}|${anyCase('List')}-[A-Za-z-]{1,95}|${FREE_HEADERS.map(anyCase).join('|')})$`,
);
/** A part that consists of parts is not a file. Parameters as HTTP answers and other programs hand them on. */
const MEDIA_TYPE = new RegExp(
  String.raw`^(?!${anyCase('multipart')}/)[\w!#$&^.+-]+/[\w!#$&^.+-]+(?: *; *[\w-]+=(?:[\w.:+-]+|"[\w .:+-]*"))*$`,
);

/** Text that stays on one line: nothing in it can begin a header field of its own. */
const line = (max: number) =>
  z
    .string()
    .max(max)
    .regex(/^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/, 'write one line, without control characters');

const Mailbox = z
  .string()
  .min(3)
  .max(MAX_MAILBOX)
  .superRefine((text, context) => {
    try {
      parseMailbox(text);
    } catch (thrown) {
      if (!(thrown instanceof PermanentError)) throw thrown;
      context.addIssue({ code: 'custom', message: thrown.message });
    }
  });
const Mailboxes = z.array(Mailbox).max(MAX_RECIPIENTS);

const AttachmentInput = z.strictObject({
  content: BlobRef.describe('The stored file, as an upload or another step answered it.'),
  filename: line(MAX_FILENAME).min(1).describe('Name of the file as the recipient sees it.'),
  contentType: z
    .string()
    .max(127)
    .regex(MEDIA_TYPE, 'write a media type, such as application/pdf')
    .optional()
    .describe('Media type, such as application/pdf; without it the name of the file tells.'),
  cid: z
    .string()
    .max(100)
    .regex(/^[\w.@-]+$/)
    .optional()
    .describe('Content id of a picture that the HTML shows: logo for <img src="cid:logo">.'),
});

export const NewMessage = z
  .strictObject({
    from: Mailbox.describe('Sender: an address, or a name and an address such as Alice <alice@example.com>.'),
    to: Mailboxes.min(1).describe('Recipients, each an address or a name and an address.'),
    cc: Mailboxes.optional().describe('Recipients of a copy.'),
    bcc: Mailboxes.optional().describe('Recipients of a copy whom no other recipient sees.'),
    replyTo: Mailbox.optional().describe('Where answers go, if not to the sender.'),
    subject: line(MAX_SUBJECT).describe('Subject, one line.'),
    text: z.string().max(MAX_TEXT).optional().describe('The message as plain text.'),
    html: z
      .string()
      .max(MAX_TEXT)
      .optional()
      .describe('The message as HTML; with a plain text as well, each recipient sees the one that their client shows.'),
    attachments: z.array(AttachmentInput).max(MAX_ATTACHMENTS).optional().describe('Files that go along.'),
    headers: z
      .record(
        z.string().regex(FREE_HEADER, 'only X-, List-, In-Reply-To, References, Auto-Submitted and their like'),
        line(MAX_HEADER_VALUE),
      )
      .refine((headers) => Object.keys(headers).length <= MAX_HEADERS, `at most ${MAX_HEADERS} header fields`)
      .optional()
      .describe('Further header fields by name, such as X-Ticket or In-Reply-To.'),
  })
  .superRefine((message, context) => {
    const count = message.to.length + (message.cc?.length ?? 0) + (message.bcc?.length ?? 0);
    if (count > MAX_RECIPIENTS)
      context.addIssue({
        code: 'custom',
        path: ['to'],
        message: `${count} recipients in To, Cc and Bcc, at most ${MAX_RECIPIENTS} are allowed`,
      });
  });
export type NewMessage = z.output<typeof NewMessage>;
