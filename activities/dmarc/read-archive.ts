/**
 * What there is to import: one file, the files of a tar archive, the mails of each mbox and the files of each archive
 * among them, told apart by their bytes. Read as a stream from any entry on; what is held is one entry, and never a large
 * one.
 */
import { PermanentError } from '../../protocols/errors.ts';
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
import { HEAD_BYTES, kindOf, type EntryKind } from './entry-kind.ts';
import { packedFiles, type PackedFiles } from './packed-files.ts';
import { once, part } from './pieces.ts';

type Bytes = AsyncIterable<Uint8Array>;

/** What is read, from any byte on. */
export interface Archive {
  /** Bytes; where nobody knows, more than there can be. */
  size: number;
  read(from: number): Promise<Bytes>;
}

export interface ArchiveLimits {
  /** Bytes of an entry that are held in memory. */
  held: number;
  /** Files of a zip that is one report. */
  members: number;
}

/** Where a file ends, what it is called, and its time. */
interface File {
  end: number;
  name: string | null;
  modifiedAt: number | null;
}

/** Where an entry begins. The bytes before it are done with. */
export interface Place {
  at: number;
  /** The mailbox that it lies in. */
  mailbox: File | null;
  /** The archive at that byte that it lies in, and where: in which of its files, and there. */
  inside?: (File & { member: number; place: Pick<Place, 'at' | 'mailbox'> }) | null;
}

export const BEGIN: Place = { at: 0, mailbox: null };

export interface Entry {
  /** As people find it: the path in the archive, and of a mail in a mailbox the byte where it begins. Untrusted text. */
  name: string | null;
  kind: EntryKind;
  /** Null where it is larger than `held`. */
  bytes: Buffer | null;
  /** Its bytes where they are not held, but of a mail of a mailbox. */
  read(): Promise<Bytes>;
  /** Names it in what is read: the byte where it begins, and where in an archive there. */
  id: string;
  size: number;
  /** Seconds since 1970; null where nothing says it. */
  modifiedAt: number | null;
  /** Where the next one begins. */
  next: Place;
  /** It is an archive of files that cannot be read to its end, and why. What was read of it counts. */
  refusal?: PermanentError;
}

/**
 * @param limits without `members` archives in it are not looked into
 * @throws PermanentError `archive.broken`; errors of the archive pass through
 */
export async function* readArchive(
  archive: Archive,
  from: Place,
  limits: Pick<ArchiveLimits, 'held'> & Partial<ArchiveLimits>,
): AsyncGenerator<Entry> {
  const first = await firstBytes(archive, 0, TAR_BLOCK);
  // One without files has its end alone.
  const isPacked = isTar(first) || (first.length === TAR_BLOCK && first.every((byte) => byte === 0));
  let at = from.at;
  const within = from.inside ?? from.mailbox;
  if (within) {
    const { end, name, modifiedAt } = within;
    const after = { at: isPacked ? nextBlock(end) : end, mailbox: null };
    const extent = { at, end, name, modifiedAt, after };
    if (!from.inside) yield* mailsOf(archive, extent, limits.held);
    else {
      const whole = rangeOf(archive, extent);
      const files = await filesIn(whole, await firstBytes(whole, 0, HEAD_BYTES), limits);
      if (files) yield* packedOf(files, whole, extent, limits, from.inside);
    }
    ({ at } = after);
    if (!isPacked) return;
  }
  if (isPacked) yield* membersOf(archive, at, limits);
  else if (at === 0) yield* entriesOf(archive, { at: 0, end: archive.size, name: null, modifiedAt: null }, limits);
}

type Limits = Parameters<typeof readArchive>[2];

/** Bytes of a file in the archive. */
interface Extent extends File {
  at: number;
  /** What comes after it. */
  after?: Place;
}

