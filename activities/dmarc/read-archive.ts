/**
 * What there is to import: one file, the files of a tar archive, and the mails of each mbox among them, told apart by
 * their bytes. Read as a stream from any entry on; what is held is one entry, and never a large one.
 */
import { detectFormat, DETECT_BYTES, type Format } from '../../protocols/dmarc/detect.ts';
import { isMbox, readMbox } from '../../protocols/mail/mbox.ts';
import {
  brokenArchive,
  isTar,
  MAX_TAR_EXTENSION,
  readTarExtension,
  readTarHead,
  TAR_BLOCK,
  tarSpan,
  type TarHead,
  type TarMember,
} from '../../protocols/tar.ts';

type Bytes = AsyncIterable<Uint8Array>;

/** What is read, from any byte on. */
export interface Archive {
  /** Bytes. */
  size: number;
  read(from: number): Promise<Bytes>;
}

/** Where an entry begins. The bytes before it are done with. */
export interface Place {
  at: number;
  /** The mailbox that it lies in: where that ends, what it is called, and the time of the file. */
  mailbox: { end: number; name: string | null; modifiedAt: number | null } | null;
}

export const BEGIN: Place = { at: 0, mailbox: null };

export interface Entry {
  /** As people find it: the path in the archive, and of a mail in a mailbox the byte where it begins. Untrusted text. */
  name: string | null;
  kind: 'mail' | 'report' | 'other';
  /** Null where it is larger than `held`; then it is `size` bytes from `at`, if it is no mail of a mailbox. */
  bytes: Buffer | null;
  at: number;
  size: number;
  /** Seconds since 1970; null where nothing says it. */
  modifiedAt: number | null;
  /** Where the next one begins. */
  next: Place;
}

/**
 * @param held bytes of an entry that are held in memory
 * @throws PermanentError `archive.broken`; errors of the archive pass through
 */
export async function* readArchive(archive: Archive, from: Place, held: number): AsyncGenerator<Entry> {
  const isPacked = isTar(await firstBytes(archive, 0, TAR_BLOCK));
  let at = from.at;
  if (from.mailbox) {
    const { end, name, modifiedAt } = from.mailbox;
    const after = { at: isPacked ? nextBlock(end) : end, mailbox: null };
    yield* mailsOf(archive, { at, end, name, modifiedAt, after }, held);
    ({ at } = after);
  }
  if (!isPacked) {
    if (at === 0) yield* entriesOf(archive, { at: 0, end: archive.size, name: null, modifiedAt: null }, held);
    return;
  }
  yield* membersOf(archive, at, held);
}

/** Bytes of a file in the archive. */
interface Extent {
  at: number;
  end: number;
  name: string | null;
  modifiedAt: number | null;
  /** What comes after it. */
  after?: Place;
}

/** The files of a tar archive. Small ones come out of one stream: to ask for each by itself would be slow. */
async function* membersOf(archive: Archive, from: number, held: number): AsyncGenerator<Entry> {
  let reader = await Reader.open(archive, from);
  let said: Partial<Pick<TarMember, 'name' | 'size'>> = {};
  try {
    for (;;) {
      const begin = reader.at;
      const block = await reader.take(TAR_BLOCK);
      // Programs are lax about the blocks of zeros; what is between them is not to be lost.
      if (block.length === 0) return;
      const head = readTarHead(block);
      if (!head) continue;
      const size = said.size ?? head.size;
      const end = begin + TAR_BLOCK + size;
      const next = begin + tarSpan(size);
      if (!Number.isSafeInteger(next) || end > archive.size) throw brokenArchive(`${nameOf(head, said)} is cut off`);
      if (head.type === 'extension') {
        if (size > MAX_TAR_EXTENSION) throw brokenArchive('a name in it is too long');
        said = { ...said, ...readTarExtension(block, await reader.take(size)) };
        await reader.skipTo(next);
        continue;
      }
      const name = nameOf(head, said);
      said = {};
      if (head.type === 'file') {
        const extent: Extent = { at: begin + TAR_BLOCK, end, name, modifiedAt: head.modifiedAt };
        extent.after = { at: next, mailbox: null };
        const first = await reader.peek(Math.min(size, HEAD_BYTES));
        if (size <= held && !isMbox(first)) {
          yield entryOf(extent, await reader.take(size), first);
        } else {
          await reader.close();
          yield* entriesOf(archive, extent, held);
          reader = await Reader.open(archive, next);
        }
      }
      await reader.skipTo(next);
    }
  } finally {
    await reader.close();
  }
}

