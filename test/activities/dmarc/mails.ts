/** Report mails for tests, and what becomes of one outside of a workflow: the steps one after the other. */
import type { Dependencies } from '../../../activities/dependencies.ts';
import type { OpenDependencies } from '../../../activities/open.ts';
import { enrich } from '../../../activities/dmarc/enrich.ts';
import { extractReports } from '../../../activities/dmarc/extract-reports.ts';
import { parseReport } from '../../../activities/dmarc/parse-report.ts';
import { publishReport, type Published } from '../../../activities/dmarc/publish-report.ts';
import { quarantineReport } from '../../../activities/dmarc/quarantine.ts';
import type { StepContext } from '../../../activities/step.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { createLog } from '../../../servers/log.ts';
import type { BlobRef } from '../../../stores/blobs/port.ts';

export interface Attached {
  bytes: Buffer | string;
  type?: string;
  name?: string | null;
}

const BOUNDARY = '=_of-the-tests';

/** A mail with a text and attachments, as a reporter writes it. */
export function mailWith(...attached: Attached[]): Buffer {
  const parts = attached.map(({ bytes, type = 'application/octet-stream', name = 'report' }) => {
    const disposition = name === null ? '' : `Content-Disposition: attachment; filename="${name}"\r\n`;
    const text = Buffer.from(bytes).toString('base64').replace(/.{76}/g, '$&\r\n');
    return `--${BOUNDARY}\r\nContent-Type: ${type}\r\n${disposition}Content-Transfer-Encoding: base64\r\n\r\n${text}\r\n`;
  });
  return Buffer.from(
    `From: reports@receiver.test\r\nTo: r@mail.test\r\nSubject: Report domain: example.com\r\n` +
      `Content-Type: multipart/mixed; boundary="${BOUNDARY}"\r\n\r\n` +
      `--${BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n${parts.join('')}--${BOUNDARY}--\r\n`,
  );
}

export const stepContext = (idempotencyKey: string): StepContext => ({
  signal: new AbortController().signal,
  report: () => undefined,
  log: createLog('test', 'silent'),
  idempotencyKey,
});

type Part = Pick<OpenDependencies, 'blobs'>;

export async function stored(bytes: Buffer, { blobs }: Part, prefix = 'mail'): Promise<BlobRef> {
  const source = (async function* () {
    yield bytes;
  })();
  return blobs.write(source, { prefix, maxBytes: 50_000_000 });
}

export const RECEIVED_AT = '2026-11-03T04:05:06.007Z';

/** The steps of a mail, as the workflow has them: what one refuses is in quarantine, with its original. */
export async function ingest(
  mail: Buffer,
  domain: string,
  act: string,
  dependencies: Dependencies,
): Promise<Settled[]> {
  const message = await stored(mail, dependencies);
  const of = { domain, address: 'r@mail.test', receivedAt: RECEIVED_AT, mail: null };
  const orQuarantined = async <T>(work: () => Promise<T>, original: BlobRef, place: string): Promise<T | Settled> => {
    try {
      return await work();
    } catch (thrown) {
      if (!(thrown instanceof PermanentError)) throw thrown;
      const { code, message: words } = thrown;
      const refusal = { ...of, act: `${act}/${place}`, original, file: null, code, message: words };
      const { id } = await quarantineReport.call(refusal, dependencies, stepContext(act));
      return { state: 'refused', id: null, code, quarantine: id, file: null, domain };
    }
  };
  const extract = () =>
    extractReports
      .call({ message, receivedAt: RECEIVED_AT }, dependencies, stepContext(act))
      .then(({ reports }) => reports);
  const files = await orQuarantined(extract, message, 'mail');
  if (!Array.isArray(files)) return [files];
  const settled: Settled[] = [];
  for (const { report, part } of files) {
    const publish = async () => {
      const { addresses } = await parseReport.call({ report }, dependencies, stepContext(act));
      await enrich.call({ report, addresses }, dependencies, stepContext(act)).catch(() => undefined);
      const input = { ...of, report, act: `${act}/${part}` };
      return (await publishReport.call(input, dependencies, stepContext(act))).reports;
    };
    const published = await orQuarantined(publish, report, part);
    settled.push(...(Array.isArray(published) ? published : [published]));
  }
  return settled;
}

export type Settled = Pick<Published, 'state' | 'id' | 'code' | 'quarantine' | 'file' | 'domain'>;
