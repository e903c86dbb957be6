/** What an address names, or the error that says where to look instead. For the API and for the pages. */
import { headOf } from '../../../activities/dmarc/raw.ts';
import { DETECT_BYTES, detectFormat } from '../../../protocols/dmarc/detect.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import type { DmarcReport, DmarcRecords, Quarantined } from '../../../stores/records/dmarc/port.ts';
import { sendBlob } from '../routes/blobs.ts';
import { ruleDomain } from '../rules.ts';

/**
 * The domain as the records keep it, and its report address; null where only its reports are left.
 * @throws PermanentError `dmarc.domain_missing`
 */
export async function findDomain(
  { domains, queries }: DmarcRecords,
  given: string,
): Promise<{ domain: string; address: string | null }> {
  const domain = nameOf(given);
  const known = domain === undefined ? undefined : await domains.get(domain);
  if (known) return known;
  if (domain !== undefined && (await queries.reports({ domain, limit: 1 })).length > 0)
    return { domain, address: null };
  throw new PermanentError({
    code: 'dmarc.domain_missing',
    message: `No reports about ${JSON.stringify(given)} are taken here.`,
    // What is no name has no place in a command.
    fix: domain === undefined ? 'Write a name such as example.com.' : `Add it: switchyard dmarc add ${domain}`,
  });
}

function nameOf(given: string): string | undefined {
  try {
    return ruleDomain(given);
  } catch {
    return undefined;
  }
}

/** @throws PermanentError `dmarc.report_missing` */
export async function findReport({ queries }: DmarcRecords, id: string): Promise<DmarcReport> {
  const report = await queries.report(id);
  if (report) return report;
  throw new PermanentError({
    code: 'dmarc.report_missing',
    message: `There is no report with the id ${JSON.stringify(id)}.`,
    fix: 'GET /v1/dmarc/domains/{domain}/reports lists them; the page of the domain does too.',
  });
}

/** @throws PermanentError `dmarc.quarantine_missing` */
export async function findQuarantined({ quarantine }: DmarcRecords, id: string): Promise<Quarantined> {
  const entry = await quarantine.get(id);
  if (entry) return entry;
  throw quarantineMissing(id);
}

export const quarantineMissing = (id: string): PermanentError =>
  new PermanentError({
    code: 'dmarc.quarantine_missing',
    message: `Nothing with the id ${JSON.stringify(id)} is in quarantine.`,
    fix: 'It may have been removed, or its time was over. GET /v1/dmarc/quarantine lists what is there.',
  });

/** The bytes as they came, as a download that no browser will run or show; the name says what they are. */
export async function sendOriginal(
  blobs: BlobStore,
  { id, blob }: Pick<DmarcReport | Quarantined, 'id' | 'blob'>,
  headOnly: boolean,
): Promise<Response> {
  const extension = (await blobs.size(blob.key)) === undefined ? 'bin' : EXTENSIONS[await formatOf(blobs, blob.key)];
  return sendBlob(blobs, blob.key, `report-${id}.${extension}`, headOnly);
}

const EXTENSIONS: Record<ReturnType<typeof detectFormat>, string> = {
  zip: 'zip',
  gzip: 'gz',
  xml: 'xml',
  json: 'json',
  feedback: 'txt',
  html: 'bin',
  text: 'eml',
  binary: 'bin',
  empty: 'bin',
};

const formatOf = async (blobs: BlobStore, key: string): Promise<ReturnType<typeof detectFormat>> =>
  detectFormat(await headOf(blobs, key, DETECT_BYTES));
