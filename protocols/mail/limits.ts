/**
 * The guard at the door: it reads a message as it streams in and refuses what no parser behind it may see. One
 * message can cost a mail parser minutes of CPU (a folded header of 128 KB, a body without line ends, thousands
 * of signatures), and bytes on which two programs disagree are how one message is smuggled inside another.
 *
 * It takes the message as SMTP hands it over: dot-stuffing undone, the end-of-data line gone. One pass, constant
 * memory, and the same result however the bytes are cut into chunks.
 *
 * The header section ends where mailauth ends it, at the first empty line (RFC 5322, 2.1), and a line that does
 * not look like a field belongs to the field above it: a difference here would be a way around the limits.
 */
import { PermanentError } from '../errors.ts';

/** What the configuration allows (`mail.limits`); bytes and counts. */
export interface MessageLimits {
  headerBytes: number;
  headerLines: number;
  /** One field with its folded lines. */
  headerFieldBytes: number;
  /** One body line without its CRLF. */
  bodyLineBytes: number;
  /** DKIM-Signature fields. */
  signatures: number;
  /** Received fields. */
  hops: number;
  /** ARC-Seal fields: every forwarder adds one, and RFC 8617, 4.2.1 has no more than 50. @default 50 */
  arcSets?: number;
  /** Blanks in a row in the header, folds among them. @default 1,000 */
  blanks?: number;
}

/** For what was accepted once and is not refused now, whatever the limits have become since. */
export const UNLIMITED: MessageLimits = {
  headerBytes: Infinity,
  headerLines: Infinity,
  headerFieldBytes: Infinity,
  bodyLineBytes: Infinity,
  signatures: Infinity,
  hops: Infinity,
  arcSets: Infinity,
  blanks: Infinity,
};

/** What was learned on the way. */
export interface MessageFacts {
  /** Size of the header section with the empty line that ends it. */
  headerBytes: number;
  /** A byte over 127 in the body: needs 8BITMIME (RFC 6152). */
  eightBit: boolean;
  /** A byte over 127 in the header: needs SMTPUTF8 (RFC 6531). */
  utf8Header: boolean;
  receivedCount: number;
  /** The message ends with CRLF, or is empty. */
  hasFinalCrlf: boolean;
}

export interface MessageGuard {
  /**
   * @throws PermanentError `smtp.bare_newline`, `smtp.nul`, `mail.header_too_large`, `mail.header_lines`,
   * `mail.header_blanks`, `mail.header_field_too_large`, `mail.line_too_long`, `mail.too_many_signatures`, `mail.loop`; its details hold
   * `reply` and `enhanced` for the SMTP answer. After one, the guard is spent.
   */
  push(chunk: Uint8Array): void;
  /** @throws PermanentError as `push` does: a CR may be the last byte. */
  end(): MessageFacts;
}

const NUL = 0x00,
  TAB = 0x09,
  LF = 0x0a,
  CR = 0x0d,
  SPACE = 0x20,
  COLON = 0x3a,
  DEL = 0x7f;

const MAX_ARC_SETS = 50;
/** No line is as long (RFC 5322, 2.1.1); 30,000 blanks before the end of a signature's tag cost mailauth a second (measured). */
const MAX_BLANKS = 1_000;

/** Only the names that are counted are told apart, and none is longer. */
const LONGEST_NAME = 'dkim-signature'.length;

/** A guard for one message. */
export function createMessageGuard(limits: MessageLimits): MessageGuard {
  let inHeader = true;
  let afterCr = false;
  /** Bytes of the present line, CR and LF not counted. */
  let lineBytes = 0;
  let total = 0;
  let headerBytes = 0;
  let eightBit = false;
  let utf8Header = false;
  let lastWasLf = false;
  const fields = createFieldCounter(limits);

  function endLine(): void {
    if (inHeader) {
      if (lineBytes === 0) {
        inHeader = false;
        headerBytes = total;
      } else fields.endLine();
    }
    lineBytes = 0;
  }

  /** Takes the bytes of the body from `start` up to one that needs a look, and returns where that is: nearly all of a message is this. */
  function bodyRun(chunk: Uint8Array, start: number): number {
    let seen = 0;
    let i = start;
    for (; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte <= CR && (byte === CR || byte === LF || byte === NUL)) break;
      seen |= byte;
    }
    if (i === start) return i;
    if (seen > 127) eightBit = true;
    total += i - start;
    lastWasLf = false;
    lineBytes += i - start;
    if (lineBytes > limits.bodyLineBytes) throw lineTooLong(limits.bodyLineBytes);
    return i;
  }

  function push(chunk: Uint8Array): void {
    for (let i = 0; i < chunk.length; i++) {
      if (!inHeader && !afterCr) {
        i = bodyRun(chunk, i);
        if (i === chunk.length) return;
      }
      const byte = chunk[i]!;
      total++;
      if (inHeader && total > limits.headerBytes) throw tooLarge(limits.headerBytes);
      lastWasLf = byte === LF;
      if (afterCr) {
        if (byte !== LF) throw bareNewline('CR');
        afterCr = false;
        endLine();
      } else if (byte === CR) afterCr = true;
      else if (byte === LF) throw bareNewline('LF');
      else if (byte === NUL) throw nul();
      else {
        lineBytes++;
        if (byte > 127) utf8Header = true;
        fields.byte(byte);
      }
    }
  }

  function end(): MessageFacts {
    if (afterCr) throw bareNewline('CR');
    if (inHeader && lineBytes > 0) fields.endLine();
    return {
      headerBytes: inHeader ? total : headerBytes,
      eightBit,
      utf8Header,
      receivedCount: fields.received(),
      hasFinalCrlf: total === 0 || lastWasLf,
    };
  }

  return { push, end };
}

