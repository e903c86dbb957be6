/**
 * Archives of files among what is imported, as programs export a mailbox: a zip, a tar or a mailbox in a gzip, a tar. A
 * reporter sends no such thing, and by mail it is refused; here somebody gives it who may. One level deep: what lies in it
 * is read as if it lay beside it.
 */
import { detectFormat } from '../../protocols/dmarc/detect.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { isMbox } from '../../protocols/mail/mbox.ts';
import { isTar } from '../../protocols/tar.ts';
import { HEAD_BYTES, kindOf } from './entry-kind.ts';
import { after, collected, once, part } from './pieces.ts';
import type { Archive, ArchiveLimits } from './read-archive.ts';
import { gunzipHead, gunzipStream, withoutRest, zipMembers, type ZipMember } from './unpack.ts';

/** Bytes of one such archive, unpacked: to go on in a gzip it is read from its beginning, in some seconds then. */
const MOST_UNPACKED = 1_073_741_824;
/** Bytes of a gzip whose beginning is looked at: the head of a tar is a few hundred of them. */
const PACKED_HEAD = 4_096;
/** Files in a zip. Its directory is held in memory. */
const MOST_FILES = 100_000;

/** A file in it: an archive again, for whoever reads it. */
export interface PackedFile {
  /** Its place among them, from 0. */
  member: number;
  /** Untrusted text. */
  name: string | null;
  archive: Archive;
}

/** The files from one of them on. @throws PermanentError of the archive: `dmarc.*` */
export type PackedFiles = (from: number) => AsyncGenerator<PackedFile>;

/**
 * @param head its first bytes
 * @returns undefined where it is no archive of files: a report, packed or not, or anything else
 */
export async function packedFiles(
  whole: Archive,
  head: Buffer,
  limits: ArchiveLimits,
): Promise<PackedFiles | undefined> {
  if (isTar(head)) return alone(whole);
  const format = detectFormat(head);
  if (format === 'gzip') {
    const first = gunzipHead(await collected(part(await whole.read(0), PACKED_HEAD)));
    return first && (isTar(first) || isMbox(first)) ? alone(gunzipped(whole)) : undefined;
  }
  return format === 'zip' ? filesOfZip(whole, limits) : undefined;
}

const alone = (archive: Archive): PackedFiles =>
  async function* (from) {
    if (from === 0) yield { member: 0, name: null, archive };
  };

const gunzipped = (whole: Archive): Archive => ({
  size: Number.MAX_SAFE_INTEGER,
  read: async (from) => after(counted(gunzipStream(await whole.read(0))), from),
});

async function filesOfZip(whole: Archive, { held, members }: ArchiveLimits): Promise<PackedFiles | undefined> {
  if (whole.size > held)
    return async function* () {
      throw tooLarge(`A zip of more than ${held} bytes is not looked into`);
    };
  const bytes = withoutRest(await collected(await whole.read(0)));
  if (!(await isOfFiles(bytes, members))) return undefined;
  return async function* (from) {
    let [member, size] = [0, 0];
    for await (const one of zipMembers(bytes, MOST_FILES)) {
      size += one.size;
      if (size > MOST_UNPACKED) throw tooLarge(`Unpacked it is larger than ${MOST_UNPACKED} bytes`);
      if (member >= from) yield { member, name: one.name, archive: archiveOf(one) };
      member += 1;
    }
  };
}

/** Whether a zip has more in it than one report and what reporters add to it. */
async function isOfFiles(bytes: Buffer, members: number): Promise<boolean> {
  try {
    let count = 0;
    for await (const one of zipMembers(bytes, MOST_FILES)) {
      count += 1;
      if (count > members) return true;
      const head = await headOf(archiveOf(one));
      if (!head) continue;
      if (isMbox(head) || kindOf(head) === 'mail' || isTar(head) || ['zip', 'gzip'].includes(detectFormat(head)))
        return true;
    }
    return false;
  } catch (thrown) {
    // What is wrong with it is said when it is read.
    if (thrown instanceof PermanentError) return false;
    throw thrown;
  }
}

function archiveOf({ size, open }: ZipMember): Archive {
  let small: Uint8Array | undefined;
  const read = async (from: number) => {
    const bytes = small ?? (await open());
    if (!(bytes instanceof Uint8Array)) return after(bytes, from);
    small = bytes;
    return once(bytes.subarray(from));
  };
  return { size, read };
}

/** Undefined where it cannot be unpacked. */
async function headOf(archive: Archive): Promise<Buffer | undefined> {
  try {
    return await collected(part(await archive.read(0), HEAD_BYTES));
  } catch (thrown) {
    if (thrown instanceof PermanentError) return undefined;
    throw thrown;
  }
}

async function* counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > MOST_UNPACKED) throw tooLarge(`Unpacked it is larger than ${MOST_UNPACKED} bytes`);
    yield chunk;
  }
}

const tooLarge = (why: string): PermanentError =>
  dmarcError('dmarc.too_large', `${why}: unpack it, and import the folder.`);
