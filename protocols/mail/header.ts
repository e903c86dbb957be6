/**
 * The header section of a message (RFC 5322, 2.2), read as bytes and written safely. The section ends, and fields
 * start, where mailauth sees it: what is verified, what is limited and what is sent on must be the same fields.
 */

export interface HeaderField {
  /** As written, without blanks around it; '' for a first line that is no field. */
  name: string;
  /** All its bytes with the line break that ends it. The raws of all fields, joined, are the header section. */
  raw: Buffer;
}

/** RFC 5322, 2.1.1: octets of a line without CRLF that must not, and that should not be exceeded. */
export const MAX_LINE = 998;
export const PREFERRED_LINE = 78;

/**
 * Splits the header section off a message, or off its beginning. `bodyOffset` is where the body starts, after the
 * empty line; the length of the input when there is none. A line that does not look like a field belongs to the
 * field above.
 */
export function splitHeader(bytes: Buffer): { fields: HeaderField[]; bodyOffset: number } {
  const fields: HeaderField[] = [];
  let fieldStart = 0;
  let lineStart = 0;
  let end = bytes.length;
  let bodyOffset = bytes.length;
  while (lineStart < bytes.length) {
    const lf = bytes.indexOf(LF, lineStart);
    const next = lf < 0 ? bytes.length : lf + 1;
    if (lf >= 0 && (lf === lineStart || (lf === lineStart + 1 && bytes[lineStart] === CR))) {
      end = lineStart;
      bodyOffset = next;
      break;
    }
    if (lineStart > fieldStart && startsField(bytes, lineStart, next)) {
      fields.push(field(bytes.subarray(fieldStart, lineStart)));
      fieldStart = lineStart;
    }
    lineStart = next;
  }
  if (end > fieldStart) fields.push(field(bytes.subarray(fieldStart, end)));
  return { fields, bodyOffset };
}

/** The body of a field, unfolded (RFC 5322, 2.2.3) and trimmed; bytes that are not UTF-8 become U+FFFD. */
export function fieldBody(raw: Buffer): string {
  const text = raw.toString('utf8');
  return text
    .slice(text.indexOf(':') + 1)
    .replace(/\r?\n(?=[ \t])/g, '')
    .replace(/[\r\n]+/g, ' ')
    .trim();
}

/** Readable text of a field's body: encoded words decoded (RFC 2047), an unknown charset or encoding left as it is. */
export function decodeHeaderText(text: string): string {
  return text
    .replace(/(=\?[^?\s]+\?[bq]\?[^?\s]*\?=)[ \t\r\n]+(?==\?[^?\s]+\?[bq]\?[^?\s]*\?=)/gi, '$1')
    .replace(
      /=\?([^?\s*]+)(?:\*[^?\s]*)?\?([bq])\?([^?\s]*)\?=/gi,
      (word, charset: string, encoding: string, data: string) => {
        const bytes = encoding.toLowerCase() === 'b' ? Buffer.from(data, 'base64') : fromQ(data);
        try {
          return new TextDecoder(charset).decode(bytes);
        } catch {
          return word;
        }
      },
    );
}

/**
 * The fields without Authentication-Results that claim to be ours: they came from outside, so they are forged
 * (RFC 8601, 5). One whose authserv-id cannot be read goes too, since some reader may see ours in it.
 */
export function removeAuthenticationResults(fields: HeaderField[], authservId: string): HeaderField[] {
  const ours = authservId.toLowerCase();
  return fields.filter((field) => {
    if (field.name.toLowerCase() !== 'authentication-results') return true;
    const id = readAuthservId(fieldBody(field.raw));
    return id !== null && id.toLowerCase() !== ours;
  });
}

/**
 * A field ready for a message, CRLF included: folded at blanks to 78 characters where it can be, and never over
 * 998 octets a line. The value must be safe (see `safeText`); line breaks in it are taken for folds and redone.
 */
export function foldField(name: string, value: string): string {
  const words = value
    .replace(/\r?\n[ \t]*/g, ' ')
    .trim()
    .split(/(?<=\S) (?=\S)/);
  const lines: string[] = [];
  let line = `${name}:`;
  for (const word of words.flatMap(chop)) {
    if (line.length + 1 + word.length > PREFERRED_LINE && line !== `${name}:`) {
      lines.push(line);
      line = '';
    }
    line += ` ${word}`;
  }
  return `${[...lines, line].join('\r\n')}\r\n`;
}

/**
 * Any text as one safe line for a header or a reply: CR, LF, NUL, other controls and line separators become one
 * blank, so that nothing can start a field of its own. At most `max` characters.
 */
export function safeText(text: string, max: number): string {
  const line = text
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .trim();
  // Half of a surrogate pair would not be text any more.
  return line.length <= max ? line : `${line.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** RFC 5322, 3.3, in UTC: `Tue, 24 Nov 2026 08:00:00 +0000`. */
export function formatDate(date: Date): string {
  return date.toUTCString().replace(/GMT$/, '+0000');
}

const LF = 0x0a;
const CR = 0x0d;

/** `name:` with blanks, or one line break, before the colon. */
const FIELD_START = /^[\x21-\x39\x3b-\x7e]+[ \t\r\n]*:/;

function startsField(bytes: Buffer, start: number, next: number): boolean {
  const line = bytes.toString('latin1', start, next);
  if (FIELD_START.test(line)) return true;
  if (line.includes(':') || !/^[\x21-\x39\x3b-\x7e]+[ \t]*\r?\n$/.test(line)) return false;
  const lf = bytes.indexOf(LF, next);
  return /^[ \t]*:/.test(bytes.toString('latin1', next, lf < 0 ? bytes.length : lf));
}

function field(raw: Buffer): HeaderField {
  const colon = raw.indexOf(':');
  return { name: colon < 0 ? '' : raw.toString('latin1', 0, colon).replace(/\r?\n/g, '').trim(), raw };
}

function fromQ(data: string): Buffer {
  const text = data
    .replace(/_/g, ' ')
    .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(text, 'latin1');
}

/** RFC 8601, 2.2: `[CFWS] authserv-id`, a token or a quoted string; null when there is none to be read. */
function readAuthservId(body: string): string | null {
  const rest = skipComments(body);
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(rest);
  if (quoted) return quoted[1]!.replace(/\\(.)/g, '$1');
  return /^[^\s;()"]+/.exec(rest)?.[0] ?? null;
}

function skipComments(text: string): string {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '\\' && depth > 0) i++;
    else if (char === '(') depth++;
    else if (char === ')' && depth > 0) depth--;
    else if (depth === 0 && !/\s/.test(char)) return text.slice(i);
  }
  return '';
}

/** A word too long for any line is cut by force: RFC 5322 has no other way. */
function chop(word: string): string[] {
  const max = MAX_LINE - 100;
  if (Buffer.byteLength(word) <= max) return [word];
  const pieces: string[] = [];
  let piece = '';
  for (const char of word) {
    if (Buffer.byteLength(piece) + Buffer.byteLength(char) > max) {
      pieces.push(piece);
      piece = '';
    }
    piece += char;
  }
  return [...pieces, piece];
}
