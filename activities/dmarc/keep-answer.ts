/** Takes a report over into another generation of answers as it is in the present one: its bytes are not read. */
import type { Dependencies } from '../dependencies.ts';
import { reportIdentity } from '../../protocols/dmarc/identity.ts';
import type { DmarcReport, DmarcRecords, Publication, ReportContent } from '../../stores/records/dmarc/port.ts';

/** Records that are taken over at once. */
const PAGE = 500;

/** @throws TemporaryError `dmarc.generation_over` */
export async function keepAnswer(
  report: DmarcReport,
  generation: number,
  { records: { dmarc } }: Pick<Dependencies, 'records'>,
): Promise<Publication> {
  // Of a reading that came to no end.
  await dmarc.reports.discard(report.id, generation);
  const content = await contentOf(report, generation, dmarc);
  return dmarc.reports.publish({ ...report, identity: reportIdentity(report) }, content, generation);
}

async function contentOf(report: DmarcReport, generation: number, dmarc: DmarcRecords): Promise<ReportContent> {
  const { queries, reports } = dmarc;
  const { id, kind } = report;
  if (kind === 'tls') return { kind, policies: await queries.reportTls(id) };
  if (kind === 'failure') {
    const stored = await queries.reportFailure(id);
    if (!stored) throw new Error(`the failure report ${id} has no content`);
    return { kind, failure: stored.failure };
  }
  let page = await queries.reportRecords(id, 0, PAGE);
  while (page.length === PAGE) {
    await reports.stage(report, page, generation);
    page = await queries.reportRecords(id, page.at(-1)?.number, PAGE);
  }
  return { kind, records: page };
}
