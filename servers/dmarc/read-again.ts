/**
 * What is in quarantine is read again: its kept original goes to a run, as a report that somebody gives. What is published,
 * or was before, leaves quarantine; what is refused again is there anew, with its reason of now.
 */
import { createHash } from 'node:crypto';
import type { Dependencies } from '../../activities/dependencies.ts';
import { headOf } from '../../activities/dmarc/raw.ts';
import { HEAD_BYTES, kindOf } from '../../activities/dmarc/entry-kind.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { DmarcRecords, Quarantined } from '../../stores/records/dmarc/port.ts';
import { ingestDmarcReportId, type IngestDmarcReportInput } from '../../workflows/dmarc/contract.ts';
import { domainUnknown, keepForRun } from './ingestion.ts';

/** Id of the run that reads an entry again: asked for twice at once it is one. */
export const readAgainId = (entry: string): string =>
  ingestDmarcReportId(createHash('sha256').update(`again\0${entry}`).digest('hex'));

/**
 * @param wanted.domain that it must be about; the one whose address it came to where it is not said
 * @param wanted.by who asks, for the audit log
 * @returns what to start with `startIngestion`
 * @throws PermanentError `dmarc.domain_needed`, `dmarc.domain_missing`, `blob.missing`
 */
export async function readAgainRun(
  entry: Quarantined,
  wanted: { domain?: string; by: string },
  { blobs, records }: Pick<Dependencies, 'blobs' | 'records'>,
): Promise<{ id: string; input: IngestDmarcReportInput }> {
  const domain = wanted.domain?.toLowerCase() ?? (await domainOf(entry, records.dmarc));
  if (!(await records.dmarc.domains.get(domain))) throw domainUnknown(domain);
  if ((await blobs.size(entry.blob.key)) === undefined) throw originalMissing(entry);
  const id = readAgainId(entry.id);
  await keepForRun(id, entry.blob, { blobs, records });
  const { blob: message, address, receivedAt, mail, file } = entry;
  const input: IngestDmarcReportInput = {
    ...{ message, domain, address, receivedAt },
    kind: (await isMail(blobs, message.key)) ? 'mail' : 'report',
    sender: mail?.sender ?? '',
    headerFrom: mail?.headerFrom ?? null,
    authentication: mail?.authentication ?? null,
    // The record of its mail is closed.
    activityId: null,
    subject: null,
    again: { entry: entry.id, by: wanted.by, mail, file },
  };
  return { id, input };
}

/** What was imported came to no address. */
async function domainOf({ id, domain }: Quarantined, { domains }: DmarcRecords): Promise<string> {
  if (domain !== null) return domain;
  const [only, ...others] = await domains.list();
  if (only && others.length === 0) return only.domain;
  throw new PermanentError({
    code: 'dmarc.domain_needed',
    message: 'It came to no report address, so it must be said which domain it is about.',
    fix: only
      ? `Name the domain:  switchyard dmarc reread ${id} --domain ${only.domain}`
      : 'Take reports about the domain first:  switchyard dmarc add example.com',
    details: { field: 'domain' },
  });
}

const originalMissing = ({ blob }: Quarantined): PermanentError =>
  new PermanentError({
    code: 'blob.missing',
    message: `Its original is not in the blob store any more: ${blob.key}`,
    fix: 'Nothing is left that could be read. Remove it from quarantine.',
  });

/** What is kept of a mail is an attachment, or the whole of it where none could be taken out. */
async function isMail(blobs: BlobStore, key: string): Promise<boolean> {
  return kindOf(await headOf(blobs, key, HEAD_BYTES)) === 'mail';
}
