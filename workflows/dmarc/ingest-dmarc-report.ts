/**
 * `ingestDmarcReport`: one mail to a report address. Every report in it ends published, known already, or in quarantine
 * with its reason; records travel by the reference of their bytes, so that the history stays small.
 */
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { bookkeepingNow, ingestion, lookUps, quarantining, type HouseActivities } from '../activities.ts';
import { messageOf } from '../../protocols/errors.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type {
  IngestDmarcReportInput,
  IngestDmarcReportResult,
  IngestedReport,
  IngestionOutcome,
  ReadAgain,
} from './contract.ts';
import { describeIngestion, sizeOf } from './details.ts';
import { survived } from './lost-worker.ts';

const outcomeAttribute = defineSearchAttributeKey('SwitchyardOutcome', SearchAttributeType.KEYWORD);

/** Reports that a result names: it travels to those who registered for it. */
const NAMED = 20;

export async function ingestDmarcReport(input: IngestDmarcReportInput): Promise<IngestDmarcReportResult> {
  const done: IngestedReport[] = [];
  const show = (state: string): void => setCurrentDetails(describeIngestion(input, state, done));
  try {
    show('Taking the reports out of it');
    for (const file of await filesOf(input, done)) {
      show(`Reading ${file.name ?? 'a report'}`);
      done.push(...(await publishFile(input, file)));
    }
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    // What was accepted is never lost, whoever ends the run.
    if (input.again) done.push(leftThere(input.again.entry));
    else
      await CancellationScope.nonCancellable(async () => {
        const refusal = {
          code: 'dmarc.cancelled',
          message: 'The run was cancelled before it had published everything.',
        };
        done.push(await quarantine(input, { report: input.message, name: null, place: 'cancelled' }, refusal));
      });
  }
  return CancellationScope.nonCancellable(() => finish(input, done, show));
}

interface File {
  report: BlobRef;
  /** As it was called; untrusted text. */
  name: string | null;
  /** Where it stood: the same again is the same act. */
  place: string;
}

/** What may be a report. A mail without any goes into quarantine as it is. */
async function filesOf(input: IngestDmarcReportInput, done: IngestedReport[]): Promise<File[]> {
  try {
    // It is kept already, as it came.
    if (input.kind === 'report' && input.again)
      return [{ report: input.message, name: input.again.file, place: 'report' }];
    if (input.kind === 'report') {
      const { report } = await survived(() =>
        ingestion['dmarc.storeReport'].executeWithOptions({ summary: sizeOf(input.message) }, [
          { report: input.message, receivedAt: input.receivedAt },
        ]),
      );
      return [{ report, name: null, place: 'report' }];
    }
    const summary = `attachments of ${sizeOf(input.message)}`;
    const { reports } = await survived(() =>
      ingestion['dmarc.extractReports'].executeWithOptions({ summary }, [
        { message: input.message, receivedAt: input.receivedAt },
      ]),
    );
    return reports.map(({ report, name, part }) => ({ report, name, place: part }));
  } catch (thrown) {
    const whole = { report: input.message, name: null, place: 'mail' };
    done.push(await quarantine(input, whole, refusalIn(thrown)));
    return [];
  }
}

async function publishFile(input: IngestDmarcReportInput, file: File): Promise<IngestedReport[]> {
  const { report } = file;
  const label = `${file.name ?? 'report'}, ${sizeOf(report)}`.slice(0, SUMMARY_CHARACTERS);
  let addresses: string[] | null;
  try {
    const read = await survived(() =>
      ingestion['dmarc.parseReport'].executeWithOptions({ summary: `read ${label}` }, [{ report }]),
    );
    ({ addresses } = read);
  } catch (thrown) {
    return [await quarantine(input, file, refusalIn(thrown))];
  }
  try {
    await lookUps['dmarc.enrich'].executeWithOptions({ summary: `names of the hosts in ${label}` }, [
      { report, addresses },
    ]);
  } catch (thrown) {
    // Names help people; no report waits for them.
    if (isCancellation(thrown) || !(thrown instanceof ActivityFailure)) throw thrown;
  }
  const { domain, address, receivedAt } = input;
  const publication = {
    ...{ report, domain, address, receivedAt, mail: mailOf(input), act: actOf(file) },
    ...(input.way ? { way: input.way } : {}),
    // A person wants it, so that no stranger uses up anything.
    ...(input.again ? { metered: false } : {}),
  };
  try {
    const { reports } = await survived(() =>
      ingestion['dmarc.publishReport'].executeWithOptions({ summary: `publish ${label}` }, [publication]),
    );
    return reports.map((one) => ingested(one, file));
  } catch (thrown) {
    return [await quarantine(input, file, refusalIn(thrown))];
  }
}

