/**
 * A new message from its parts (RFC 5322, RFC 2045), written straight into the blob store: attachments are read as
 * they are needed and never held in memory.
 */
import { createHash } from 'node:crypto';
import { addAbortSignal, Readable } from 'node:stream';
import MailComposer from 'nodemailer/lib/mail-composer';
import { z } from 'zod';
import { defineStep, type StepContext } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import { NewMessage } from './new-message.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { normalizeAddress } from '../../protocols/mail/address.ts';
import { createMessageGuard, type MessageFacts, type MessageGuard } from '../../protocols/mail/limits.ts';
import { mailboxAddress, parseMailbox } from '../../protocols/mail/mailbox.ts';

/** A message that a step made and nobody else owns is kept this long. */
const KEPT = 86_400_000;

export interface ComposedMessage {
  message: z.output<typeof BlobRef>;
  /** With its angle brackets. */
  messageId: string;
  /** Address of From, the envelope sender. */
  sender: string;
  /** Addresses of To, Cc and Bcc, each once. */
  recipients: string[];
  facts: MessageFacts;
}

export const composeMessageStep = defineStep({
  name: 'mail.compose',
  summary: 'Write a new message: text, HTML, attachments.',
  input: NewMessage,
  output: z.object({
    message: BlobRef,
    messageId: z.string(),
    sender: z.string(),
    recipients: z.array(z.string()),
    /** What `mail.deliver` wants to know. */
    eightBit: z.boolean(),
    utf8: z.boolean(),
  }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  errors: [
    'blob.missing',
    'blob.unavailable',
    'mail.too_large',
    'mail.header_too_large',
    'mail.header_field_too_large',
    'mail.header_lines',
    'mail.line_too_long',
    'records.unavailable',
    'smtp.bare_newline',
    'smtp.nul',
  ],
  async run(input, dependencies, step) {
    const { facts, ...composed } = await composeMessage(input, new Date(), dependencies, step);
    return { ...composed, eightBit: facts.eightBit, utf8: facts.utf8Header };
  },
});

/**
 * Stores the message and keeps it for a day. Message-ID follows from the idempotency key, so that a repeat writes a
 * message that receivers know as the same.
 * @throws PermanentError `mail.too_large`, `blob.missing`, and the guard's codes
 */
export async function composeMessage(
  input: NewMessage,
  date: Date,
  { configuration, blobs, records }: Pick<Dependencies, 'configuration' | 'blobs' | 'records'>,
  step: StepContext,
): Promise<ComposedMessage> {
  const { limits } = configuration.mail;
  await checkAttachments(input, blobs, limits.messageSize);
  const from = parseMailbox(input.from);
  const { domain } = from.address;
  const id = createHash('sha256').update(step.idempotencyKey).digest('hex').slice(0, 32);
  const messageId = `<${id}@${(await records.rules.isLocalDomain(domain)) ? domain : configuration.hostname}>`;
  const stream = new MailComposer({
    from: field(input.from),
    to: input.to.map(field),
    cc: input.cc?.map(field),
    bcc: input.bcc?.map(field),
    replyTo: input.replyTo === undefined ? undefined : field(input.replyTo),
    subject: input.subject,
    text: input.text === undefined ? undefined : withCrlf(input.text),
    html: input.html === undefined ? undefined : withCrlf(input.html),
    attachments: input.attachments?.map(({ content, ...rest }) => ({
      ...rest,
      content: openLater(blobs, content.key),
    })),
    headers: input.headers,
    messageId,
    date,
    // Whatever an attachment of type message/* or text brings along.
    newline: 'windows',
    disableFileAccess: true,
    disableUrlAccess: true,
  })
    .compile()
    .createReadStream();
  addAbortSignal(step.signal, stream);
  const guard = createMessageGuard(limits);
  const message = await write(guarded(stream, guard), blobs, limits.messageSize);
  const facts = guard.end();
  await keepBlob({ blobs, records }, message, `step:${step.idempotencyKey}`, new Date(Date.now() + KEPT).toISOString());
  return {
    message,
    messageId,
    sender: mailboxAddress(from),
    recipients: recipientsOf(input),
    facts,
  };
}

/** Addresses of To, Cc and Bcc as they were written, each once. */
export function recipientsOf({ to, cc = [], bcc = [] }: NewMessage): string[] {
  const known = new Map<string, string>();
  for (const mailbox of [...to, ...cc, ...bcc]) {
    const address = mailboxAddress(parseMailbox(mailbox));
    const compared = normalizeAddress(address);
    if (!known.has(compared)) known.set(compared, address);
  }
  return [...known.values()];
}

/** Before anything is written: a name that is missing, and a size that cannot fit, are the caller's to mend. */
async function checkAttachments(input: NewMessage, blobs: BlobStore, max: number): Promise<void> {
  let total = 0;
  for (const { content, filename } of input.attachments ?? []) {
    const size = await blobs.size(content.key);
    if (size === undefined)
      throw new PermanentError({
        code: 'blob.missing',
        message: `The attachment ${filename} is not stored here: ${content.key}.`,
        fix: 'Upload it again with POST /v1/blobs and attach what that answers; unused uploads are kept for a day.',
        details: { key: content.key },
      });
    total += size;
  }
  if (total > max) throw tooLarge(max);
}

const field = (text: string): { name: string; address: string } => {
  const mailbox = parseMailbox(text);
  return { name: mailbox.name, address: mailboxAddress(mailbox) };
};

/** RFC 2046, 4.1.1: the line break of text is CRLF, in every encoding. */
const withCrlf = (text: string): string => text.replace(/\r\n|\r|\n/g, '\r\n');

/** The blob is opened when its turn comes: twenty attachments are one open file. */
function openLater(blobs: BlobStore, key: string): Readable {
  const read = async function* (): AsyncGenerator<Buffer> {
    yield* (await blobs.read(key)) as AsyncIterable<Buffer>;
  };
  return Readable.from(read(), { objectMode: false });
}

async function* guarded(source: Readable, guard: MessageGuard): AsyncGenerator<Uint8Array> {
  for await (const chunk of source as AsyncIterable<Uint8Array>) {
    guard.push(chunk);
    yield chunk;
  }
}

async function write(source: AsyncIterable<Uint8Array>, blobs: BlobStore, maxBytes: number) {
  try {
    return await blobs.write(source, { prefix: 'mail', maxBytes });
  } catch (thrown) {
    if (thrown instanceof PermanentError && thrown.code === 'blob.too_large') throw tooLarge(maxBytes);
    throw thrown;
  }
}

function tooLarge(max: number): PermanentError {
  return new PermanentError({
    code: 'mail.too_large',
    message: `The message would be larger than ${max} bytes; attachments grow by a third on their way.`,
    fix: 'Send a link instead of the largest file, or raise mail.limits.messageSize.',
    details: { max },
  });
}
