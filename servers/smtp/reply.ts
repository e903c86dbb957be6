/** Replies of this server. smtp-server derives the enhanced code from the basic one; ours name their own (RFC 3463). */
import type { SMTPServerError } from 'smtp-server';
import { enhancedFor, type SmtpReply } from '../../protocols/mail/reply.ts';
import { SwitchyardError } from '../../protocols/errors.ts';

/** The error that makes smtp-server send this reply. */
export function replyError(reply: SmtpReply): SMTPServerError {
  const error: SMTPServerError = new Error(`${reply.enhanced ?? enhancedFor(reply.code)} ${reply.text}`);
  error.responseCode = reply.code;
  return error;
}

/** A client that goes on sending far over the limit: it is answered at once and its connection is closed. */
export class Flood extends Error {
  readonly responseCode = 552;
  constructor(maxBytes: number) {
    super(`5.3.4 More than ${maxBytes} bytes of one message, closing the connection`);
  }
}

/** A client that holds its place with a byte now and then. */
export class Dripping extends Error {
  readonly responseCode = 421;
  constructor(bytesPerSecond: number) {
    super(`4.4.2 Less than ${bytesPerSecond} bytes a second, closing the connection`);
  }
}

/** RFC 5321, 4.5.3.1.5: 512 octets a line, with the code and CRLF. */
const LINE_OCTETS = 500;

/**
 * The text of a reply as lines that SMTP allows; what another host said may be longer than one.
 * @param enhanced code with its blank that the text begins with, and that every line repeats (RFC 2034, 4)
 */
export function replyLines(text: string, enhanced: string): string[] {
  const lines: string[] = [];
  let line = enhanced;
  // A word that is longer than a line is cut: nobody reads it anyway.
  for (const word of text.slice(enhanced.length).split(/(?<= )|(?<=\S{100})/u)) {
    if (line !== enhanced && Buffer.byteLength(line + word) > LINE_OCTETS) {
      lines.push(line.trimEnd());
      line = enhanced;
    }
    line += word;
  }
  return [...lines, line.trimEnd()];
}

/** Trouble of ours: the sender keeps the message and comes again. */
export function localTrouble(text: string): SmtpReply {
  return { code: 451, enhanced: '4.3.0', text };
}

/** A violation found by the guard or a parser carries its reply in the details. */
export function replyOf(thrown: unknown): SmtpReply {
  if (!(thrown instanceof SwitchyardError)) return localTrouble('Temporary failure, please try again');
  const { reply, enhanced } = thrown.details;
  if (typeof reply === 'number')
    return { code: reply, enhanced: typeof enhanced === 'string' ? enhanced : null, text: thrown.message };
  if (thrown.code === 'blob.too_large') return { code: 552, enhanced: '5.3.4', text: thrown.message };
  if (thrown.code === 'blob.unavailable')
    return { code: 452, enhanced: '4.3.1', text: 'The message store cannot be written, please try again' };
  if (thrown.code === 'mail.malformed') return { code: 550, enhanced: '5.6.0', text: thrown.message };
  if (thrown.code === 'mail.verification_timeout')
    return { code: 451, enhanced: '4.7.0', text: 'The message could not be verified in time, please try again' };
  return localTrouble('Temporary failure, please try again');
}
