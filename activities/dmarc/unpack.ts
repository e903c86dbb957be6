/** Zip and gzip, unpacked: what is inside, and the errors of it. Whoever reads counts the bytes. */
import { pipeline } from 'node:stream';
import { createGunzip, crc32, constants, gunzipSync, inflateRawSync } from 'node:zlib';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';

type Bytes = AsyncIterable<Uint8Array>;

/** What zlib makes room for at once: one byte more than there are said to be, or it makes room a second time. */
const roomFor = (said: number): number => Math.max(said + 1, LEAST_CHUNK);

/** Undefined where it is not small unpacked. */
export function gunzipSmall(bytes: Uint8Array): Uint8Array | undefined {
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

/** What the first bytes of a gzip unpack to; undefined where they are none. */
export function gunzipHead(packed: Uint8Array): Buffer | undefined {
  try {
    return gunzipSync(packed, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: SMALL_UNPACKED * 8 });
  } catch {
    return undefined;
  }
}

export async function* gunzipStream(source: Bytes): AsyncGenerator<Uint8Array> {
  const inflated = pipeline(source, createGunzip({ chunkSize: CHUNK }), () => undefined);
  try {
    for await (const chunk of inflated) yield chunk as Uint8Array;
  } catch (thrown) {
    throw unpackingError(thrown, 'gzip');
  }
}

/** Line ends and NULs after the archive; its end record says how long it is (APPNOTE, 4.3.16). */
export function withoutRest(bytes: Buffer): Buffer {
  const at = bytes.lastIndexOf(END_RECORD);
  if (at < 0 || at + 22 > bytes.length) return bytes;
  const end = at + 22 + bytes.readUInt16LE(at + 20);
  if (end >= bytes.length || bytes.subarray(end).some((byte) => byte !== 0 && byte !== 0x0a && byte !== 0x0d))
    return bytes;
  return bytes.subarray(0, end);
}

/** A file in a zip. */
export interface ZipMember {
  /** Untrusted text, as long as it is shown. */
  name: string;
  /** Bytes unpacked, which it is held to. */
  size: number;
  /** Its bytes: at once where they are few. Reading throws the errors of unpacking. */
  open(): Promise<Uint8Array | Bytes>;
}

/**
 * The files of a zip, in the order of its directory; folders are left out.
 * @param members as many as it may have
 * @throws PermanentError `dmarc.broken_archive`, `dmarc.too_many_members`
 */
export async function* zipMembers(bytes: Buffer, members: number): AsyncGenerator<ZipMember> {
  const zip = await openZip(bytes, members);
  for (let entry = await nextEntry(zip); entry; entry = await nextEntry(zip)) {
    const one = entry;
    if (one.fileNameRaw.at(-1) === SLASH) continue;
    const name = one.fileNameRaw.toString().slice(0, NAME_CHARACTERS);
    const open = async () => (isSmall(one) ? unzipSmall(bytes, zip, one) : unzipStream(zip, one));
    yield { name, size: one.uncompressedSize, open };
  }
}

/** Names are shown, never written to: they need no check, and a wrong one must not cost the report. */
async function openZip(bytes: Buffer, most: number): Promise<ZipFile> {
  let zip: ZipFile;
  try {
    zip = await yauzl.fromBufferPromise(bytes, { lazyEntries: true, validateEntrySizes: true, decodeStrings: false });
  } catch (thrown) {
    throw unpackingError(thrown, 'zip');
  }
  if (zip.entryCount <= most) return zip;
  const members = zip.entryCount;
  throw dmarcError('dmarc.too_many_members', `The archive has ${members} files; ${most} are read.`, {
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

/** A name is shown and kept: those of reports have some hundred characters, a zip may say 65,535. */
const NAME_CHARACTERS = 200;
/** Ends the names of folders (APPNOTE, 4.4.17). */
const SLASH = 0x2f;
/** Of a member of a zip (APPNOTE, 4.4.5). */
const DEFLATED = 8;
/** As large as what the parser takes at once. */
const CHUNK = 65_536;
/** Bytes of what is unpacked at once, which holds up the event loop for a millisecond or three at most. */
export const SMALL_PACKED = 65_536;
const SMALL_UNPACKED = 1_048_576;
/** The least that zlib takes. */
const LEAST_CHUNK = 64;
const END_RECORD = Buffer.from([0x50, 0x4b, 5, 6]);
const ZLIB_ERRORS: ReadonlySet<number> = new Set([
  constants.Z_DATA_ERROR,
  constants.Z_BUF_ERROR,
  constants.Z_NEED_DICT,
]);
