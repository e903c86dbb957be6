/**
 * Takes reports of the past into the answers, out of an archive that was stored as a whole: some of its entries a step.
 * The byte at which the next entry begins is all that has to be remembered, so that whoever goes on, on whatever machine,
 * needs nothing but the archive.
 */
import { z } from 'zod';
import { BlobRef } from '../schemas.ts';
import { defineStep, type StepContext } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { inJob, type JobWork } from '../jobs/in-job.ts';
import { addressesIn, learnHosts } from './enrich.ts';
import { candidatesOf, setAside, type Candidate, type Import, type Outcome } from './import-entry.ts';
import { LostWorkers, wordsOfPace, leftBy } from './lost-worker.ts';
import { asBytes } from './raw.ts';
import { readArchive } from './read-archive.ts';
import { JobId } from './reread-some.ts';
import { inLanes } from './turns.ts';
import { goOn, type Pace } from '../../protocols/dmarc/lost-worker.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { missing } from '../../stores/blobs/names.ts';
import { importOwner } from '../../stores/records/dmarc/port.ts';
import { keepBlob } from '../../stores/sweep.ts';

/** ms of one step: what the death of a worker costs at most, and what a history of an hour has in events. */
const BUDGET = 20_000;
/** Reports whose hosts are asked for together, and that are then published. */
const GROUP = 100;
/** Bytes of a group, which are held. */
const GROUP_BYTES = 8 * 1_048_576;
/** Refused reports of one code that the log names; all are in quarantine. */
const NAMED = 10;
/** Domains that are counted: their names travel through the history. */
const DOMAINS = 50;
/** Of these named at the end. */
const DOMAINS_NAMED = 10;
/** ms that an archive is kept for a job that failed, so that somebody can look at it. */
export const ARCHIVE_KEPT = 7 * 86_400_000;

const File = z.object({ end: z.number().int(), name: z.string().nullable(), modifiedAt: z.number().nullable() });

export const ImportPosition = z.object({
  at: z.number().int().describe('Byte of the archive at which the next entry begins.'),
  mailbox: File.nullable().describe('The mailbox that the entry lies in.'),
  inside: File.extend({
    member: z.number().int(),
    place: z.object({ at: z.number().int(), mailbox: File.nullable() }),
  })
    .nullable()
    .default(null)
    .describe('The archive at that byte that the entry lies in, and where in it.'),
  startedAt: z.iso.datetime().describe('The time of what has none.'),
  imported: z.number().int(),
  repeated: z.number().int().describe('Reports that were there already.'),
  others: z.number().int().describe('What is no report.'),
  refused: z.record(z.string(), z.number().int()).describe('Refused reports by code.'),
  foreign: z
    .record(z.string(), z.number().int())
    .default({})
    .describe('Reports about domains that have no address here, by domain; the first of them.'),
  asksNames: z.boolean().default(true).describe('The names of hosts are asked for; not where nobody answers.'),
});
export type ImportPosition = z.output<typeof ImportPosition>;

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records' | 'resolver' | 'geo'>;

