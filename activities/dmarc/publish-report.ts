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
import { describeReport, NotTaken, type Arrival } from './describe-report.ts';
import { reportLimits, reportQuota } from './limits.ts';
import { quarantine, ReportMail } from './quarantine.ts';
import { asBytes } from './raw.ts';
import { readFiles, type FileRead } from './read-files.ts';
import { newStaging, type Staging } from './staging.ts';
import { DMARC_REFUSALS, dmarcError } from '../../protocols/dmarc/errors.ts';
import { reportIdOf } from '../../protocols/dmarc/identity.ts';
import { quotaSender, quotaWords } from '../../protocols/dmarc/quota.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { reportOwner, type NewReport, type Publication } from '../../stores/records/dmarc/port.ts';
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
  domain: z.string().nullable().describe('The domain that it counts for.'),
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
    act: z.string().max(300).optional().describe('Names this publication: the same again gives the same ids.'),
  }),
  output: z.object({ reports: z.array(Published) }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  errors: [...DMARC_REFUSALS, 'dmarc.generation_over', 'blob.missing', 'blob.unavailable', 'records.unavailable'],
  run: async (input, dependencies, step) => ({
    reports: await publishFrom(
      {
        ...input,
        receivedAt: input.receivedAt ?? new Date().toISOString(),
        act: input.act ?? step.idempotencyKey,
      },
      dependencies,
      step,
    ),
  }),
});

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records'>;

/**
 * The whole of the step, for those that do it for many reports.
 * @throws TemporaryError of the stores, and `dmarc.generation_over`; never for what a reporter wrote
 */
export async function publishFrom(
  arrival: Arrival,
  dependencies: Part,
  step: Pick<StepContext, 'signal' | 'report'>,
): Promise<Published[]> {
  const { blobs, configuration, records } = dependencies;
  const generation = (await records.dmarc.generations.current()).number;
  const domains =
    arrival.domain !== null ? [arrival.domain] : (await records.dmarc.domains.list()).map((one) => one.domain);
  const staging = newStaging((index) => idOf(arrival, index), domains[0] ?? '', generation, dependencies, step);
  const published: Published[] = [];
  const reading = { limits: reportLimits(configuration), onRecords: staging.take };
  try {
    for await (const file of readFiles(asBytes(await blobs.read(arrival.report.key)), reading))
      published.push(await settle(file, domains, arrival, staging, dependencies));
    return published;
  } catch (thrown) {
    if (!(thrown instanceof PermanentError) || thrown.code === 'blob.missing') throw thrown;
    await staging.discard();
    return [...published, await refuse(thrown, null, arrival, dependencies)];
  }
}

/** One file: published, known already, or refused. */
async function settle(
  file: FileRead,
  domains: string[],
  arrival: Arrival,
  staging: Staging,
  dependencies: Part,
): Promise<Published> {
  const { outcome } = file;
  if ('refusal' in outcome) {
    await staging.discard();
    return refuse(outcome.refusal, file.name, arrival, dependencies);
  }
  try {
    return await publish(file, { ...outcome, domains }, arrival, staging, dependencies);
  } catch (thrown) {
    if (!(thrown instanceof NotTaken)) throw thrown;
    await staging.discard();
    return refuse(thrown.refusal, file.name, arrival, dependencies);
  }
}

async function publish(
  file: FileRead,
  read: Parameters<typeof describeReport>[0],
  arrival: Arrival,
  staging: Staging,
  dependencies: Part,
): Promise<Published> {
  const { records, blobs } = dependencies;
  const id = idOf(arrival, file.index);
  const { report, content } = describeReport(read, { ...arrival, id, file: file.name });
  await takeRecords(report, countsOf(read.report).records, dependencies);
  const owner = reportOwner(id);
  // Before it is published: whoever reads it later finds its bytes.
  await keepBlob({ blobs, records }, arrival.report, owner, null);
  const whole = content.kind === 'aggregate' ? { ...content, records: await staging.rest(file.index) } : content;
  const { state, id: counts } = await records.dmarc.reports.publish(report, whole, staging.generation);
  if (counts !== id) await records.blobOwners.disown(arrival.report.key, owner);
  if (state === 'conflicting') return refuse(conflicting(counts), file.name, arrival, dependencies);
  const { kind, domain, organization, day } = report;
  return shown({ state, id: counts, file: file.name, kind, domain, organization, day, ...countsOf(read.report) });
}

/**
 * What came by mail has a quota, since anyone can send it; what somebody publishes who may has none.
 * @throws NotTaken `dmarc.over_quota`
 */
async function takeRecords(
  { id, domain, mail, identity }: NewReport,
  count: number,
  { configuration, records: { dmarc } }: Part,
): Promise<void> {
  if (mail === null) return;
  const { number } = await dmarc.generations.current();
  // The same again adds nothing.
  if (await dmarc.reports.find(identity, number)) return;
  const sender = quotaSender(mail.authentication);
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

async function refuse(
  refusal: PermanentError,
  file: string | null,
  { report: blob, domain, address, receivedAt, mail, act }: Arrival,
  dependencies: Part,
): Promise<Published> {
  const { code, message } = refusal;
  const where = { domain, address, sender: mail?.sender ?? null, receivedAt, mail, blob, file };
  const kept = await quarantine({ ...where, act: `${act}/${file ?? ''}`, code, message }, dependencies);
  return shown({ state: 'refused', quarantine: kept.id, file, code, message, domain });
}

function shown(change: Partial<Published> & Pick<Published, 'state' | 'file'>): Published {
  const nothing = { id: null, quarantine: null, code: null, message: null, kind: null, domain: null };
  return abridge({ ...nothing, organization: null, day: null, records: 0, messages: 0, passed: 0, ...change });
}

function countsOf(
  read: Parameters<typeof describeReport>[0]['report'],
): Pick<Published, 'records' | 'messages' | 'passed'> {
  if (read.kind === 'aggregate') {
    const { records, messages, dmarcPass } = read.aggregate.totals;
    return { records, messages, passed: dmarcPass };
  }
  if (read.kind === 'failure') return { records: 1, messages: read.failure.incidents, passed: 0 };
  const { policies } = read.tls;
  const passed = policies.reduce((sum, one) => sum + one.successful, 0);
  return { records: policies.length, messages: policies.reduce((sum, one) => sum + one.failed, passed), passed };
}
