/** One file of what a reporter sent, read by what its bytes are: aggregate (XML), TLS (JSON) or failure report (fields). */
import { createHash } from 'node:crypto';
import type { FileBytes, ReportFile } from './open-report.ts';
import { AggregateReader } from '../../protocols/dmarc/aggregate-reader.ts';
import type { AggregateRecord, AggregateReport } from '../../protocols/dmarc/aggregate.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { readFailureReport, withoutMark, type FailureReport } from '../../protocols/dmarc/failure.ts';
import { MAX_FAILURE_BYTES, MAX_TLS_BYTES, type ReportLimits } from '../../protocols/dmarc/limits.ts';
import { readTlsReport, type TlsReport } from '../../protocols/dmarc/tls.ts';

export type ReadReport =
  | { kind: 'aggregate'; aggregate: AggregateReport }
  | { kind: 'tls'; tls: TlsReport }
  /** `fields`: hex SHA-256 of them alone, which is that of the whole where nothing is known of the message. */
  | { kind: 'failure'; failure: FailureReport; fields: string };

export interface ReadOptions {
  limits?: ReportLimits;
  /** Milliseconds since 1970: a report about the future is refused. */
  now?: number;
}

/**
 * @param onRecords gets the records of an aggregate report as they are read, and how many bytes they were read from;
 * the next bytes wait for it
 * @throws PermanentError `DMARC_ERRORS`
 */
export async function readReport(
  file: ReportFile,
  onRecords: (records: AggregateRecord[], bytes: number) => void | Promise<void>,
  options: ReadOptions = {},
): Promise<ReadReport> {
  const { format, bytes, warnings } = file;
  if (format === 'xml') {
    const reader = new AggregateReader({ ...options, warnings });
    let size = 0;
    for await (const chunk of bytes) {
      const records = reader.write(chunk);
      size += chunk.length;
      if (records.length === 0) continue;
      await onRecords(records, size);
      size = 0;
    }
    return { kind: 'aggregate', aggregate: reader.end() };
  }
  if (format === 'json') {
    const document = await collect(bytes, MAX_TLS_BYTES, 'TLS');
    return { kind: 'tls', tls: readTlsReport(document, options.now, warnings) };
  }
  if (format === 'feedback') {
    const document = await collect(bytes, MAX_FAILURE_BYTES, 'failure');
    const fields = createHash('sha256').update(withoutMark(document)).digest('hex');
    return { kind: 'failure', failure: readFailureReport(document, warnings), fields };
  }
  if (format === 'empty') throw dmarcError('dmarc.empty', 'There is nothing in it.');
  throw dmarcError('dmarc.not_a_report', `It is ${WORDS[format]}, and no report.`, { format });
}

const WORDS = { html: 'an HTML page', text: 'text', binary: 'binary data' } as const;

async function collect(bytes: FileBytes, most: number, kind: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (size > most) throw dmarcError('dmarc.too_large', `The ${kind} report is larger than ${most} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
