/**
 * SMTP replies (RFC 5321, 4.2) and their enhanced status codes (RFC 2034, RFC 3463).
 */
import { TemporaryError } from '../errors.ts';

/** An SMTP reply as it came: `550`, `5.1.1`, `No such user`. */
export interface SmtpReply {
  code: number;
  /** RFC 3463, or null when the other side gave none. */
  enhanced: string | null;
  text: string;
}

/** Text of a reply that is kept: a stranger wrote it, and RFC 5321, 4.5.3.1.5 allows 512 octets a line. */
export const MAX_REPLY_TEXT = 1_000;

const LINE = /^([2-5][0-9]{2})(?:[ -](.*))?$/;
const ENHANCED = /^([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|$)/;

/**
 * Reads a reply of one or more lines; the lines' texts are joined by a space, an enhanced code that repeats
 * on each line (RFC 2034, 4) is taken once. One that contradicts the reply's class is left in the text.
 * @throws TemporaryError `smtp.bad_reply` when there is no reply code: nobody knows what was meant, so try again.
 */
export function parseReply(text: string): SmtpReply {
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const first = LINE.exec(printable(lines[0] ?? ''));
  if (!first) {
    throw new TemporaryError({
      code: 'smtp.bad_reply',
      message: `The other side answered without a reply code: ${JSON.stringify(text.slice(0, 80))}.`,
      fix: 'Look at the host that gave the answer; it does not speak SMTP (RFC 5321, 4.2).',
    });
  }
  const code = Number(first[1]);
  let enhanced: string | null = null;
  const texts: string[] = [];
  for (const line of lines) {
    const clean = printable(line);
    const parts = LINE.exec(clean);
    let rest = parts && Number(parts[1]) === code ? (parts[2] ?? '') : clean;
    const status = ENHANCED.exec(rest);
    if (status && status[1]![0] === first[1]![0] && (enhanced === null || enhanced === status[1])) {
      enhanced = status[1]!;
      rest = rest.slice(status[0].length);
    }
    if (rest.trim() !== '') texts.push(rest.trim());
  }
  return { code, enhanced, text: cut(texts.join(' ')) };
}

/** The reply on one line, as it is passed on and shown: `550 5.1.1 No such user`. */
export function formatReply(reply: SmtpReply): string {
  return [String(reply.code), reply.enhanced, printable(reply.text)]
    .filter((part) => part !== null && part !== '')
    .join(' ');
}

/** What an attempt met, for records: the answer, or the trouble in words, with the host where one is known. */
export function saidBy(host: string | null, reply: SmtpReply | null, trouble: string): string {
  const said = reply ? [reply.code, reply.enhanced, reply.text].filter(Boolean).join(' ') : trouble || 'nothing yet';
  return host ? `${host}: ${said}` : said;
}

/** 5yz: the same command will fail the same way (RFC 5321, 4.2.1). */
export function isPermanent(reply: SmtpReply): boolean {
  return reply.code >= 500 && reply.code < 600;
}

/** Enhanced codes that say the same as the basic code (the IANA registry's associations and RFC 5321, 4.2.3). */
const ENHANCED_FOR: Record<number, string> = {
  421: '4.4.2',
  450: '4.2.0',
  451: '4.3.0',
  452: '4.3.1',
  454: '4.7.0',
  455: '4.5.4',
  500: '5.5.2',
  501: '5.5.4',
  502: '5.5.1',
  503: '5.5.1',
  504: '5.5.4',
  521: '5.3.2',
  530: '5.7.0',
  535: '5.7.8',
  551: '5.1.6',
  552: '5.2.2',
  553: '5.1.3',
  555: '5.5.4',
  556: '5.1.10',
};

/**
 * The enhanced code for a reply that came without one: its meaning where the basic code has one, else `X.0.0`
 * (other, undefined). So for 550 and 554, which stand for every kind of refusal.
 */
export function enhancedFor(code: number): string {
  return ENHANCED_FOR[code] ?? `${Math.floor(code / 100)}.0.0`;
}

/** Control characters would end our own reply line or a header field. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

function cut(text: string): string {
  return text.length > MAX_REPLY_TEXT ? `${text.slice(0, MAX_REPLY_TEXT - 1)}…` : text;
}
