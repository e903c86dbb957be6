/**
 * Publishes what a reporter sent: each report in it once, with all of its records, however often it comes and whoever is
 * killed meanwhile. What is not taken is in quarantine with its reason when this ends.
 */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import type { StepContext } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { abridge } from './abridge.ts';
import { describeReport, NotTaken, type Arrival, type Described } from './describe-report.ts';
import { reportLimits, reportQuota } from './limits.ts';
import { quarantine, ReportMail } from './quarantine.ts';
import { asBytes } from './raw.ts';
import { readFiles, type FileRead } from './read-files.ts';
import type { ReadReport } from './read-report.ts';
import { newStaging, type Staging } from './staging.ts';
import type { Turn } from './turns.ts';
import { DMARC_REFUSALS, dmarcError } from '../../protocols/dmarc/errors.ts';
import { reportIdOf } from '../../protocols/dmarc/identity.ts';
import { HTTPS_SENDER, quotaSender, quotaWords } from '../../protocols/dmarc/quota.ts';
import { WAYS } from '../../protocols/dmarc/way.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { reportOwner, type NewReport, type Publication, type ReportContent } from '../../stores/records/dmarc/port.ts';
import { keepBlob } from '../../stores/sweep.ts';

const Published = z.object({
  file: z.string().nullable().describe('Name inside a zip.'),
  state: z
    .enum(['published', 'repeated', 'refused'])
    .describe('`repeated`: it was published before, and counts once. `refused`: it is in quarantine.'),
  id: z.string().nullable().describe('Id of the report that counts; of what is in quarantine none.'),
  quarantine: z.string().nullable().describe('Id of what is in quarantine.'),
  code: z.string().nullable().describe('Why it was refused.'),
  message: z.string().nullable().describe('The same in words.'),
  kind: z.enum(['aggregate', 'tls', 'failure']).nullable(),
  domain: z.string().nullable().describe('The domain that it counts for, or is about where that is none of ours.'),
  organization: z.string().nullable().describe('Who sent it, as it says.'),
  day: z.string().nullable().describe('The day that it counts for.'),
  records: z.number().int(),
  messages: z.number().int().describe('Messages; of a TLS report sessions.'),
  passed: z.number().int(),
});
export type Published = z.output<typeof Published>;

