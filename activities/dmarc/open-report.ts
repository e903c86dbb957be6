/**
 * The files inside what a reporter sent: plain, gzip, or one level of zip, told apart by the bytes. Everything streams
 * and is counted while it is unpacked, so that a bomb ends at the limit and not in memory.
 */
import { detectFormat, DETECT_BYTES, type Format } from '../../protocols/dmarc/detect.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { REPORT_LIMITS, type ReportLimits } from '../../protocols/dmarc/limits.ts';
import { Warnings } from '../../protocols/dmarc/warnings.ts';
import { gunzipSmall, gunzipStream, SMALL_PACKED, withoutRest, zipMembers } from './unpack.ts';

export interface ReportFile {
  container: 'zip' | 'gzip' | 'none';
  /** Name inside a zip; none otherwise. Untrusted text. */
  name: string | null;
  /** What its bytes are; never a container. */
  format: Exclude<Format, 'zip' | 'gzip'>;
  /** To be read once, before the next file is asked for. Reading throws the errors of unpacking. A list is all there is. */
  bytes: FileBytes;
  /** What was odd about the packing of it. */
  warnings: Warnings;
}

/** What is small is there at once: a generator of its own costs as much as a tenth of its reading. */
export type FileBytes = AsyncIterable<Uint8Array> | Uint8Array[];

/**
 * @throws PermanentError `dmarc.too_large`, `dmarc.truncated`, `dmarc.broken_archive`, `dmarc.nested_archive`,
 * `dmarc.too_many_members`; errors of `source` pass through
 */
export async function* openReport(
  source: AsyncIterable<Uint8Array>,
  limits: ReportLimits = REPORT_LIMITS,
): AsyncGenerator<ReportFile> {
  const budget = new Budget(limits.bytes);
  const opened: Peeked[] = [];
  const look = async (bytes: AsyncIterable<Uint8Array>, size: number): Promise<Peeked> => {
    const peeked = await peek(bytes, size);
    opened.push(peeked);
    return peeked;
  };
  const fileOf = async (
    container: ReportFile['container'],
    name: string | null,
    bytes: AsyncIterable<Uint8Array> | Uint8Array,
    warnings: Warnings,
  ): Promise<ReportFile> => {
    const { head, all } =
      bytes instanceof Uint8Array
        ? { head: bytes, all: listOf(budget.spend(bytes)) }
        : await look(budget.counted(bytes), DETECT_BYTES);
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
      for await (const { name, open } of zipMembers(bytes, limits.members)) {
        // Each its own: the reader adds to them.
        const warnings = new Warnings();
        if (bytes !== collected) warnings.add('trailing_bytes');
        yield await fileOf('zip', name, await open(), warnings);
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
  all: AsyncIterable<Uint8Array>;
  /** Ends the source, whether or not it was read. */
  close(): Promise<unknown>;
}

/** Looks at no less than so many bytes, where there are as many. */
async function peek(source: AsyncIterable<Uint8Array>, size: number): Promise<Peeked> {
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

const listOf = (bytes: Uint8Array): Uint8Array[] => (bytes.length > 0 ? [bytes] : []);

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

  async *counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) yield this.spend(chunk);
  }
}

async function collect(source: AsyncIterable<Uint8Array>, most: number): Promise<Buffer> {
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
function gunzip({ head, ended, all }: Peeked, warnings: Warnings): AsyncIterable<Uint8Array> | Uint8Array {
  const small = ended ? gunzipSmall(head.subarray(0, endOf(head))) : undefined;
  if (!small) return gunzipStream(withoutFinalLineEnds(all, warnings));
  if (endOf(head) < head.length) warnings.add('trailing_bytes');
  return small;
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

async function* withoutFinalLineEnds(
  source: AsyncIterable<Uint8Array>,
  warnings: Warnings,
): AsyncGenerator<Uint8Array> {
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
