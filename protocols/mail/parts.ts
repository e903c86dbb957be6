/**
 * The parts of a MIME message that are no containers (RFC 2045, RFC 2046), found in its bytes and decoded in pieces: an
 * attachment of 18 MiB costs no memory beside the message. Lenient: what is broken is a part with what can be read of it.
 */
import { decodeHeaderText, fieldBody, splitHeader, type HeaderField } from './header.ts';

export interface MessagePart {
  /** Where it is, such as `2` or `1.3`; `1` for a message of one part. */
  path: string;
  /** Lower case, without parameters. */
  type: string;
  /** As it is to be shown, at most 200 characters; untrusted. */
  name: string | null;
  /** A body that people read, not a file: text without a name that is not marked as an attachment. */
  isBody: boolean;
  /** Transfer encoding undone, in pieces. */
  decoded(): Generator<Buffer>;
  /** Of the fields of a failure report: the header of the message that it is about, where it has that beside it. */
  reported?: Buffer;
}

/** Containers in containers; mail programs make three. */
const MAX_NESTING = 10;
const NAME_CHARACTERS = 200;
/** Bytes of a header that are looked at. The guard limits that of the message; parts have some hundred. */
const HEADER_BYTES = 262_144;
const PART_HEADER_BYTES = 16_384;
/** Bytes of the header of a message that was reported: servers take no more. */
const REPORTED_HEADER_BYTES = 65_536;
const DEFAULT_TYPE = 'text/plain';

/** A generator, so that whoever counts can stop at any part. */
export function* messageParts(message: Buffer): Generator<MessagePart> {
  yield* partsOf(message, '', 0, DEFAULT_TYPE);
}

function* partsOf(bytes: Buffer, path: string, depth: number, defaultType: string): Generator<MessagePart> {
  const { fields, bodyOffset } = splitHeader(bytes.subarray(0, depth === 0 ? HEADER_BYTES : PART_HEADER_BYTES));
  const content = readContent(fields, defaultType);
  const body = bytes.subarray(bodyOffset);
  const { type, boundary } = content;
  if (depth < MAX_NESTING && type.startsWith('multipart/') && boundary) {
    let number = 0;
    // A failure report has the message that failed in it, which is no report (RFC 6591, 3).
    let isFeedback = false;
    let feedback: MessagePart | undefined;
    for (const part of split(body, boundary)) {
      number += 1;
      const inner = readContent(splitHeader(part.subarray(0, PART_HEADER_BYTES)).fields, DEFAULT_TYPE).type;
      isFeedback ||= inner === 'message/feedback-report';
      const isReported = isFeedback && REPORTED.has(inner);
      if (feedback) yield isReported ? { ...feedback, reported: reportedHeader(part) } : feedback;
      feedback = undefined;
      if (isReported) continue;
      const partType = type === 'multipart/digest' ? 'message/rfc822' : DEFAULT_TYPE;
      const parts = partsOf(part, path === '' ? String(number) : `${path}.${number}`, depth + 1, partType);
      // The message that it is about is the part after it (RFC 6591, 3).
      if (inner === 'message/feedback-report') feedback = parts.next().value ?? undefined;
      else yield* parts;
    }
    if (feedback) yield feedback;
    return;
  }
  // A mail that was forwarded as an attachment. RFC 2046, 5.2.1 allows it no encoding; mail programs break that.
  if (depth < MAX_NESTING && depth > 0 && type === 'message/rfc822') {
    yield* partsOf(Buffer.concat([...decode(body, content.encoding)]), path, depth + 1, DEFAULT_TYPE);
    return;
  }
  yield {
    path: path === '' ? '1' : path,
    type,
    name: content.name,
    isBody: content.name === null && !content.isAttachment && type.startsWith('text/'),
    decoded: () => decode(body, content.encoding),
  };
}

const REPORTED: ReadonlySet<string> = new Set(['message/rfc822', 'text/rfc822-headers']);

function reportedHeader(part: Buffer): Buffer {
  const { fields, bodyOffset } = splitHeader(part.subarray(0, PART_HEADER_BYTES));
  const { encoding } = readContent(fields, DEFAULT_TYPE);
  const begun: Buffer[] = [];
  let size = 0;
  for (const piece of decode(part.subarray(bodyOffset), encoding)) {
    begun.push(piece);
    size += piece.length;
    if (size >= REPORTED_HEADER_BYTES) break;
  }
  const message = Buffer.concat(begun).subarray(0, REPORTED_HEADER_BYTES);
  return message.subarray(0, splitHeader(message).bodyOffset);
}

interface Content {
  type: string;
  boundary: string | undefined;
  encoding: string;
  name: string | null;
  isAttachment: boolean;
}

