/**
 * The files inside what a reporter sent: plain, gzip, or one level of zip, told apart by the bytes. Everything streams
 * and is counted while it is unpacked, so that a bomb ends at the limit and not in memory.
 */
import { pipeline } from 'node:stream';
import { createGunzip, crc32, constants, gunzipSync, inflateRawSync } from 'node:zlib';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { detectFormat, DETECT_BYTES, type Format } from '../../protocols/dmarc/detect.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { REPORT_LIMITS, type ReportLimits } from '../../protocols/dmarc/limits.ts';
import { Warnings } from '../../protocols/dmarc/warnings.ts';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';

export interface ReportFile {
  container: 'zip' | 'gzip' | 'none';
  /** Name inside a zip; none otherwise. Untrusted text. */
  name: string | null;
  /** What its bytes are; never a container. */
  format: Exclude<Format, 'zip' | 'gzip'>;
  /** To be read once, before the next file is asked for. Reading throws the errors of unpacking. */
  bytes: AsyncIterable<Uint8Array>;
  /** What was odd about the packing of it. */
  warnings: Warnings;
}

type Bytes = AsyncIterable<Uint8Array>;

/**
 * @throws PermanentError `dmarc.too_large`, `dmarc.truncated`, `dmarc.broken_archive`, `dmarc.nested_archive`,
 * `dmarc.too_many_members`; errors of `source` pass through
 */
export async function* openReport(source: Bytes, limits: ReportLimits = REPORT_LIMITS): AsyncGenerator<ReportFile> {
  const budget = new Budget(limits.bytes);
  const opened: Peeked[] = [];
  const look = async (bytes: Bytes, size: number): Promise<Peeked> => {
    const peeked = await peek(bytes, size);
    opened.push(peeked);
    return peeked;
  };
  const fileOf = async (
    container: ReportFile['container'],
    name: string | null,
    bytes: Bytes | Uint8Array,
    warnings: Warnings,
  ): Promise<ReportFile> => {
    const { head, all } =
      bytes instanceof Uint8Array ? whole(budget.spend(bytes)) : await look(budget.counted(bytes), DETECT_BYTES);
    const format = detectFormat(head);
    if (format === 'zip' || format === 'gzip')
      throw dmarcError('dmarc.nested_archive', `Inside the ${container} is another archive, a ${format}.`, { name });
    return { container, name, format, bytes: all, warnings };
  };
  try {
    const packed = await look(source, SMALL_PACKED);
    const format = detectFormat(packed.head);
    if (format === 'zip') {
      const collected = await collect(packed.all, limits.packedBytes);
      const bytes = withoutRest(collected);
      const zip = await openZip(bytes, limits);
      for (let entry = await nextEntry(zip); entry; entry = await nextEntry(zip)) {
        const name = entry.fileNameRaw.toString();
        if (name.endsWith('/')) continue;
        // Each its own: the reader adds to them.
        const warnings = new Warnings();
        if (bytes !== collected) warnings.add('trailing_bytes');
        const unpacked = isSmall(entry) ? await unzipSmall(bytes, zip, entry) : unzipStream(zip, entry);
        yield await fileOf('zip', name, unpacked, warnings);
      }
    } else {
      const warnings = new Warnings();
      if (format === 'gzip') yield await fileOf('gzip', null, gunzip(packed, warnings), warnings);
      else yield await fileOf('none', null, packed.ended ? packed.head : packed.all, warnings);
    }
  } finally {
    for (const { close } of opened.reverse()) await close();
  }
}

interface Peeked {
  /** The first bytes. */
  head: Uint8Array;
  /** That they are all. */
  ended: boolean;
  /** The bytes from their beginning, once. */
  all: Bytes;
  /** Ends the source, whether or not it was read. */
  close(): Promise<unknown>;
}

/** Looks at no less than so many bytes, where there are as many. */
async function peek(source: Bytes, size: number): Promise<Peeked> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let length = 0;
  let ended = false;
  while (!ended && length <= size) {
    const { value, done } = await iterator.next();
    if (done) ended = true;
    else {
      first.push(value);
      length += value.length;
    }
  }
  const head = first.length === 1 ? (first[0] as Uint8Array) : Buffer.concat(first);
  async function* all(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
    if (!ended) for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  return { head, ended, all: all(), close: async () => iterator.return?.() };
}