/** The files of a tar archive. Small ones come out of one stream: to ask for each by itself would be slow. */
async function* membersOf(archive: Archive, from: number, limits: Limits): AsyncGenerator<Entry> {
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
        if (size <= limits.held && !isMbox(first)) {
          const bytes = await reader.take(size);
          if (bytes.length < size) throw brokenArchive(`${name} is cut off`);
          yield* heldEntries(bytes, extent, first, limits);
        } else {
          await reader.close();
          yield* entriesOf(archive, extent, limits);
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
async function* entriesOf(archive: Archive, extent: Extent, limits: Limits): AsyncGenerator<Entry> {
  const whole = rangeOf(archive, extent);
  const { size } = whole;
  const first = await firstBytes(whole, 0, Math.min(HEAD_BYTES, size));
  if (isMbox(first)) return yield* mailsOf(archive, extent, limits.held);
  if (size <= limits.held) return yield* heldEntries(await firstBytes(whole, 0, size), extent, first, limits);
  const files = await filesIn(whole, first, limits);
  if (files) yield* packedOf(files, whole, extent, limits);
  else yield entryOf(whole, extent, null, first);
}

async function* heldEntries(bytes: Buffer, extent: Extent, first: Buffer, limits: Limits): AsyncGenerator<Entry> {
  const whole: Archive = { size: bytes.length, read: async (from) => once(bytes.subarray(from)) };
  const files = await filesIn(whole, first, limits);
  if (files) yield* packedOf(files, whole, extent, limits);
  else yield entryOf(whole, extent, bytes, first);
}

function entryOf(
  whole: Archive,
  { at, end, name, modifiedAt, after }: Extent,
  bytes: Buffer | null,
  first: Buffer,
): Entry {
  const next = after ?? { at: end, mailbox: null };
  const read = () => whole.read(0);
  return { name, kind: kindOf(first), bytes, read, id: `${at}`, size: end - at, modifiedAt, next };
}

const filesIn = async (whole: Archive, first: Buffer, { held, members }: Limits): Promise<PackedFiles | undefined> =>
  members === undefined ? undefined : packedFiles(whole, first, { held, members });

/**
 * What lies in an archive in the archive. Where a file of it, or the archive itself, cannot be read to its end, the whole
 * of it is an entry, with the reason.
 */
async function* packedOf(
  files: PackedFiles,
  whole: Archive,
  extent: Extent,
  { held }: Limits,
  from: Pick<NonNullable<Place['inside']>, 'member' | 'place'> = { member: 0, place: BEGIN },
): AsyncGenerator<Entry> {
  const { at, end, name, modifiedAt } = extent;
  const called = (...names: (string | null)[]) => [name, ...names].filter((one) => one !== null).join(': ') || null;
  const inside = (member: number, { at: byte, mailbox }: Place): Place => ({
    ...{ at, mailbox: null },
    inside: { end, name, modifiedAt, member, place: { at: byte, mailbox } },
  });
  const broken = (thrown: unknown): Entry => {
    if (!(thrown instanceof PermanentError) || thrown.code.startsWith('blob.')) throw thrown;
    return { ...entryOf(whole, extent, null, Buffer.alloc(0)), kind: 'report', refusal: thrown };
  };
  try {
    for await (const { member, name: inner, archive } of files(from.member)) {
      const begin = member === from.member ? from.place : BEGIN;
      try {
        for await (const entry of readArchive(archive, begin, { held }))
          yield {
            ...entry,
            name: called(inner, entry.name),
            id: `${at}/${member}/${entry.id}`,
            modifiedAt: entry.modifiedAt ?? modifiedAt,
            next: inside(member, entry.next),
          };
      } catch (thrown) {
        yield { ...broken(thrown), name: called(inner), next: inside(member + 1, BEGIN) };
      }
    }
  } catch (thrown) {
    yield broken(thrown);
  }
}

const rangeOf = (archive: Archive, { at, end }: Pick<Extent, 'at' | 'end'>): Archive => ({
  size: end - at,
  read: async (from) => part(await archive.read(at + from), end - at - from),
});

async function* mailsOf(archive: Archive, extent: Extent, held: number): AsyncGenerator<Entry> {
  const { at, end, name, modifiedAt, after = { at: end, mailbox: null } } = extent;
  const source = part(await archive.read(at), end - at);
  for await (const message of readMbox(source, held)) {
    const begin = at + message.at;
    const until = at + message.end;
    const next = until < end ? { at: until, mailbox: { end, name, modifiedAt } } : after;
    const place = `${name === null ? '' : `${name}, `}mail at byte ${begin}`;
    const size = until - begin;
    const read = async () => part(await archive.read(begin), size);
    yield { name: place, kind: 'mail', bytes: message.bytes, read, id: `${begin}`, size, modifiedAt, next };
  }
}

async function firstBytes(archive: Archive, at: number, size: number): Promise<Buffer> {
  const reader = await Reader.open(archive, at);
  try {
    return await reader.take(size);
  } finally {
    await reader.close();
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
