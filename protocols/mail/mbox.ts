/**
 * The messages of an mbox (RFC 4155), read as a stream: one message is held, never the mailbox. Line ends may be LF or
 * CRLF. Programs differ in what the line between two messages looks like and in what they do to lines of a text that look
 * like one; RFC 4155, appendix A says that no reader can be right about all. Taken for such a line is "From " with a time
 * as asctime writes it; after an empty line also with any date, or alone, as Thunderbird writes it. Content-Length is
 * not looked at: it is wrong too often.
 */

export interface MboxMessage {
  /** As it was before it was written here; null where it is larger than allowed. */
  bytes: Buffer | null;
  /** Bytes of the mailbox before its first line and up to the end of its last one. */
  at: number;
  end: number;
}

/** Longest line that is looked at: a name of 254 and a date are shorter. */
const LINE = 1_000;
const LF = 0x0a;
const CR = 0x0d;
const NEXT_FROM = Buffer.from('\nFrom ');

const TIME = String.raw`\d{1,2}:\d{2}(?::\d{2})?`;
const ASCTIME = new RegExp(
  String.raw`^From .*\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2}|\d{1,2} +[A-Z][a-z]{2})\b.*${TIME}`,
);
const LOOSE = new RegExp(String.raw`^From(?: -)?$|^From (?:(?=.*\b\d{4}\b).*\b${TIME}\b.*)$`);

/** @param head the first bytes of a file */
export function isMbox(head: Uint8Array): boolean {
  const [line = ''] = Buffer.from(head.subarray(0, LINE)).toString('latin1').split('\n', 1);
  return line.startsWith('From ') && (ASCTIME.test(line) || LOOSE.test(line.trimEnd()));
}

/**
 * @param source begins with the line before a message
 * @param maxBytes of a message
 */
export async function* readMbox(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<MboxMessage> {
  const chunks = source[Symbol.asyncIterator]();
  /** What is not decided yet, where in the mailbox it begins, and how far it was looked through. */
  let window = Buffer.alloc(0);
  let offset = 0;
  let searched = 0;
  let message: { at: number; parts: Buffer[]; size: number } | undefined;

  const take = (size: number): void => {
    if (message) {
      message.size += size;
      if (message.size > maxBytes) message.parts = [];
      else message.parts.push(window.subarray(0, size));
    }
    window = window.subarray(size);
    offset += size;
  };
  const whole = ({ at, parts, size }: NonNullable<typeof message>): MboxMessage => ({
    bytes: size > maxBytes ? null : unquoted(Buffer.concat(parts)),
    at,
    end: offset,
  });
  try {
    for (let isLast = false; !isLast;) {
      const { value, done } = await chunks.next();
      isLast = done === true;
      if (!done) window = Buffer.concat([window, value]);
      for (;;) {
        const found = message ? findSeparator(window, searched, isLast) : firstLine(window, isLast);
        if (typeof found === 'number') {
          searched = found;
          break;
        }
        take(found.line);
        if (message) yield whole(message);
        const at = offset;
        message = undefined;
        take(found.end - found.line);
        message = { at, parts: [], size: 0 };
        searched = 0;
      }
      const decided = isLast ? window.length : searched - KEPT;
      if (decided > 0) {
        take(decided);
        searched -= decided;
      }
    }
    if (message) yield whole(message);
  } finally {
    await chunks.return?.();
  }
}

/** Bytes that stay in the window, to see an empty line before the next one. */
const KEPT = 4;

interface Separator {
  line: number;
  end: number;
}

/** A number is how far the window was looked through in vain. */
function firstLine(window: Buffer, isLast: boolean): Separator | number {
  const end = window.indexOf(LF);
  if (end >= 0) return { line: 0, end: end + 1 };
  return isLast && window.length > 0 ? { line: 0, end: window.length } : 0;
}

function findSeparator(window: Buffer, from: number, isLast: boolean): Separator | number {
  for (let at = window.indexOf(NEXT_FROM, from); at >= 0; at = window.indexOf(NEXT_FROM, at + 1)) {
    const line = at + 1;
    const lineEnd = window.indexOf(LF, line);
    if (lineEnd < 0 && !isLast && window.length - line <= LINE) return at;
    const end = lineEnd < 0 ? window.length : lineEnd + 1;
    if (isSeparator(window, at, line, end)) return { line, end };
  }
  return Math.max(from, window.length - NEXT_FROM.length + 1);
}

function isSeparator(window: Buffer, lf: number, line: number, end: number): boolean {
  if (end - line > LINE) return false;
  const words = window.subarray(line, end).toString('latin1').trimEnd();
  if (ASCTIME.test(words)) return true;
  const before = window[lf - 1] === CR ? lf - 2 : lf - 1;
  return window[before] === LF && LOOSE.test(words);
}

/** A line "From " of a text was written with ">" before it, and one that has some with one more (mboxrd). */
function unquoted(message: Buffer): Buffer {
  if (!message.includes('\n>')) return message;
  return Buffer.from(message.toString('latin1').replace(/^>(>*From )/gm, '$1'), 'latin1');
}