function readContent(fields: HeaderField[], defaultType: string): Content {
  const body = (name: string): string => {
    const field = fields.find((one) => one.name.toLowerCase() === name);
    return field ? fieldBody(field.raw) : '';
  };
  const [type, parameters] = readParameters(body('content-type'));
  const [disposition, more] = readParameters(body('content-disposition'));
  const name = more.get('filename') ?? parameters.get('name') ?? null;
  return {
    type: MEDIA_TYPE.test(type) ? type : defaultType,
    boundary: parameters.get('boundary'),
    encoding: body('content-transfer-encoding')
      .toLowerCase()
      .replace(/[\s;(].*$/, ''),
    name: name === null ? null : decodeHeaderText(name).slice(0, NAME_CHARACTERS),
    isAttachment: disposition === 'attachment',
  };
}

/** RFC 6838, 4.2, with its lengths. */
const MEDIA_TYPE = /^[\w.+-]{1,127}\/[\w.+-]{1,127}$/;
const PARAMETER = /;\s*([^\s=;"]{1,60})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))/g;

/** The value in lower case and its parameters, with those of RFC 2231 (in pieces, in percent form) put together. */
function readParameters(text: string): [string, Map<string, string>] {
  const value = (/^[^;]*/.exec(text)?.[0] ?? '').trim().toLowerCase();
  const parameters = new Map<string, string>();
  for (const [, key = '', quoted, plain] of text.matchAll(PARAMETER)) {
    const [name = '', ...pieces] = key.toLowerCase().split('*');
    const raw = quoted?.replace(/\\(.)/g, '$1') ?? plain?.trim() ?? '';
    const isPercent = pieces.length > 0 && key.endsWith('*');
    const isPiece = pieces.some((piece) => /^\d+$/.test(piece));
    const readable = isPercent ? fromPercent(raw) : raw;
    if (isPiece) parameters.set(name, (parameters.get(name) ?? '') + readable);
    else if (!parameters.has(name) || isPercent) parameters.set(name, readable);
  }
  return [value, parameters];
}

/** RFC 2231, 4: `charset'language'` before the text, once. */
function fromPercent(raw: string): string {
  const [, charset = 'utf-8', text = raw] = /^([\w-]*)'[\w-]*'(.*)$/s.exec(raw) ?? [];
  const bytes = Buffer.from(
    text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  );
  try {
    return new TextDecoder(charset || 'utf-8').decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}

const LF = 0x0a;
const CR = 0x0d;

/** What lies between the lines of the boundary (RFC 2046, 5.1.1); without the last one, to the end. */
function* split(body: Buffer, boundary: string): Generator<Buffer> {
  const delimiter = Buffer.from(`--${boundary}`);
  let start = -1;
  for (let at = body.indexOf(delimiter); at >= 0; at = body.indexOf(delimiter, at + delimiter.length)) {
    if (at > 0 && body[at - 1] !== LF) continue;
    const rest = at + delimiter.length;
    const lineEnd = body.indexOf(LF, rest);
    const tail = body.subarray(rest, lineEnd < 0 ? body.length : lineEnd).toString('latin1');
    const isLast = tail.startsWith('--');
    // Another boundary that begins with this one.
    if (!isLast && tail.trim() !== '') continue;
    if (start >= 0) yield body.subarray(start, Math.max(start, endBefore(body, at)));
    if (isLast || lineEnd < 0) return;
    start = lineEnd + 1;
  }
  if (start >= 0) yield body.subarray(start);
}

/** The line break before a boundary belongs to it. */
function endBefore(body: Buffer, at: number): number {
  if (at > 0 && body[at - 1] === LF) return at > 1 && body[at - 2] === CR ? at - 2 : at - 1;
  return at;
}

/** Bytes that are decoded at once. */
const PIECE = 65_536;

function* decode(body: Buffer, encoding: string): Generator<Buffer> {
  if (encoding === 'base64') return yield* fromBase64(body);
  if (encoding === 'quoted-printable') return yield* fromQuotedPrintable(body);
  // Mailers that forget to say so: the first characters of a gzip or a zip in base64, which no text begins with.
  if (/^\s*(H4sI|UEsDB)[\w+/]{10}/.test(body.subarray(0, 40).toString('latin1'))) return yield* fromBase64(body);
  for (let from = 0; from < body.length; from += PIECE) yield body.subarray(from, from + PIECE);
}

function* fromBase64(body: Buffer): Generator<Buffer> {
  let held = '';
  for (let from = 0; from < body.length; from += PIECE) {
    held += body
      .subarray(from, from + PIECE)
      .toString('latin1')
      .replace(/[^A-Za-z0-9+/=]/g, '');
    const whole = held.length - (held.length % 4);
    if (whole > 0) yield Buffer.from(held.slice(0, whole), 'base64');
    held = held.slice(whole);
  }
  if (held !== '') yield Buffer.from(held, 'base64');
}

function* fromQuotedPrintable(body: Buffer): Generator<Buffer> {
  for (let from = 0; from < body.length;) {
    // Pieces end with a line, so that no escape is cut.
    const lineEnd = body.indexOf(LF, Math.min(from + PIECE, body.length));
    const to = lineEnd < 0 ? body.length : lineEnd + 1;
    const text = body
      .subarray(from, to)
      .toString('latin1')
      .replace(/(?<![ \t])[ \t]+(?=\r?\n|$)/g, '')
      .replace(/=\r?\n/g, '')
      .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    yield Buffer.from(text, 'latin1');
    from = to;
  }
}
