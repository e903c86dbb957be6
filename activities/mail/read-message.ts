/** A message as people read it, by postal-mime. Runs in a thread: a message of many lines takes seconds. */
import PostalMime, { type Address, type Email } from 'postal-mime';
import { messageOf, PermanentError } from '../../protocols/errors.ts';

export interface Mailbox {
  name: string;
  address: string;
}

export interface ReadMessage {
  messageId: string | null;
  date: string | null;
  from: Mailbox | null;
  to: Mailbox[];
  cc: Mailbox[];
  subject: string | null;
  /** The first 2,000 characters of the plain text. */
  text: string;
  attachments: { filename: string | null; mimeType: string; size: number }[];
  attachmentCount: number;
}

/** The result travels through workflow histories: a few KB. */
const TEXT_CHARACTERS = 2_000;
const LISTED_ATTACHMENTS = 50;
const LISTED_ADDRESSES = 50;
const FIELD_CHARACTERS = 500;
/** Deeper MIME is an attack; mail clients give up far earlier. */
const MAX_NESTING = 50;
/** postal-mime takes about 0.1 ms a part (measured): 25 MiB of empty parts would take it four minutes. */
const MAX_PARTS = 5_000;
/** And 1.4 KB of memory a line (measured): 12 MiB of empty lines are 9 GB. The largest attachment in base64 has 350,000. */
const MAX_LINES = 400_000;

/**
 * @param maxHeaderBytes of all parts together
 * @throws PermanentError `mail.malformed`, `mail.too_complex`
 */
export async function readMessage(bytes: Buffer, maxHeaderBytes: number): Promise<ReadMessage> {
  checkShape(bytes);
  let mail: Email;
  try {
    mail = await PostalMime.parse(bytes, { maxNestingDepth: MAX_NESTING, maxHeadersSize: maxHeaderBytes });
  } catch (thrown) {
    throw new PermanentError({
      code: 'mail.malformed',
      message: `The message could not be read: ${messageOf(thrown)}`,
      fix: 'Look at the raw message; it breaks RFC 5322 or RFC 2045.',
      cause: thrown,
    });
  }
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
}

/** Every part begins with a line `--boundary` (RFC 2046, 5.1.1); other lines that begin so are few. */
function checkShape(bytes: Buffer): void {
  let lines = 0;
  let parts = 0;
  for (let start = 0; start < bytes.length; lines++) {
    if (bytes[start] === DASH && bytes[start + 1] === DASH) parts++;
    if (lines > MAX_LINES || parts > MAX_PARTS)
      throw tooComplex(lines > MAX_LINES ? `${MAX_LINES} lines` : `${MAX_PARTS} parts`);
    const end = bytes.indexOf(LF, start);
    if (end < 0) return;
    start = end + 1;
  }
}
const DASH = 0x2d;
const LF = 0x0a;

const tooComplex = (most: string): PermanentError =>
  new PermanentError({
    code: 'mail.too_complex',
    message: `The message has more than ${most}.`,
    fix: 'Download the raw message and read it with another program; it can be forwarded as it is.',
  });

const cut = (text: string | null | undefined): string | null => text?.slice(0, FIELD_CHARACTERS) ?? null;

/** Groups (RFC 5322, 3.4) are listed by their members. */
function mailboxes(addresses: Address[] | undefined): Mailbox[] {
  return (addresses ?? [])
    .flatMap((one) => (one.group ? one.group : [one]))
    .slice(0, LISTED_ADDRESSES)
    .map((one) => ({ name: cut(one.name) ?? '', address: cut(one.address) ?? '' }));
}
