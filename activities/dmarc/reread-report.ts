/** One published report, read anew from its stored bytes into another generation. */
import { createHash } from 'node:crypto';
import type { Dependencies } from '../dependencies.ts';
import type { StepContext } from '../step.ts';
import { keepAnswer } from './keep-answer.ts';
import { describeReport, NotTaken, partIdOf, type Described } from './describe-report.ts';
import { reportLimits } from './limits.ts';
import { openReport } from './open-report.ts';
import { quarantine } from './quarantine.ts';
import { asBytes } from './raw.ts';
import { hashed } from './read-files.ts';
import { readReport } from './read-report.ts';
import { newStaging } from './staging.ts';
import type { Turn } from './turns.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { isWithin } from '../../protocols/dmarc/identity.ts';
import { reportOwner, rereadAct, type DmarcRecords, type DmarcReport } from '../../stores/records/dmarc/port.ts';
import { keepBlob } from '../../stores/sweep.ts';

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records'>;

/**
 * Publishes the report in the generation under the id that it has. What the parser does not take any more, or takes for
 * the same as another, is put into quarantine: nothing of it is lost silently.
 * @param inTurn publishes when it is its turn, where others are read beside it
 * @throws PermanentError `blob.missing`; TemporaryError of the stores and `dmarc.generation_over`
 */
export async function rereadReport(
  report: DmarcReport,
  generation: number,
  dependencies: Part,
  step: Pick<StepContext, 'signal' | 'report'>,
  inTurn: Turn['take'] = (_, publish) => publish(),
): Promise<'published' | 'refused'> {
  const refusal = await reread(report, generation, dependencies, step, inTurn);
  if (!refusal) return 'published';
  await refuse(report, refusal, generation, dependencies);
  return 'refused';
}

/**
 * Leaves the answers that there are of a report, since its reading ends workers.
 * @throws TemporaryError of the stores and `dmarc.generation_over`
 */
export async function leaveReport(
  report: DmarcReport,
  generation: number,
  dependencies: Part,
): Promise<'kept' | 'refused'> {
  const { state } = await keepAnswer(report, generation, dependencies);
  if (state === 'published') return 'kept';
  await refuse(report, sameAsAnother(state), generation, dependencies);
  return 'refused';
}

async function refuse(
  report: DmarcReport,
  refusal: PermanentError,
  generation: number,
  dependencies: Part,
): Promise<void> {
  const { domain, receivedAt, mail, blob, file } = report;
  const { code, message } = refusal;
  const act = rereadAct(generation, report.id);
  const where = { domain, address: null, sender: mail?.sender ?? null, receivedAt, mail, blob, file };
  await quarantine({ ...where, act, code, message }, dependencies);
}

/** Why it is not taken; undefined where it is. */
async function reread(
  report: DmarcReport,
  generation: number,
  { blobs, configuration, records }: Part,
  step: Pick<StepContext, 'signal' | 'report'>,
  inTurn: Turn['take'],
): Promise<PermanentError | undefined> {
  const limits = reportLimits(configuration);
  const staging = newStaging(() => report.id, report.domain, generation, { records }, step);
  const source = asBytes(await blobs.read(report.blob.key));
  try {
    let index = 0;
    for await (const file of openReport(source, limits)) {
      if (file.name !== report.file) continue;
      const place = index++;
      const hash = createHash('sha256');
      const bytes = hashed(file.bytes, hash);
      const read = await readReport({ ...file, bytes }, (some, size) => staging.take(some, place, size), {
        limits,
      });
      const sha256 = hash.digest('hex');
      // Two members of an archive may have one name.
      if (sha256 !== report.sha256) {
        await staging.discard();
        continue;
      }
      const { domain, receivedAt, mail, blob, id, details } = report;
      const { way } = details;
      const arrival = { report: blob, domain, address: null, receivedAt, mail, way, act: '', id, file: file.name };
      const { own, merged } = await partsOf(
        report,
        { report: read, sha256, domains: [domain] },
        arrival,
        records.dmarc,
      );
      const { content } = own;
      const whole = content.kind === 'aggregate' ? { ...content, records: await staging.rest(place) } : content;
      const { state } = await inTurn(own.report.identity, () =>
        records.dmarc.reports.publish(own.report, whole, generation),
      );
      for (const one of merged) {
        await keepBlob({ blobs, records }, blob, reportOwner(one.report.id), null);
        const publication = await inTurn(one.report.identity, () =>
          records.dmarc.reports.publish(one.report, one.content, generation),
        );
        if (publication.id !== one.report.id) await records.blobOwners.disown(blob.key, reportOwner(one.report.id));
      }
      return state === 'published' ? undefined : sameAsAnother(state);
    }
    return dmarcError('dmarc.empty', 'It is not in its stored bytes any more.');
  } catch (thrown) {
    const refusal = thrown instanceof NotTaken ? thrown.refusal : thrown;
    if (!(refusal instanceof PermanentError) || refusal.code === 'blob.missing') throw thrown;
    await staging.discard();
    return refusal;
  }
}

/**
 * What of the file the report is: a TLS report on several domains is one for each of them. An earlier build counted all of
 * it as one, for the domain of the first; what it counted so and nobody counted besides is `merged`, so that nothing of it
 * is lost and each counts for its own domain.
 */
async function partsOf(
  report: DmarcReport,
  read: Parameters<typeof describeReport>[0],
  arrival: Parameters<typeof describeReport>[1],
  { queries, reports, domains, generations }: DmarcRecords,
): Promise<{ own: Described; merged: Described[] }> {
  const counted =
    report.kind === 'tls' ? new Set((await queries.reportTls(report.id)).map((one) => one.domain)) : new Set<string>();
  const beyond = [...counted].filter((name) => !isWithin(name, report.domain));
  const ours = beyond.length > 0 ? (await domains.list()).map((one) => one.domain) : [];
  // What was counted stays, also of a domain that was removed.
  const others = beyond.filter((name) => !ours.some((one) => isWithin(name, one)));
  const described = describeReport({ ...read, domains: [...read.domains, ...ours, ...others] }, arrival);
  const found = described.find((one) => one.report.policyDomain === report.policyDomain) ?? described[0];
  if (!found) throw new Error(`the report ${report.id} is described as nothing`);
  const current = (await generations.current()).number;
  const merged: Described[] = [];
  for (const one of described) {
    const isOther = one !== found && counted.has(one.report.policyDomain);
    if (!isOther || (await reports.find(one.report.identity, current))) continue;
    merged.push({ ...one, report: { ...one.report, id: partIdOf(report, one.report.policyDomain) } });
  }
  return { own: { ...found, report: { ...found.report, id: report.id } }, merged };
}

const sameAsAnother = (state: 'repeated' | 'conflicting'): PermanentError =>
  dmarcError(
    'dmarc.conflicting_report',
    state === 'repeated'
      ? 'Read anew it is the same report as another one, which counts.'
      : 'Read anew it has the name of another report, which counts and says something else.',
  );
