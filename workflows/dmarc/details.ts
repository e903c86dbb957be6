/** What the Temporal UI shows of an ingestion: the state first, one sentence, a small table. */
import { inline } from '../../protocols/markdown.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import { fromLine } from '../markdown.ts';
import type { IngestDmarcReportInput, IngestedReport } from './contract.ts';

/** Rows of the table; a person reads no more. */
const ROWS = 20;

export function describeIngestion(
  input: IngestDmarcReportInput,
  state: string,
  reports: readonly IngestedReport[],
): string {
  const { domain, sender, kind, authentication } = input;
  const from = inline(sender || 'the null sender');
  const again = input.again ? `What was in quarantine, asked for by ${inline(input.again.by)},` : undefined;
  const way =
    again ??
    (input.way === 'hand' ? 'What was given by hand' : kind === 'mail' ? `Mail from ${from}` : 'A report by HTTPS');
  const lines = [`**${inline(state)}.** ${way} for reports about ${inline(domain)}${fromLine(input.origin)}.`];
  if (authentication) {
    const { spf, dkim, dmarc } = authentication;
    const signatures = dkim.map((one) => one.result).join(' ') || 'none';
    lines.push('', `The mail itself: SPF ${spf.result}, DKIM ${signatures}, DMARC ${dmarc.result}`);
  }
  if (reports.length > 0)
    lines.push('', '| report | from | day | records | messages | state |', '|---|---|---|---|---|---|');
  for (const one of reports.slice(0, ROWS)) lines.push(rowOf(one));
  if (reports.length > ROWS) lines.push('', `And ${reports.length - ROWS} more.`);
  return lines.join('\n');
}

function rowOf(report: IngestedReport): string {
  const { name, file, kind, organization, day, records, messages, state, code, message } = report;
  const words = state === 'refused' ? `in quarantine: ${code ?? ''}, ${inline(message ?? '')}` : state;
  const called = [name, file].filter((one) => one !== null).join(': ') || (kind ?? 'the mail');
  const figures = [day ?? '', records.toLocaleString('en'), messages.toLocaleString('en')];
  return `| ${[inline(called), inline(organization ?? ''), ...figures, words].join(' | ')} |`;
}

/** For people, in a summary. */
export function sizeOf({ size }: BlobRef): string {
  return size < 10_000 ? `${size} bytes` : `${Math.round(size / 1_000).toLocaleString('en')} kB`;
}
