/** Starts the run that publishes what came to a report address, or meets the one of the same mail. */
import { createHash } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { z } from 'zod';
import type { Dependencies } from '../../activities/dependencies.ts';
import { BlobRef } from '../../activities/schemas.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { Way } from '../../protocols/dmarc/way.ts';
import { inline } from '../../protocols/markdown.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { checkGiven } from '../given-blob.ts';
import {
  INGEST_DMARC_REPORT,
  ingestDmarcReportId,
  type IngestDmarcReportInput,
} from '../../workflows/dmarc/contract.ts';

/** @throws PermanentError `activity.incomplete` */
export function ingestionInput(record: MailActivity): IngestDmarcReportInput {
  const { blob, action, sender, recipient, headerFrom, subject, receivedAt, authentication } = record;
  if (!blob || action?.type !== 'dmarc')
    throw new PermanentError({
      code: 'activity.incomplete',
      message: `Activity record ${record.id} names no mail to a report address.`,
      fix: 'Only accepted mail to an address of switchyard dmarc list has such a run.',
    });
  return {
    kind: 'mail',
    way: 'mail',
    message: blob,
    activityId: record.id,
    domain: action.domain,
    address: recipient,
    sender,
    headerFrom,
    subject,
    receivedAt,
    authentication,
  };
}

export async function startIngestion(
  client: Client,
  taskQueue: string,
  workflowId: string,
  input: IngestDmarcReportInput,
): Promise<void> {
  await client.workflow.start(INGEST_DMARC_REPORT, {
    workflowId,
    taskQueue,
    args: [input],
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    ...ingestionLabels(input),
  });
}

const sender = defineSearchAttributeKey('SwitchyardSender', SearchAttributeType.KEYWORD);
const recipient = defineSearchAttributeKey('SwitchyardRecipient', SearchAttributeType.KEYWORD);
const domain = defineSearchAttributeKey('SwitchyardDomain', SearchAttributeType.KEYWORD);

/** Temporal's limit on a summary is 400 bytes. */
const SUMMARY_CHARACTERS = 130;

/** What a run shows of itself. */
export function ingestionLabels(input: IngestDmarcReportInput) {
  const from = input.again
    ? 'quarantine'
    : input.way === 'hand'
      ? 'by hand'
      : input.address === null
        ? 'HTTPS'
        : input.sender || '<>';
  const subject = input.subject ? `: ${input.subject}` : '';
  return {
    staticSummary: `${from} -> reports about ${input.domain}${subject}`.slice(0, SUMMARY_CHARACTERS),
    staticDetails: `Received ${input.receivedAt}, ${input.message.size} bytes${input.address === null ? '' : `, at ${inline(input.address)}`}.`,
    typedSearchAttributes: [
      { key: sender, value: from },
      { key: recipient, value: input.address ?? input.domain },
      { key: domain, value: input.domain },
    ],
  };
}

/** What a caller gives that has a mail, or a report alone, from elsewhere: a mailbox, a file. */
export const GivenReport = z.strictObject({
  message: BlobRef,
  kind: z.enum(['mail', 'report']).default('mail').describe('A whole mail, or what a reporter attaches to one.'),
  domain: z.string().min(1).max(253).describe('The domain that the reports must be about.'),
});

/** ms that the bytes are kept for the run; it keeps what it needs for longer itself. */
const KEEP = 30 * 86_400_000;

/**
 * The run of something that did not come by our SMTP port; the same again meets the same run.
 * @param way how it came
 * @throws PermanentError `dmarc.domain_missing`, `blob.missing`, `input.invalid`
 */
export async function givenReportRun(
  given: z.output<typeof GivenReport>,
  { blobs, records }: Pick<Dependencies, 'blobs' | 'records'>,
  way: Way = 'hand',
): Promise<{ id: string; input: IngestDmarcReportInput }> {
  const { message, kind } = given;
  const wanted = given.domain.toLowerCase();
  if (!(await records.dmarc.domains.get(wanted))) throw domainUnknown(wanted);
  await checkGiven(message, blobs, 'input.message');
  const key = createHash('sha256').update(`${wanted}\0${kind}\0${message.sha256}`).digest('hex');
  const id = ingestDmarcReportId(key);
  await keepForRun(id, message, { blobs, records });
  const nobody = { activityId: null, address: null, sender: '', headerFrom: null, subject: null, authentication: null };
  return { id, input: { ...nobody, kind, way, message, domain: wanted, receivedAt: new Date().toISOString() } };
}

/** Keeps the bytes for the run, which keeps what it needs for longer itself. */
export const keepForRun = (
  id: string,
  message: z.output<typeof BlobRef>,
  stores: Pick<Dependencies, 'blobs' | 'records'>,
): Promise<void> => keepBlob(stores, message, `dmarc-run:${id}`, new Date(Date.now() + KEEP).toISOString());

export const domainUnknown = (domain: string): PermanentError =>
  new PermanentError({
    code: 'dmarc.domain_missing',
    message: `No reports about ${domain.slice(0, 253)} are taken here.`,
    fix: `Give it a report address first: switchyard dmarc add ${domain.slice(0, 253)}`,
    details: { domain: domain.slice(0, 253) },
  });
