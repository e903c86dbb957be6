/** What has to be so before reports of the past are imported, whoever asks for it. */
import { ARCHIVE_KEPT } from '../../activities/dmarc/import-some.ts';
import type { Dependencies } from '../../activities/dependencies.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import { importOwner } from '../../stores/records/dmarc/port.ts';
import { keepBlob } from '../../stores/sweep.ts';

/** @throws PermanentError `dmarc.no_domain` */
export async function demandDomain({ records }: Pick<Dependencies, 'records'>): Promise<void> {
  if ((await records.dmarc.domains.list()).length > 0) return;
  throw new PermanentError({
    code: 'dmarc.no_domain',
    message: 'No domain has a report address yet, so that every report would be refused.',
    fix: 'Take reports about your domain first:  switchyard dmarc add example.com',
  });
}

/** Keeps the archive until the job has it, however long that waits. */
export const keepArchive = (archive: BlobRef, dependencies: Pick<Dependencies, 'blobs' | 'records'>): Promise<void> =>
  keepBlob(dependencies, archive, importOwner(archive.sha256), new Date(Date.now() + ARCHIVE_KEPT).toISOString());
