/**
 * Takes the reports out of a mail: every part that may be one by what its bytes are, whatever it is called and wherever it
 * stands. Each is stored as it came.
 */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import { asBytes, storeRaw } from './raw.ts';
import { detectFormat, DETECT_BYTES, type Format } from '../../protocols/dmarc/detect.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { reportedMark } from '../../protocols/dmarc/failure.ts';
import { messageParts, type MessagePart } from '../../protocols/mail/parts.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';

/** What a report can be, or come in. The others are texts, pictures and signatures around it. */
const REPORTS: ReadonlySet<Format> = new Set(['zip', 'gzip', 'xml', 'json', 'feedback']);

export const extractReports = defineStep({
  name: 'dmarc.extractReports',
  summary: 'Take the reports out of a mail: every part that may be one by its bytes, whatever its name and type.',
  input: z.object({
    message: BlobRef.describe('The stored mail.'),
    receivedAt: z.iso
      .datetime()
      .optional()
      .describe('When it came; now where it is not said. Reports are kept by month.'),
  }),
  output: z.object({
    reports: z
      .array(
        z.object({
          report: BlobRef,
          part: z.string().describe('Where it stood in the mail, such as 2 or 1.3.'),
          name: z.string().nullable().describe('Name of the file; anything at all.'),
          type: z.string().describe('MIME type that it came with; nothing is decided by it.'),
          format: z.enum(['zip', 'gzip', 'xml', 'json', 'feedback', 'html', 'text', 'binary', 'empty']),
        }),
      )
      .describe('What may be a report. Without any, the files that are none: somebody should see them.'),
    others: z.number().int().describe('Parts that are no reports: texts, pictures, signatures.'),
  }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  errors: [
    'dmarc.too_many_attachments',
    'dmarc.no_report',
    'mail.too_large',
    'blob.missing',
    'blob.unavailable',
    'records.unavailable',
  ],
  async run({ message, receivedAt = new Date().toISOString() }, { configuration, blobs, records }, step) {
    const { messageSize } = configuration.mail.limits;
    const bytes = await collect(asBytes(await blobs.read(message.key)), messageSize);
    const { wanted, others } = reportParts(bytes, configuration);
    const reports = [];
    for (const { part, format } of wanted) {
      step.signal.throwIfAborted();
      const source = inPieces(reportIn(part));
      const act = `${step.idempotencyKey}/${part.path}`;
      const report = await storeRaw(source, { receivedAt, act, maxBytes: messageSize }, { blobs, records });
      reports.push({ report, part: part.path, name: part.name, type: part.type, format });
      step.report({ stored: reports.length });
    }
    return { reports, others };
  },
});

/**
 * The parts of a mail that may be reports; without any, the files that are none.
 * @throws PermanentError `dmarc.too_many_attachments`, `dmarc.no_report`
 */
export function reportParts(
  message: Buffer,
  { dmarc }: Pick<Configuration, 'dmarc'>,
): { wanted: Looked[]; others: number } {
  const parts = listParts(message, dmarc.limits.parts);
  const wanted = choose(parts);
  if (wanted.length === 0)
    throw dmarcError('dmarc.no_report', 'The mail has no attachment, and its text is no report.');
  return { wanted, others: parts.length - wanted.length };
}

/** The bytes of a part as a report. */
export function* reportIn(part: MessagePart): Generator<Uint8Array> {
  yield* part.decoded();
  if (part.reported) yield reportedMark(part.reported);
}

interface Looked {
  part: MessagePart;
  format: Format;
}

/** @throws PermanentError `dmarc.too_many_attachments` */
function listParts(message: Buffer, most: number): Looked[] {
  const parts: Looked[] = [];
  for (const part of messageParts(message)) {
    if (parts.length === most)
      throw dmarcError('dmarc.too_many_attachments', `The mail has more than ${most} parts.`, { parts: most });
    parts.push({ part, format: formatOf(part) });
  }
  return parts;
}

/**
 * Files that may be reports, and texts that are one. Where there is none, the other files: a report that a mailer has
 * spoilt must not go unseen. A text that only begins like one ("[External] ...") counts where there is no file.
 */
function choose(parts: Looked[]): Looked[] {
  const files = parts.filter(({ part, format }) => !part.isBody && REPORTS.has(format));
  if (files.length > 0) return files;
  const texts = parts.filter(({ format }) => REPORTS.has(format));
  return texts.length > 0 ? texts : parts.filter(({ part }) => !part.isBody);
}

function formatOf(part: MessagePart): Format {
  const head: Buffer[] = [];
  let size = 0;
  for (const piece of part.decoded()) {
    head.push(piece);
    size += piece.length;
    if (size >= DETECT_BYTES) break;
  }
  return detectFormat(Buffer.concat(head));
}

async function* inPieces(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

async function collect(source: AsyncIterable<Uint8Array>, most: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > most)
      throw new PermanentError({
        code: 'mail.too_large',
        message: `The mail is larger than ${most} bytes.`,
        fix: 'Raise mail.limits.messageSize in switchyard.yaml, or take the report out of the mail and import it.',
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
