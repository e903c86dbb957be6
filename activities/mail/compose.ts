/**
 * The message as it leaves: new header fields on top, forged Authentication-Results of ours taken out, the rest
 * byte for byte as it came. Signing and sending read the same stream, so what was signed is what is sent.
 */
import { Readable } from 'node:stream';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { removeAuthenticationResults, splitHeader } from '../../protocols/mail/header.ts';

export interface Composition {
  /** Key of the message blob. */
  key: string;
  /** The message itself, where it is in memory. */
  bytes?: Uint8Array;
  /** Header fields to put on top, each ending in CRLF; '' for none. */
  prepend: string;
  /** Our authserv-id: fields that claim it came from outside and are removed (RFC 8601, section 5). */
  authservId: string;
}

/** The end of the header section, at most this far into the message; the guard refuses longer ones at the door. */
const HEADER_WINDOW = 1_048_576;

/** Opens the composed message as a stream of bytes. */
export async function openComposed(blobs: BlobStore, composition: Composition): Promise<Readable> {
  if (composition.bytes)
    return Readable.from([composed(asBuffer(composition.bytes), composition)], { objectMode: false });
  const source = await blobs.read(composition.key);
  return Readable.from(compose(source, composition), { objectMode: false });
}

async function* compose(source: Readable, { prepend, authservId }: Composition): AsyncGenerator<Buffer> {
  if (prepend !== '') yield Buffer.from(prepend, 'utf8');
  let head: Buffer = Buffer.alloc(0);
  let inHeader = true;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    if (!inHeader) {
      yield chunk;
      continue;
    }
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    if (head.includes('\r\n\r\n') || head.length > HEADER_WINDOW) {
      inHeader = false;
      yield* withoutForged(head, authservId);
    }
  }
  if (inHeader && head.length > 0) yield* withoutForged(head, authservId);
}

/** The whole of a message that is in memory. */
function composed(message: Buffer, { prepend, authservId }: Composition): Buffer {
  return Buffer.concat([Buffer.from(prepend, 'utf8'), ...withoutForged(message, authservId)]);
}

/** The same bytes. A Buffer comes out of another thread as a plain array. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function* withoutForged(head: Buffer, authservId: string): Generator<Buffer> {
  const { fields } = splitHeader(head);
  const kept = removeAuthenticationResults(fields, authservId);
  if (kept.length === fields.length) {
    yield head;
    return;
  }
  for (const field of kept) yield field.raw;
  yield head.subarray(fields.reduce((sum, field) => sum + field.raw.length, 0));
}
