/**
 * `switchyard dmarc import`: stores what there is to import as one archive, and asks for the job that reads it. Copied and
 * not named by its path, since the worker may be on another machine, run as a user that cannot read it, or come to it when
 * the files are gone; and one archive, since its place in it is then all that a job has to remember.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { PermanentError, messageOf } from '../../protocols/errors.ts';
import { demandDomain, keepArchive } from '../../servers/dmarc/imports.ts';
import { importReports } from '../../servers/jobs/kinds.ts';
import { publicUrl, resolveAddresses } from '../../stores/configuration/addresses.ts';
import { openBlobs } from '../../stores/blobs/open.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Records } from '../../stores/records/port.ts';
import { askAndFollow } from '../jobs/ask.ts';
import { createProgress } from '../progress.mjs';
import { pack } from './pack.ts';

/** Bytes of an archive: what an S3 bucket takes in one request. */
const MAX_ARCHIVE = 5 * 1_073_741_824;
/** Files that cannot be read and are named. */
const NAMED = 20;

/** @returns the exit status: that of the job, or 1 where files could not be read */
export async function importPast(
  path: string,
  { configuration, records, detach }: { configuration: Configuration; records: Records; detach: boolean },
): Promise<number> {
  const found = await stat(path).catch((thrown: unknown) => {
    throw unreadable(path, messageOf(thrown));
  });
  if (!found.isFile() && !found.isDirectory()) throw unreadable(path, 'it is neither a file nor a folder');
  await demandDomain({ records });
  const { archive, skipped } = await store(path, configuration, records);
  const parameters = { archive, name: resolve(path).slice(-500) };
  const pages = `${publicUrl(configuration, resolveAddresses(configuration))}/dmarc`;
  const status = await askAndFollow(importReports, parameters, { configuration, records, detach }, () =>
    process.stdout.write(`See it:  ${pages}   what was refused:  ${pages}/quarantine\n`),
  );
  if (skipped > 0) process.stderr.write(`  ${skipped} of the files could not be read.\n`);
  return skipped > 0 ? 1 : status;
}

/** The archive has an owner when this is over. */
async function store(
  path: string,
  configuration: Configuration,
  records: Records,
): Promise<{ archive: BlobRef; skipped: number }> {
  const blobs = await openBlobs(configuration);
  const progress = createProgress();
  const step = progress.step(`Reading ${path}`);
  let [files, bytes, skipped] = [0, 0, 0];
  const events = {
    packed(_name: string, size: number) {
      files += 1;
      bytes += size;
      step.detail(`${files.toLocaleString('en')} files, ${(bytes / 1_000_000).toFixed(1)} MB`);
    },
    skipped(file: string, why: string) {
      skipped += 1;
      if (skipped <= NAMED) progress.line(`  ${file.replace(/\p{Cc}/gu, ' ')} cannot be read: ${why}`);
    },
  };
  try {
    const archive = await blobs.write(pack(path, events), { prefix: 'import', maxBytes: MAX_ARCHIVE });
    await keepArchive(archive, { blobs, records });
    step.done(`Reading ${path}: ${files.toLocaleString('en')} files`);
    return { archive, skipped };
  } catch (thrown) {
    step.fail();
    if ((thrown as { code?: string }).code !== 'blob.too_large') throw thrown;
    throw unreadable(path, 'it is larger than 5 GiB', 'Import its folders one after the other.');
  } finally {
    await blobs.close();
  }
}

function unreadable(path: string, why: string, fix = 'Give a file or a folder that you can read.'): PermanentError {
  return new PermanentError({ code: 'import.unreadable', message: `${path} cannot be imported: ${why}.`, fix });
}