export const publishReport = defineStep({
  name: 'dmarc.publishReport',
  summary: 'Publish the reports in stored bytes, each once; what is not taken is put into quarantine with its reason.',
  input: z.object({
    report: BlobRef.describe('The stored bytes, as they came.'),
    domain: z
      .string()
      .nullable()
      .default(null)
      .describe('The domain that they must be about; without it any that has a report address here.'),
    address: z.string().nullable().default(null).describe('The address that they came to.'),
    receivedAt: z.iso.datetime().optional().describe('When they came; now where it is not said.'),
    mail: ReportMail.nullable().default(null).describe('The mail that they came with.'),
    way: z.enum(WAYS).optional().describe('How they came.'),
    metered: z
      .boolean()
      .default(true)
      .describe('Whether what came by mail or HTTPS is counted against dmarc.quota; not where a person publishes it.'),
    act: z.string().max(300).optional().describe('Names this publication: the same again gives the same ids.'),
  }),
  output: z.object({ reports: z.array(Published) }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  errors: [...DMARC_REFUSALS, 'dmarc.generation_over', 'blob.missing', 'blob.unavailable', 'records.unavailable'],
  async run({ metered, ...input }, dependencies, step) {
    const receivedAt = input.receivedAt ?? new Date().toISOString();
    const arrival = { ...input, receivedAt, act: input.act ?? step.idempotencyKey };
    const original = { ...stored(arrival, dependencies), isMetered: metered };
    return { reports: await publishFrom(arrival, dependencies, step, original) };
  },
});

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records'>;

/** Where the bytes are, for those that publish what is not stored yet. */
export interface Original {
  read(): AsyncIterable<Uint8Array> | Promise<AsyncIterable<Uint8Array>>;
  /** Stores them as `Arrival.report` says. Asked for before anything is promised about them: not for what is known. */
  keep(): Promise<unknown>;
  /** Publishes when it is its turn, where others are on their way beside it. */
  inTurn: Turn['take'];
  /** What people call it; untrusted text. */
  name: string | null;
  /** Names the refusal by content, so that the same bytes, however often they come, are in quarantine once. */
  refusalAct: string;
  /** Whether it is somebody's who can send as much as he likes. */
  isMetered: boolean;
  /** Whether something refused with this code is put into quarantine. */
  isQuarantined(code: string): boolean;
}

/**
 * The whole of the step, for those that do it for many reports.
 * @param original where it is left out, the bytes are stored
 * @throws TemporaryError of the stores, and `dmarc.generation_over`; never for what a reporter wrote
 */
export async function publishFrom(
  arrival: Arrival,
  dependencies: Part,
  step: Pick<StepContext, 'signal' | 'report'>,
  original: Original = stored(arrival, dependencies),
): Promise<Published[]> {
  const { configuration, records } = dependencies;
  const generation = (await records.dmarc.generations.current()).number;
  const domains =
    arrival.domain !== null ? [arrival.domain] : (await records.dmarc.domains.list()).map((one) => one.domain);
  const staging = newStaging((index) => idOf(arrival, index), domains[0] ?? '', generation, dependencies, step);
  const published: Published[] = [];
  const reading = { limits: reportLimits(configuration), onRecords: staging.take };
  const way: Way = { arrival, original, staging, dependencies };
  try {
    for await (const file of readFiles(await original.read(), reading))
      published.push(...(await settle(file, domains, way)));
    return published;
  } catch (thrown) {
    if (!(thrown instanceof PermanentError) || thrown.code === 'blob.missing') throw thrown;
    await staging.discard();
    return [...published, await refuse(thrown, null, way)];
  }
}

const stored = ({ report, act }: Arrival, { blobs }: Pick<Part, 'blobs'>): Original => ({
  read: async () => asBytes(await blobs.read(report.key)),
  keep: async () => undefined,
  inTurn: (_, publish) => publish(),
  name: null,
  refusalAct: act,
  isMetered: true,
  isQuarantined: () => true,
});

/** What all files of one arrival share. */
interface Way {
  arrival: Arrival;
  original: Original;
  staging: Staging;
  dependencies: Part;
}

/** One file: published, known already, or refused. */
async function settle(file: FileRead, domains: string[], way: Way): Promise<Published[]> {
  const { outcome } = file;
  const orRefuse = async <Result>(work: () => Result | Promise<Result>): Promise<Result | Published> => {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof NotTaken)) throw thrown;
      await way.staging.discard();
      return refuse(thrown.refusal, file.name, way);
    }
  };
  if ('refusal' in outcome) {
    await way.staging.discard();
    return [await refuse(outcome.refusal, file.name, way)];
  }
  const arrival = { ...way.arrival, id: idOf(way.arrival, file.index), file: file.name };
  const described = await orRefuse(() => describeReport({ ...outcome, domains }, arrival));
  if (!Array.isArray(described)) return [described];
  const settled: Published[] = [];
  for (const one of described) settled.push(await orRefuse(() => publish(one, file, outcome.report, way)));
  return settled;
}

