/** One file of what a reporter sent, read by what its bytes are. */
import type { ReportFile } from './open-report.ts';
import { AggregateReader } from '../../protocols/dmarc/aggregate-reader.ts';
import type { AggregateRecord, AggregateReport } from '../../protocols/dmarc/aggregate.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { MAX_TLS_BYTES, type ReportLimits } from '../../protocols/dmarc/limits.ts';
import { readTlsReport, type TlsReport } from '../../protocols/dmarc/tls.ts';

export type ReadReport = { kind: 'aggregate'; aggregate: AggregateReport } | { kind: 'tls'; tls: TlsReport };

export interface ReadOptions {
  limits?: ReportLimits;
  /** Milliseconds since 1970: a report about the future is refused. */
  now?: number;
}

/**
 * @param onRecords gets the records of an aggregate report as they are read; the next bytes wait for it
 * @throws PermanentError `DMARC_ERRORS`
 */
export async function readReport(
  file: ReportFile,
  onRecords: (records: AggregateRecord[]) => void | Promise<void>,
  options: ReadOptions = {},
): Promise<ReadReport> {
  const { format, bytes, warnings } = file;
  if (format === 'xml') {
    const reader = new AggregateReader({ ...options, warnings });
    for await (const chunk of bytes) {
      const records = reader.write(chunk);
      if (records.length > 0) await onRecords(records);
    }
    return { kind: 'aggregate', aggregate: reader.end() };
  }
  if (format === 'json') {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of bytes) {
      size += chunk.length;
      if (size > MAX_TLS_BYTES)
        throw dmarcError('dmarc.too_large', `The TLS report is larger than ${MAX_TLS_BYTES} bytes.`);
      chunks.push(chunk);
    }
    return { kind: 'tls', tls: readTlsReport(Buffer.concat(chunks), options.now, warnings) };
  }
  if (format === 'empty') throw dmarcError('dmarc.empty', 'There is nothing in it.');
  throw dmarcError('dmarc.not_a_report', `It is ${WORDS[format]}, neither XML nor JSON.`, { format });
}

const WORDS = { html: 'an HTML page', text: 'text', binary: 'binary data' } as const;