const nameOf = (head: TarHead, said: Partial<TarMember>): string => said.name ?? head.name;
const nextBlock = (at: number): number => Math.ceil(at / TAR_BLOCK) * TAR_BLOCK;

/** A file by itself: a mailbox, or one entry. */
async function* entriesOf(archive: Archive, extent: Extent, held: number): AsyncGenerator<Entry> {
  const { at, end } = extent;
  const first = await firstBytes(archive, at, Math.min(HEAD_BYTES, end - at));
  if (isMbox(first)) return yield* mailsOf(archive, extent, held);
  yield entryOf(extent, end - at > held ? null : await firstBytes(archive, at, end - at), first);
}

function entryOf({ at, end, name, modifiedAt, after }: Extent, bytes: Buffer | null, first: Buffer): Entry {
  const next = after ?? { at: end, mailbox: null };
  return { name, kind: kindOf(first), bytes, at, size: end - at, modifiedAt, next };
}

async function* mailsOf(archive: Archive, extent: Extent, held: number): AsyncGenerator<Entry> {
  const { at, end, name, modifiedAt, after = { at: end, mailbox: null } } = extent;
  const source = part(await archive.read(at), end - at);
  for await (const message of readMbox(source, held)) {
    const begin = at + message.at;
    const until = at + message.end;
    const next = until < end ? { at: until, mailbox: { end, name, modifiedAt } } : after;
    const place = `${name === null ? '' : `${name}, `}mail at byte ${begin}`;
    const size = until - begin;
    yield { name: place, kind: 'mail', bytes: message.bytes, at: begin, size, modifiedAt, next };
  }
}

/** Enough for the first line of a mailbox and to see what else it is. */
export const HEAD_BYTES = Math.max(DETECT_BYTES, 1_000);
const REPORTS: ReadonlySet<Format> = new Set(['zip', 'gzip', 'xml', 'json', 'feedback']);

/** @param first the first bytes of it, `HEAD_BYTES` where there are as many */
export function kindOf(first: Buffer): Entry['kind'] {
  const format = detectFormat(first);
  const text = first.toString('latin1');
  // The fields of a failure report may stand without the mail around them (RFC 5965, 3.1).
  if (format === 'feedback' && !/^(?:from|received|return-path|mime-version)[ \t]*:/im.test(text)) return 'report';
  // The first line of a mail is a field (RFC 5322, 2.2).
  if ((format === 'text' || format === 'feedback') && /^[!-9;-~]+[ \t]*:/.test(text)) return 'mail';
  return REPORTS.has(format) ? 'report' : 'other';
}

async function firstBytes(archive: Archive, at: number, size: number): Promise<Buffer> {
  const reader = await Reader.open(archive, at);
  try {
    return await reader.take(size);
  } finally {
    await reader.close();
  }
}

/** So many bytes of a stream, which is closed then. */
export async function* part(source: Bytes, size: number): AsyncGenerator<Uint8Array> {
  let left = size;
  if (left <= 0) return;
  for await (const chunk of source) {
    yield chunk.length > left ? chunk.subarray(0, left) : chunk;
    left -= chunk.length;
    if (left <= 0) return;
  }
}

/** Bytes by count, out of a stream. */
class Reader {
  at: number;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);

  private constructor(chunks: AsyncIterator<Uint8Array>, at: number) {
    this.#chunks = chunks;
    this.at = at;
  }

  static async open(archive: Archive, at: number): Promise<Reader> {
    return new Reader((await archive.read(at))[Symbol.asyncIterator](), at);
  }

  /** Fewer at the end. */
  async peek(size: number): Promise<Buffer> {
    if (this.#held.length < size) {
      const parts: Uint8Array[] = [this.#held];
      for (let length = this.#held.length; length < size;) {
        const { value, done } = await this.#chunks.next();
        if (done) break;
        parts.push(value);
        length += value.length;
      }
      this.#held = Buffer.concat(parts);
    }
    return this.#held.subarray(0, size);
  }

  async take(size: number): Promise<Buffer> {
    const taken = await this.peek(size);
    this.#held = this.#held.subarray(taken.length);
    this.at += taken.length;
    return taken;
  }

  async skipTo(at: number): Promise<void> {
    while (this.at < at) {
      const { length } = await this.take(Math.min(at - this.at, SKIPPED_AT_ONCE));
      if (length === 0) return;
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

const SKIPPED_AT_ONCE = 65_536;