function whole(head: Uint8Array): Pick<Peeked, 'head' | 'all'> {
  async function* all(): AsyncGenerator<Uint8Array> {
    if (head.length > 0) yield head;
  }
  return { head, all: all() };
}

/** Bytes after unpacking, of all files together. */
class Budget {
  readonly #most: number;
  #left: number;

  constructor(most: number) {
    this.#most = most;
    this.#left = most;
  }

  /** @throws PermanentError `dmarc.too_large` */
  spend(bytes: Uint8Array): Uint8Array {
    this.#left -= bytes.length;
    if (this.#left < 0) throw dmarcError('dmarc.too_large', `Unpacked it is larger than ${this.#most} bytes.`);
    return bytes;
  }

  async *counted(source: Bytes): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) yield this.spend(chunk);
  }
}

async function collect(source: Bytes, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > most) throw dmarcError('dmarc.too_large', `The archive is larger than ${most} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** RFC 1952. Most reports are a few KB: a stream of its own costs several times the reading of one. */
function gunzip({ head, ended, all }: Peeked, warnings: Warnings): Bytes | Uint8Array {
  const small = ended ? gunzipSmall(head.subarray(0, endOf(head))) : undefined;
  if (!small) return gunzipStream(withoutFinalLineEnds(all, warnings));
  if (endOf(head) < head.length) warnings.add('trailing_bytes');
  return small;
}

/** What zlib makes room for at once: one byte more than there are said to be, or it makes room a second time. */
const roomFor = (said: number): number => Math.max(said + 1, LEAST_CHUNK);

/** Undefined where it is not small unpacked. */
function gunzipSmall(bytes: Uint8Array): Uint8Array | undefined {
  // What it says of its length (RFC 1952, 2.3.1) is no more than a guess, of how much room to make at once.
  const said = bytes.length < 4 ? 0 : Buffer.from(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).readUInt32LE();
  if (said > SMALL_UNPACKED) return undefined;
  try {
    return gunzipSync(bytes, { maxOutputLength: SMALL_UNPACKED, chunkSize: roomFor(said) });
  } catch (thrown) {
    if ((thrown as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw unpackingError(thrown, 'gzip');
  }
}

async function* gunzipStream(source: Bytes): AsyncGenerator<Uint8Array> {
  const inflated = pipeline(source, createGunzip({ chunkSize: CHUNK }), () => undefined);
  try {
    for await (const chunk of inflated) yield chunk as Uint8Array;
  } catch (thrown) {
    throw unpackingError(thrown, 'gzip');
  }
}

/**
 * Where the line ends at the end of it begin. Some mailers end the data of an attachment with one, which zlib takes for
 * the head of a second stream. The last byte of a stream inside the limits is never one (MAX_REPORT_BYTES).
 */
function endOf(chunk: Uint8Array): number {
  let end = chunk.length;
  while (end > 0 && (chunk[end - 1] === 0x0a || chunk[end - 1] === 0x0d)) end--;
  return end;
}

async function* withoutFinalLineEnds(source: Bytes, warnings: Warnings): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  for await (const chunk of source) {
    const end = endOf(chunk);
    if (end > 0) {
      yield* held;
      held = [];
      yield chunk.subarray(0, end);
    }
    if (end < chunk.length) held.push(chunk.subarray(end));
  }
  if (held.length > 0) warnings.add('trailing_bytes');
}

/** Line ends and NULs after the archive; its end record says how long it is (APPNOTE, 4.3.16). */
function withoutRest(bytes: Buffer): Buffer {
  const at = bytes.lastIndexOf(END_RECORD);
  if (at < 0 || at + 22 > bytes.length) return bytes;
  const end = at + 22 + bytes.readUInt16LE(at + 20);
  if (end >= bytes.length || bytes.subarray(end).some((byte) => byte !== 0 && byte !== 0x0a && byte !== 0x0d))
    return bytes;
  return bytes.subarray(0, end);
}

/** Names are shown, never written to: they need no check, and a wrong one must not cost the report. */
async function openZip(bytes: Buffer, limits: ReportLimits): Promise<ZipFile> {
  let zip: ZipFile;
  try {
    zip = await yauzl.fromBufferPromise(bytes, { lazyEntries: true, validateEntrySizes: true, decodeStrings: false });
  } catch (thrown) {
    throw unpackingError(thrown, 'zip');
  }
  if (zip.entryCount <= limits.members) return zip;
  const members = zip.entryCount;
  throw dmarcError('dmarc.too_many_members', `The archive has ${members} files; ${limits.members} are read.`, {
    members,
  });
}

function nextEntry(zip: ZipFile): Promise<Entry | undefined> {
  return new Promise((resolve, reject) => {
    const settle = () => zip.removeAllListeners('entry').removeAllListeners('end').removeAllListeners('error');
    zip.once('entry', (entry: Entry) => (settle(), resolve(entry)));
    zip.once('end', () => (settle(), resolve(undefined)));
    zip.once('error', (error: Error) => (settle(), reject(unpackingError(error, 'zip'))));
    zip.readEntry();
  });
}

/** As most are. What it says of itself is only what it is held to. */
const isSmall = (entry: Entry): boolean =>
  entry.compressionMethod === DEFLATED &&
  !entry.isEncrypted() &&
  entry.compressedSize <= SMALL_PACKED &&
  entry.uncompressedSize <= SMALL_UNPACKED;

async function unzipSmall(bytes: Buffer, zip: ZipFile, entry: Entry): Promise<Uint8Array> {
  const { compressedSize, uncompressedSize } = entry;
  try {
    const { fileDataStart: start } = await zip.readLocalFileHeaderPromise(entry, { minimal: true });
    const options = { maxOutputLength: Math.max(uncompressedSize, 1), chunkSize: roomFor(uncompressedSize) };
    const unpacked = inflateRawSync(bytes.subarray(start, start + compressedSize), options);
    if (unpacked.length !== uncompressedSize) throw new Error('the size is wrong');
    checkSum(crc32(unpacked), entry);
    return unpacked;
  } catch (thrown) {
    throw unpackingError(thrown, 'zip');
  }
}

async function* unzipStream(zip: ZipFile, entry: Entry): AsyncGenerator<Uint8Array> {
  try {
    const stream = await zip.openReadStreamPromise(entry);
    let sum = 0;
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      sum = crc32(chunk, sum);
      yield chunk;
    }
    checkSum(sum, entry);
  } catch (thrown) {
    throw unpackingError(thrown, 'zip');
  }
}

function checkSum(sum: number, entry: Entry): void {
  if (sum !== entry.crc32) throw new Error('the checksum is wrong');
}

/** A zip lies in memory: whatever is thrown there is about its bytes. A gzip streams, and its source has errors of its own. */
function unpackingError(thrown: unknown, container: 'zip' | 'gzip'): unknown {
  const { errno } = thrown as { errno?: number };
  if (thrown instanceof SwitchyardError || (container === 'gzip' && !ZLIB_ERRORS.has(errno ?? 0))) return thrown;
  return errno === constants.Z_BUF_ERROR
    ? dmarcError('dmarc.truncated', `The ${container} ends too early.`, undefined, thrown)
    : dmarcError(
        'dmarc.broken_archive',
        `The ${container} cannot be unpacked: ${messageOf(thrown)}.`,
        undefined,
        thrown,
      );
}

/** Of a member of a zip (APPNOTE, 4.4.5). */
const DEFLATED = 8;
/** As large as what the parser takes at once. */
const CHUNK = 65_536;
/** Bytes of what is unpacked at once, which holds up the event loop for a millisecond or three at most. */
const SMALL_PACKED = 65_536;
const SMALL_UNPACKED = 1_048_576;
/** The least that zlib takes. */
const LEAST_CHUNK = 64;
const END_RECORD = Buffer.from([0x50, 0x4b, 5, 6]);
const ZLIB_ERRORS: ReadonlySet<number> = new Set([
  constants.Z_DATA_ERROR,
  constants.Z_BUF_ERROR,
  constants.Z_NEED_DICT,
]);