type Published = Awaited<ReturnType<HouseActivities['dmarc.publishReport']>>['reports'][number];

const ingested = ({ quarantine: kept, id, domain: _domain, ...one }: Published, { name }: File): IngestedReport => ({
  ...one,
  name,
  id: id ?? kept,
});

type Refusal = Pick<Parameters<HouseActivities['dmarc.quarantineReport']>[0], 'code' | 'message'>;

/**
 * A step that ended is a refusal however it ended, also where Temporal ended it, such as over an answer that is too large:
 * a run that failed of it would leave the mail to nobody.
 * @throws what is no end of a step
 */
function refusalIn(thrown: unknown): Refusal {
  if (isCancellation(thrown)) throw thrown;
  const cause = thrown instanceof ActivityFailure ? thrown.cause : thrown;
  if (cause instanceof ApplicationFailure && cause.nonRetryable)
    return { code: cause.type ?? 'dmarc.refused', message: cause.message };
  if (!(thrown instanceof ActivityFailure)) throw thrown;
  return { code: 'dmarc.step_failed', message: `${thrown.activityType} came to no answer: ${messageOf(cause)}` };
}

async function quarantine(input: IngestDmarcReportInput, file: File, refusal: Refusal): Promise<IngestedReport> {
  const refused = { name: file.name, file: null, state: 'refused' as const, ...refusal };
  const nothing = { kind: null, organization: null, day: null, records: 0, messages: 0, passed: 0 };
  // Nothing is left that could be kept.
  if (refusal.code === 'blob.missing') return { ...refused, ...nothing, id: null };
  const { domain, address, receivedAt } = input;
  const { id } = await quarantining['dmarc.quarantineReport'].executeWithOptions(
    { summary: `quarantine: ${refusal.code}` },
    [
      {
        act: actOf(file),
        original: file.report,
        file: file.name,
        domain,
        address,
        receivedAt,
        ...refusal,
        mail: mailOf(input),
      },
    ],
  );
  return { ...refused, ...nothing, id };
}

const actOf = ({ place }: File): string => `${workflowInfo().workflowId}/${place}`;

const mailOf = ({ activityId, sender, headerFrom, authentication, address, again }: IngestDmarcReportInput) => {
  if (again) return again.mail;
  return address === null ? null : { activityId, sender, headerFrom, authentication };
};

/** What a cancelled run has not read again is still where it was. */
const leftThere = (entry: string): IngestedReport => ({
  ...{ name: null, file: null, state: 'refused', id: entry, kind: null, organization: null, day: null },
  ...{ code: 'dmarc.cancelled', message: 'The run was cancelled: it is in quarantine as before.' },
  ...{ records: 0, messages: 0, passed: 0 },
});

/** It leaves quarantine where all of it is somewhere else now. */
async function release({ entry, by }: ReadAgain, done: IngestedReport[]): Promise<void> {
  if (done.some(({ state, id }) => state === 'refused' && (id === null || id === entry))) return;
  await quarantining['dmarc.releaseQuarantined'].executeWithOptions({ summary: 'out of quarantine' }, [
    { id: entry, by },
  ]);
}

/** Temporal's limit on a summary is 400 bytes, and a character of a name may have three. */
const SUMMARY_CHARACTERS = 100;

async function finish(
  input: IngestDmarcReportInput,
  done: IngestedReport[],
  show: (state: string) => void,
): Promise<IngestDmarcReportResult> {
  const count = (state: IngestedReport['state']): number => done.filter((one) => one.state === state).length;
  const [published, repeated, refused] = [count('published'), count('repeated'), count('refused')];
  const outcome: IngestionOutcome = refused > 0 ? 'quarantined' : published > 0 ? 'published' : 'repeated';
  if (input.activityId !== null) await closeActivity(input.activityId, done);
  if (input.again) await release(input.again, done);
  upsertSearchAttributes([{ key: outcomeAttribute, value: outcome }]);
  show(WORDS[outcome]);
  return { outcome, domain: input.domain, published, repeated, refused, reports: done.slice(0, NAMED) };
}

const WORDS = {
  published: 'Published',
  repeated: 'Nothing new',
  quarantined: 'In quarantine',
} satisfies Record<IngestionOutcome, string>;

/** A mail in which nothing was a report is a failed one, for whoever reads the log of mail. */
async function closeActivity(activityId: string, done: IngestedReport[]): Promise<void> {
  const [first] = done;
  const failed = done.every(({ state }) => state === 'refused') ? first : undefined;
  await bookkeepingNow['mail.closeActivity']({
    activityId,
    outcome: failed ? 'failed' : 'delivered',
    errorCode: failed?.code ?? null,
    errorText: failed?.message?.slice(0, 500) ?? null,
    reply: null,
    workflowId: workflowInfo().workflowId,
  });
}
