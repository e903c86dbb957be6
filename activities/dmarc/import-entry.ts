/** The reports in one entry of an archive, and how each is published: as one that came by mail, but for what is stored when. */
import type { Dependencies } from '../dependencies.ts';
import type { StepContext } from '../step.ts';
import type { Arrival } from './describe-report.ts';
import { reportIn, reportParts } from './extract-reports.ts';
import { publishFrom, type Original } from './publish-report.ts';
import { once } from './pieces.ts';
import { quarantine } from './quarantine.ts';
import { asBytes, rawPrefix } from './raw.ts';
import type { Archive, Entry } from './read-archive.ts';
import type { Turn } from './turns.ts';
import { decodeHeaderText, fieldBody, splitHeader } from '../../protocols/mail/header.ts';
import { mailboxAddress, parseMailbox } from '../../protocols/mail/mailbox.ts';
import { WORKER_LOST, workerLostWords } from '../../protocols/dmarc/lost-worker.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { blobRefOf, type BlobRef } from '../../stores/blobs/port.ts';

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records'>;

/** What became of it. */
export type Outcome =
  | { state: 'imported' | 'repeated' | 'others' }
  | {
      state: 'refused';
      name: string | null;
      code: string;
      message: string;
      isKept: boolean;
      /** The domain that it is about, where that has no address here. */
      about: string | null;
    };

/** A report that may be published, or what is to be put into quarantine. */
export interface Candidate {
  /** Its bytes, for whoever wants to look at them beforehand; as often as wanted. */
  read: Original['read'];
  settle(step: Pick<StepContext, 'signal' | 'report'>, turn: Turn): Promise<Outcome[]>;
}

/** Where an entry comes from. */
export interface Import {
  job: string;
  /** ISO 8601; the time of what has none. */
  startedAt: string;
  archive: Archive;
}

/**
 * An archive holds anything at all: what is no report is left where it is, and only what was to be one is put into
 * quarantine.
 */
const NO_REPORT: ReadonlySet<string> = new Set(['dmarc.not_a_report', 'dmarc.no_report', 'dmarc.empty']);

/** Milliseconds since 1970 of the year 2000: reports are younger, and a clock that says less is wrong. */
const EARLIEST = 946_684_800_000;

/** @returns what is to be settled, or what is settled already */
export async function candidatesOf(entry: Entry, from: Import, dependencies: Part): Promise<(Candidate | Outcome)[]> {
  const { configuration, blobs } = dependencies;
  const { kind, bytes } = entry;
  const file = { entry, from, mail: null, receivedAt: timeOf(entry, from) };
  if (kind === 'other') return [{ state: 'others' }];
  if (entry.refusal) return [brokenOff(entry, entry.refusal, file, dependencies)];
  if (bytes && kind === 'mail') return mailCandidates(bytes, file, dependencies);
  if (bytes) return [inHand(bytes, 'file', file, dependencies)];
  const tooLarge = tooLargeToKeep(entry, configuration);
  if (tooLarge) return [tooLarge];
  // Not held in memory: it is stored first, and nobody's if it turns out to be known.
  const ref = await store(entry, from, dependencies).catch((thrown: unknown): Outcome => {
    // It lies in an archive that breaks off in it.
    if (!(thrown instanceof PermanentError)) throw thrown;
    return {
      state: 'refused',
      name: entry.name,
      code: thrown.code,
      message: thrown.message,
      isKept: false,
      about: null,
    };
  });
  if ('state' in ref) return [ref];
  const read = async () => asBytes(await blobs.read(ref.key));
  return [candidate(ref, { read, keep: async () => undefined }, 'file', file, dependencies)];
}

/** An archive of files that came to no end: what was in it before that counts. */
function brokenOff(
  entry: Entry,
  { code, message }: PermanentError,
  file: File,
  dependencies: Part,
): Candidate | Outcome {
  const tooLarge = tooLargeToKeep(entry, dependencies.configuration);
  const refusal = { name: entry.name, code, message };
  if (tooLarge) return { ...tooLarge, ...refusal };
  return {
    read: () => once(Buffer.alloc(0)),
    settle: async () => [await keepRefused(await store(entry, file.from, dependencies), refusal, file, dependencies)],
  };
}

/** Puts an entry with which workers ended into quarantine as it is, and reads nothing of it. */
export async function setAside(entry: Entry, from: Import, dependencies: Part): Promise<Outcome> {
  if (entry.kind === 'other') return { state: 'others' };
  const tooLarge = tooLargeToKeep(entry, dependencies.configuration);
  if (tooLarge) return tooLarge;
  const blob = await store(entry, from, dependencies);
  const refusal = { name: entry.name, code: WORKER_LOST, message: workerLostWords() };
  const file = { entry, from, mail: null, receivedAt: timeOf(entry, from) };
  return keepRefused(blob, refusal, file, dependencies);
}

/** What is larger than anything that is read is not kept either. */
function tooLargeToKeep(
  { name, kind, bytes, size }: Entry,
  { dmarc, mail }: Part['configuration'],
): Outcome | undefined {
  const limit = dmarc.limits.unpackedSize;
  if (bytes || (kind === 'report' && size <= limit)) return undefined;
  const [code, most] = kind === 'mail' ? ['mail.too_large', mail.limits.messageSize] : ['dmarc.too_large', limit];
  return { state: 'refused', name, code, message: `It is larger than ${most} bytes.`, isKept: false, about: null };
}

