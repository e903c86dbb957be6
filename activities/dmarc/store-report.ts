/** Keeps the bytes of a report where reports are kept. For reports that come by another way than mail. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import { asBytes, storeRaw } from './raw.ts';

export const storeReport = defineStep({
  name: 'dmarc.storeReport',
  summary: 'Keep the bytes of a report by month and by content, so that it can be published and read anew later.',
  input: z.object({
    report: BlobRef.describe('The stored bytes, as they came.'),
    receivedAt: z.iso.datetime().optional().describe('When it came; now where it is not said.'),
  }),
  output: z.object({ report: BlobRef }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:write',
  errors: ['blob.missing', 'blob.too_large', 'blob.unavailable', 'records.unavailable'],
  async run({ report, receivedAt = new Date().toISOString() }, { configuration, blobs, records }, step) {
    const source = asBytes(await blobs.read(report.key));
    const kept = { receivedAt, act: step.idempotencyKey, maxBytes: configuration.mail.limits.messageSize };
    return { report: await storeRaw(source, kept, { blobs, records }) };
  },
});