async function publish(
  { report, content, earlierIdentity }: Described,
  file: FileRead,
  read: ReadReport,
  way: Way,
): Promise<Published> {
  const { arrival, original, staging, dependencies } = way;
  const { records, blobs } = dependencies;
  const { id, kind, domain, organization, day } = report;
  const facts = { file: file.name, kind, domain, organization, day, ...countsOf(read, content) };
  const known = await records.dmarc.reports.find(report.identity, staging.generation);
  const earlier =
    known === undefined && earlierIdentity !== undefined
      ? await records.dmarc.reports.find(earlierIdentity, staging.generation)
      : undefined;
  if (earlier) return shown({ ...facts, state: 'repeated', id: earlier.id });
  if (known && known.id !== id) {
    await staging.discard();
    if (known.sha256 !== report.sha256) return refuse(conflicting(known.id), file.name, way);
    return shown({ ...facts, state: 'repeated', id: known.id });
  }
  if (original.isMetered && !known) await takeRecords(report, rowsOf(facts.records, content), dependencies);
  await original.keep();
  const owner = reportOwner(id);
  // Before it is published: whoever reads it later finds its bytes.
  await keepBlob({ blobs, records }, arrival.report, owner, null);
  const whole = content.kind === 'aggregate' ? { ...content, records: await staging.rest(file.index) } : content;
  const { state, id: counts } = await original.inTurn(report.identity, () =>
    records.dmarc.reports.publish(report, whole, staging.generation),
  );
  if (counts !== id) await records.blobOwners.disown(arrival.report.key, owner);
  if (state === 'conflicting') return refuse(conflicting(counts), file.name, way);
  return shown({ ...facts, state, id: counts });
}

/**
 * What came by mail or HTTPS has a quota, since anyone can send it; what somebody publishes who may has none, and the same again
 * adds nothing.
 * @throws NotTaken `dmarc.over_quota`
 */
async function takeRecords(
  { id, domain, mail, details }: NewReport,
  count: number,
  { configuration, records: { dmarc } }: Part,
): Promise<void> {
  if (mail === null && details.way !== 'https') return;
  const sender = mail === null ? HTTPS_SENDER : quotaSender(mail.authentication);
  const intake = { id, domain, sender, mails: 0, bytes: 0, records: count };
  const over = await dmarc.intake.take(intake, reportQuota(configuration), new Date().toISOString());
  if (over) throw new NotTaken(dmarcError('dmarc.over_quota', quotaWords(over, sender, domain)));
}

const conflicting = (id: Publication['id']): PermanentError =>
  dmarcError(
    'dmarc.conflicting_report',
    'A report of the same organisation, id and interval was published before, and says something else.',
    { id },
  );

const idOf = ({ receivedAt, act }: Arrival, index: number): string => reportIdOf(receivedAt, `${act}/${index}`);

async function refuse(refusal: PermanentError, file: string | null, way: Way): Promise<Published> {
  const { original, dependencies } = way;
  const { report: blob, domain, address, receivedAt, mail } = way.arrival;
  const { code, message, details } = refusal;
  // What came to no address says itself what it is about.
  const about = domain ?? (details?.domain as string | undefined) ?? null;
  const refused = { state: 'refused' as const, file, code, message, domain: about };
  if (!original.isQuarantined(code)) return shown(refused);
  await original.keep();
  const where = { domain, address, sender: mail?.sender ?? null, receivedAt, mail, blob, file: file ?? original.name };
  const act = `${original.refusalAct}/${file ?? ''}`;
  const kept = await quarantine({ ...where, act, code, message }, dependencies);
  return shown({ ...refused, quarantine: kept.id });
}

function shown(change: Partial<Published> & Pick<Published, 'state' | 'file'>): Published {
  const nothing = { id: null, quarantine: null, code: null, message: null, kind: null, domain: null };
  return abridge({ ...nothing, organization: null, day: null, records: 0, messages: 0, passed: 0, ...change });
}

/** What the report fills the store with. */
const rowsOf = (records: number, content: ReportContent): number =>
  content.kind === 'tls' ? content.policies.reduce((sum, one) => sum + one.failures.length, records) : records;

function countsOf(read: ReadReport, content: ReportContent): Pick<Published, 'records' | 'messages' | 'passed'> {
  if (read.kind === 'aggregate') {
    const { records, messages, dmarcPass } = read.aggregate.totals;
    return { records, messages, passed: dmarcPass };
  }
  if (read.kind === 'failure') return { records: 1, messages: read.failure.incidents, passed: 0 };
  const policies = content.kind === 'tls' ? content.policies : read.tls.policies;
  const passed = policies.reduce((sum, one) => sum + one.successful, 0);
  return { records: policies.length, messages: policies.reduce((sum, one) => sum + one.failed, passed), passed };
}