async function store(entry: Entry, from: Import, { blobs }: Pick<Part, 'blobs'>): Promise<BlobRef> {
  const source = entry.bytes ? once(entry.bytes) : await entry.read();
  return blobs.write(source, { prefix: rawPrefix(timeOf(entry, from)), maxBytes: entry.size });
}

async function keepRefused(
  blob: BlobRef,
  refusal: { name: string | null; code: string; message: string },
  { mail, receivedAt }: File,
  dependencies: Part,
): Promise<Outcome> {
  const { name: file, code, message } = refusal;
  const where = { domain: null, address: null, sender: mail?.sender ?? null, receivedAt, mail, blob, file };
  await quarantine({ ...where, act: `import/${blob.sha256}/`, code, message }, dependencies);
  return { state: 'refused', ...refusal, isKept: true, about: null };
}

interface File {
  entry: Entry;
  from: Import;
  mail: Arrival['mail'];
  receivedAt: string;
}

function mailCandidates(bytes: Buffer, file: File, dependencies: Part): (Candidate | Outcome)[] {
  const { mail, date } = readHead(bytes);
  const { from, entry } = file;
  const of: File = { ...file, mail, receivedAt: date === null ? file.receivedAt : timeOf({ modifiedAt: date }, from) };
  try {
    const { wanted } = reportParts(bytes, dependencies.configuration);
    return wanted.map(({ part: one }) => inHand(Buffer.concat([...reportIn(one)]), one.path, of, dependencies));
  } catch (thrown) {
    if (!(thrown instanceof PermanentError)) throw thrown;
    const { code, message } = thrown;
    if (NO_REPORT.has(code)) return [{ state: 'others' }];
    const ref = blobRefOf(bytes, rawPrefix(of.receivedAt));
    const refuse = async (): Promise<Outcome[]> => {
      await write(bytes, ref, dependencies);
      return [await keepRefused(ref, { name: entry.name, code, message }, of, dependencies)];
    };
    return [{ read: () => once(bytes), settle: refuse }];
  }
}

function inHand(bytes: Buffer, place: string, file: File, dependencies: Part): Candidate {
  const ref = blobRefOf(bytes, rawPrefix(file.receivedAt));
  const way = { read: () => once(bytes), keep: () => write(bytes, ref, dependencies) };
  return candidate(ref, way, place, file, dependencies);
}

function candidate(
  report: BlobRef,
  way: Pick<Original, 'read' | 'keep'>,
  place: string,
  { entry: { name, id }, from, mail, receivedAt }: File,
  dependencies: Part,
): Candidate {
  // Of this job and place: tried again it is the same, and the same bytes in another place are a repeat.
  const act = `import/${from.job}/${id}/${place}`;
  const arrival: Arrival = { report, domain: null, address: null, receivedAt, mail, way: 'import', act };
  const original = {
    ...way,
    name,
    refusalAct: `import/${report.sha256}`,
    isMetered: false,
    isQuarantined: (code: string) => !NO_REPORT.has(code),
  };
  return {
    read: way.read,
    async settle(step, turn) {
      const published = await publishFrom(arrival, dependencies, step, { ...original, inTurn: turn.take });
      return published.map(({ state, code, message, file, domain }): Outcome => {
        if (state !== 'refused') return { state: state === 'published' ? 'imported' : 'repeated' };
        if (code === null || NO_REPORT.has(code)) return { state: 'others' };
        const called = [name, file].filter((one) => one !== null).join(': ') || null;
        const about = code === 'dmarc.foreign_domain' ? domain : null;
        return { state, name: called, code, message: message ?? '', isKept: true, about };
      });
    },
  };
}

const write = (bytes: Buffer, { key }: BlobRef, { blobs }: Pick<Part, 'blobs'>): Promise<BlobRef> =>
  blobs.write(once(bytes), { prefix: key.slice(0, key.lastIndexOf('/')), maxBytes: bytes.length });

/** When it came: as its mail or its file says, if that can be. */
function timeOf({ modifiedAt }: Pick<Entry, 'modifiedAt'>, { startedAt }: Pick<Import, 'startedAt'>): string {
  const time = (modifiedAt ?? NaN) * 1_000;
  return time >= EARLIEST && time <= Date.parse(startedAt) ? new Date(time).toISOString() : startedAt;
}

/** Bytes of a mail in which its header is looked for. */
const HEAD_BYTES = 65_536;

/** Who sent it and when, as its header says: nobody has verified it. */
function readHead(bytes: Buffer): { mail: NonNullable<Arrival['mail']>; date: number | null } {
  const { fields } = splitHeader(bytes.subarray(0, HEAD_BYTES));
  const body = (wanted: string): string | null => {
    const field = fields.find(({ name }) => name.toLowerCase() === wanted);
    return field ? fieldBody(field.raw) : null;
  };
  const date = Date.parse((body('date') ?? '').replace(/\s*\([^)]*\)/g, ''));
  const headerFrom = addressIn(body('from'));
  const sender = addressIn(body('return-path')) ?? '';
  return {
    mail: { activityId: null, sender, headerFrom, authentication: null },
    date: Number.isNaN(date) ? null : Math.floor(date / 1_000),
  };
}

function addressIn(text: string | null): string | null {
  if (text === null) return null;
  try {
    return mailboxAddress(parseMailbox(decodeHeaderText(text)));
  } catch (thrown) {
    if (thrown instanceof PermanentError) return null;
    throw thrown;
  }
}