export const importSome = defineStep({
  name: 'dmarc.importSome',
  summary: 'Publish some of the reports in an archive, each once.',
  input: ImportPosition.extend({ job: JobId, archive: BlobRef, lost: LostWorkers }),
  output: ImportPosition.extend({ isDone: z.boolean().describe('There are no more entries.') }),
  needs: ['configuration', 'blobs', 'records', 'resolver', 'geo'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  internal: true,
  errors: ['blob.missing', 'archive.broken', 'dmarc.generation_over', 'records.unavailable', 'blob.unavailable'],
  async run({ job, archive, lost, ...begin }, dependencies, step) {
    return inJob(job, dependencies.records, step, async (at) => {
      const size = await dependencies.blobs.size(archive.key);
      if (size === undefined) throw missing(archive.key);
      const until = new Date(Date.now() + ARCHIVE_KEPT).toISOString();
      await keepBlob(dependencies, archive, importOwner(archive.sha256), until);
      const read = async (from: number) => asBytes(await dependencies.blobs.read(archive.key, from));
      const source = { job, startedAt: begin.startedAt, archive: { size, read } };
      const { position, pace } = goOn(begin, lost, leftBy(at, ImportPosition));
      if (pace !== 'together') await at.log(wordsOfPace(lost, pace));
      const now = await work(position, pace, source, dependencies, at);
      if (now.isDone) await sayEnd(now, at);
      return now;
    });
  },
});

async function work(
  from: ImportPosition,
  pace: Pace,
  source: Import,
  dependencies: Part,
  at: JobWork,
): Promise<ImportPosition & { isDone: boolean }> {
  const { size } = source.archive;
  const now = { ...from, refused: { ...from.refused }, foreign: { ...from.foreign } };
  const show = (words = `kB read: ${wordsOf(now)}`) => at.progress({ done: kB(now.at), total: kB(size), words });
  const names: Names = {
    now,
    seen: new Set(),
    isEnabled: dependencies.configuration.dmarc.names.enabled,
    onAsking: (count) => show(`kB read; names of ${figure(count)} hosts asked for`),
  };
  let until = Infinity;
  const most = pace === 'together' ? GROUP : 1;
  let left = { together: Infinity, 'one by one': GROUP, one: 1, aside: 1 }[pace];
  let group: (Candidate | Outcome)[] = [];
  let [count, held] = [0, 0];
  let next: Pick<ImportPosition, 'at' | 'mailbox' | 'inside'> = now;
  const settle = async (): Promise<void> => {
    const outcomes = await publishGroup(group, names, dependencies, at);
    for (const outcome of outcomes) await add(outcome, now, at);
    left -= count;
    [group, count, held] = [[], 0, 0];
    Object.assign(now, next);
    show();
  };
  const begin = () => at.place({ position: now, isAlone: most === 1 });
  show();
  await begin();
  const { mail, dmarc } = dependencies.configuration;
  const limits = { held: mail.limits.messageSize, members: dmarc.limits.members };
  const entries = readArchive(source.archive, from, limits);
  try {
    for await (const entry of entries) {
      at.check();
      // To find where to go on may take seconds, and is to be worth it.
      if (until === Infinity) until = Date.now() + BUDGET;
      if (pace === 'aside') group.push(await setAside(entry, source, dependencies));
      else group.push(...(await candidatesOf(entry, source, dependencies)));
      count += 1;
      held += entry.bytes?.length ?? 0;
      next = { inside: null, ...entry.next };
      if (count < most && group.length < GROUP && held < GROUP_BYTES) continue;
      await settle();
      if (left <= 0 || Date.now() >= until) return { ...now, isDone: false };
      await begin();
    }
  } catch (thrown) {
    // What stands before the break counts.
    if (thrown instanceof PermanentError && thrown.code === 'archive.broken') await settle();
    throw thrown;
  }
  next = { at: size, mailbox: null, inside: null };
  await settle();
  return { ...now, isDone: true };
}

interface Names {
  now: ImportPosition;
  /** Hosts that were looked up in this step: those of which nobody knows anything are in every report. */
  seen: Set<string>;
  isEnabled: boolean;
  onAsking(hosts: number): void;
}

/** Names of hosts first, as for a mail: whoever sent is sorted by them. */
async function publishGroup(
  group: readonly (Candidate | Outcome)[],
  names: Names,
  dependencies: Part,
  at: JobWork,
): Promise<Outcome[]> {
  const candidates = group.filter((one): one is Candidate => 'settle' in one);
  const outcomes = group.filter((one): one is Outcome => 'state' in one);
  await learn(candidates, names, dependencies, at);
  const step: Pick<StepContext, 'signal' | 'report'> = { signal: at.signal, report: () => undefined };
  const settled = await inLanes(candidates, (one, turn) => {
    at.check();
    return one.settle(step, turn);
  });
  return [...outcomes, ...settled.flat()];
}

/** Best effort, as for a mail: where hosts are and what they are called helps people, and no report waits for it. */
async function learn(
  candidates: Candidate[],
  { now, seen, isEnabled, onAsking }: Names,
  dependencies: Part,
  at: JobWork,
): Promise<void> {
  const asks = isEnabled && now.asksNames;
  if (!asks && !dependencies.geo.enabled) return;
  const hosts = new Set([...(await hostsIn(candidates, dependencies, at))].filter((one) => !seen.has(one)));
  if (hosts.size === 0) return;
  for (const one of hosts) seen.add(one);
  if (asks) onAsking(hosts.size);
  try {
    const { answered, unanswered } = await learnHosts(hosts, dependencies, at.signal, { asks });
    if (answered > 0 || unanswered === 0) return;
    // Not every group is to wait in vain.
    now.asksNames = false;
    await at.log('Nobody answers what hosts are called: the reports go on without, and new ones ask again.');
  } catch (thrown) {
    if ((thrown as { code?: string }).code !== 'dmarc.geo_unreadable') throw thrown;
  }
}

async function hostsIn(candidates: Candidate[], { configuration }: Part, at: JobWork): Promise<Set<string>> {
  const addresses = new Set<string>();
  for (const one of candidates) {
    at.check();
    try {
      for (const address of await addressesIn(await one.read(), configuration, at.signal)) addresses.add(address);
    } catch (thrown) {
      // What is wrong with it is said when it is published.
      if (!(thrown instanceof PermanentError)) throw thrown;
    }
  }
  return addresses;
}

async function add(outcome: Outcome, now: ImportPosition, at: JobWork): Promise<void> {
  if (outcome.state !== 'refused') {
    now[outcome.state] += 1;
    return;
  }
  const { name, code, message, isKept, about } = outcome;
  const times = (now.refused[code] ?? 0) + 1;
  now.refused[code] = times;
  if (about !== null && (about in now.foreign || Object.keys(now.foreign).length < DOMAINS))
    now.foreign[about] = (now.foreign[about] ?? 0) + 1;
  if (times > NAMED) return;
  const where = isKept ? 'In quarantine' : 'Left out';
  await at.log(`${where}, ${code}: ${(name ?? 'the file').slice(0, NAME)}: ${message}`);
}

async function sayEnd(now: ImportPosition, at: JobWork): Promise<void> {
  const codes = Object.entries(now.refused).sort(([, one], [, other]) => other - one);
  for (const [code, times] of codes)
    await at.log(`Refused, ${code}: ${figure(times)}${times > NAMED ? `, of which ${NAMED} are named` : ''}`);
  if ('dmarc.foreign_domain' in now.refused) await at.log(foreignWords(now));
  if ('dmarc.nested_archive' in now.refused)
    await at.log('Archives are read one level deep: unpack what has others in it, and import the folder.');
  const all = now.imported + now.repeated + now.others + sum(now.refused);
  const words = all === 0 ? 'there was nothing in it' : wordsOf(now);
  at.progress({ done: all, total: all, words: now.imported === 0 && all > 0 ? `nothing new: ${words}` : words });
}

function foreignWords({ foreign }: ImportPosition): string {
  const domains = Object.entries(foreign).sort(([, one], [, other]) => other - one);
  const named = domains.slice(0, DOMAINS_NAMED).map(([domain, times]) => `${domain} (${figure(times)})`);
  const more = domains.length > named.length ? ' and others' : '';
  return `No report address here: ${named.join(', ')}${more}. If they are yours: switchyard dmarc add DOMAIN, then import again.`;
}

/** Characters of a name in the log. */
const NAME = 300;

function wordsOf({ imported, repeated, others, refused }: ImportPosition): string {
  const parts = [
    imported > 0 && `${figure(imported)} imported`,
    repeated > 0 && `${figure(repeated)} already there`,
    sum(refused) > 0 && `${figure(sum(refused))} refused (in quarantine)`,
    others > 0 && `${figure(others)} not a report`,
  ];
  return parts.filter(Boolean).join(', ') || 'nothing yet';
}

const figure = (count: number): string => count.toLocaleString('en');
const kB = (bytes: number): number => Math.ceil(bytes / 1_000);
const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((all, one) => all + one, 0);
