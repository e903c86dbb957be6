/** Every report in what a reporter sent, read to its end; a file of an archive that is none does not cost the others. */
import { createHash } from 'node:crypto';
import { openReport, type FileBytes, type ReportFile } from './open-report.ts';
import { readReport, type ReadReport } from './read-report.ts';
import type { AggregateRecord } from '../../protocols/dmarc/aggregate.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import type { ReportLimits } from '../../protocols/dmarc/limits.ts';
import { PermanentError } from '../../protocols/errors.ts';

export interface FileRead {
  /** Its place among the files, from 0. */
  index: number;
  container: ReportFile['container'];
  /** Name inside a zip. */
  name: string | null;
  /** What it is, or why it is not taken. */
  outcome: { report: ReadReport; sha256: string } | { refusal: PermanentError };
}

export interface FileReading {
  limits: ReportLimits;
  /** Gets the records of an aggregate report as they are read, from so many bytes; the next ones wait for it. */
  onRecords(records: AggregateRecord[], index: number, bytes: number): void | Promise<void>;
}

/**
 * @throws PermanentError `DMARC_ERRORS`: of what is no archive, and of an archive that is no whole one or has no files
 */
export async function* readFiles(
  source: AsyncIterable<Uint8Array>,
  { limits, onRecords }: FileReading,
): AsyncGenerator<FileRead> {
  let index = 0;
  for await (const file of openReport(source, limits)) {
    const { container, name } = file;
    const hash = createHash('sha256');
    const bytes = hashed(file.bytes, hash);
    const place = index++;
    try {
      const report = await readReport({ ...file, bytes }, (records, size) => onRecords(records, place, size), {
        limits,
      });
      yield { index: place, container, name, outcome: { report, sha256: hash.digest('hex') } };
    } catch (thrown) {
      // A bomb or a broken archive is no matter of one file.
      if (!(thrown instanceof PermanentError) || container !== 'zip' || ENDS_ALL.has(thrown.code)) throw thrown;
      yield { index: place, container, name, outcome: { refusal: thrown } };
    }
  }
  if (index === 0) throw dmarcError('dmarc.empty', 'The archive has no files.');
}

const ENDS_ALL: ReadonlySet<string> = new Set(['dmarc.too_large', 'dmarc.broken_archive', 'dmarc.truncated']);

export async function* hashed(
  source: FileBytes,
  hash: { update(chunk: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}