/**
 * Finds where fields start and counts them, byte by byte, CR and LF left out. A field starts with `name:`, blanks
 * allowed before the colon (RFC 5322, 4.5.8); any other line continues the field above. mailauth lets a line break
 * stand before the colon too: such a field is counted by its name, and its size is added to the field above, which
 * is stricter than either reading.
 */
function createFieldCounter(limits: MessageLimits) {
  let state: 'start' | 'name' | 'blanks' | 'rest' = 'start';
  let name = '';
  /** The line above when it was a name and nothing else. */
  let bareName = '';
  let lineBytes = 0;
  let fieldBytes = 0;
  let lines = 0;
  let signatures = 0;
  let received = 0;
  let seals = 0;
  let blanksInRow = 0;
  const { arcSets = MAX_ARC_SETS, blanks = MAX_BLANKS } = limits;

  function grow(bytes: number): void {
    fieldBytes += bytes;
    if (fieldBytes > limits.headerFieldBytes) throw fieldTooLarge(limits.headerFieldBytes);
  }

  function decided(): void {
    state = 'rest';
    grow(lineBytes);
  }

  function count(field: string): void {
    const lower = field.toLowerCase();
    if (lower === 'dkim-signature' && ++signatures > limits.signatures) throw tooManySignatures(limits.signatures);
    if (lower === 'received' && ++received > limits.hops) throw loop(limits.hops);
    if (lower === 'arc-seal' && ++seals > arcSets) throw loop(arcSets);
  }

  function byte(value: number): void {
    if (value !== SPACE && value !== TAB) blanksInRow = 0;
    else if (++blanksInRow > blanks) throw tooManyBlanks(blanks);
    if (state === 'rest') return grow(1);
    lineBytes++;
    if (value === SPACE || value === TAB) {
      if (state === 'name') state = 'blanks';
      else if (state === 'start' && bareName === '') decided();
    } else if (value === COLON) {
      if (state === 'start') count(bareName);
      else {
        count(name);
        fieldBytes = 0;
      }
      decided();
    } else if (value > SPACE && value < DEL && (state === 'name' || (state === 'start' && lineBytes === 1))) {
      state = 'name';
      if (name.length <= LONGEST_NAME) name += String.fromCharCode(value);
    } else decided();
  }

  function endLine(): void {
    if (++lines > limits.headerLines) throw tooManyLines(limits.headerLines);
    bareName = state === 'name' || state === 'blanks' ? name : '';
    if (state !== 'rest') decided();
    state = 'start';
    name = '';
    lineBytes = 0;
  }

  return { byte, endLine, received: () => received };
}

const refusal = (code: string, reply: number, enhanced: string, message: string, fix: string): PermanentError =>
  new PermanentError({ code, message, fix, details: { reply, enhanced } });

// RFC 5321, 2.3.8: CR and LF stand only together. The reply is the one that postfix gives (smtpd_forbid_bare_newline).
const bareNewline = (which: 'CR' | 'LF') =>
  refusal(
    'smtp.bare_newline',
    550,
    '5.5.2',
    `The message has a bare ${which} in it.`,
    'End every line with CRLF (RFC 5321, 2.3.8).',
  );
const nul = () =>
  refusal('smtp.nul', 550, '5.6.0', 'The message has a NUL byte in it.', 'Encode binary data (RFC 5322, 2.2 and 4).');
const tooLarge = (max: number) =>
  refusal(
    'mail.header_too_large',
    552,
    '5.3.4',
    `The header is larger than ${max} bytes.`,
    'Send a smaller header, or raise mail.limits.headerBytes.',
  );
const tooManyLines = (max: number) =>
  refusal(
    'mail.header_lines',
    550,
    '5.6.0',
    `The header has more than ${max} lines.`,
    'Send fewer header lines, or raise mail.limits.headerLines.',
  );
const tooManyBlanks = (max: number) =>
  refusal(
    'mail.header_blanks',
    550,
    '5.6.0',
    `The header has more than ${max} blanks in a row.`,
    'Send header fields without padding.',
  );
const fieldTooLarge = (max: number) =>
  refusal(
    'mail.header_field_too_large',
    550,
    '5.6.0',
    `A header field is larger than ${max} bytes.`,
    'Send a shorter field, or raise mail.limits.headerFieldBytes.',
  );
const lineTooLong = (max: number) =>
  refusal(
    'mail.line_too_long',
    550,
    '5.6.0',
    `A line of the body is longer than ${max} bytes.`,
    'Encode the body in lines of at most 998 bytes (RFC 5322, 2.1.1).',
  );
const tooManySignatures = (max: number) =>
  refusal(
    'mail.too_many_signatures',
    550,
    '5.7.1',
    `The message has more than ${max} DKIM signatures.`,
    'Send fewer signatures, or raise mail.limits.signatures.',
  );
const loop = (max: number) =>
  refusal(
    'mail.loop',
    554,
    '5.4.6',
    `The message has passed more than ${max} hosts: it goes in a circle.`,
    'Look for two rules that forward to each other (RFC 5321, 6.3).',
  );
