/** The report to the sender of a message that could not be delivered (RFC 3464). */
import { z } from 'zod';
import { randomUUID } from 'node:crypto';
import { defineStep } from '../step.ts';
import { BlobRef, SmtpReply } from '../schemas.ts';
import { buildBounce } from '../../protocols/mail/bounce.ts';
import { splitHeader } from '../../protocols/mail/header.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { formatReply } from '../../protocols/mail/reply.ts';

/** How much of the original's header goes back: enough to know the message by, bounded against abuse. */
const RETURNED_HEADER_BYTES = 65_536;

export const bounce = defineStep({
  name: 'mail.bounce',
  summary: 'Write the non-delivery report for a message.',
  input: z.object({
    message: BlobRef.describe('The stored message that could not be delivered.'),
    sender: z.string().min(3).describe('Who the report goes to: the envelope sender.'),
    recipient: z.string().describe('The recipient as the sender wrote it.'),
    domain: z.string().describe('The domain of this installation that reports.'),
    receivedAt: z.string().describe('When the message came, as an ISO 8601 time.'),
    // Given, so that a repeat of the step writes the same bytes.
    reportedAt: z.string().describe('The time of the report, as an ISO 8601 time.'),
    reason: z.string().max(500).optional().describe('Why it was given up, where the last reply does not say it.'),
    failures: z
      .array(
        z.object({
          destination: z.string().describe('Where it was to go.'),
          host: z.string().nullable().describe('The host that gave the last reply, if one was reached.'),
          reply: SmtpReply.nullable().describe('The last reply, if there was one.'),
          text: z.string().describe('What went wrong, in words.'),
        }),
      )
      .min(1)
      .max(20)
      .describe('The destinations that failed, each with its last reply.'),
  }),
  output: z.object({ message: BlobRef, eightBit: z.boolean(), utf8: z.boolean() }),
  needs: ['configuration', 'blobs', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  errors: ['blob.missing', 'blob.unavailable', 'records.unavailable'],
  async run(input, { configuration, blobs, records }, step) {
    const header = await readHeader(blobs, input.message.key);
    const report = buildBounce({
      reportingMta: configuration.hostname,
      from: `MAILER-DAEMON@${input.domain}`,
      sender: input.sender,
      messageId: `<${step.idempotencyKey ? stableId(step.idempotencyKey) : randomUUID()}@${configuration.hostname}>`,
      date: new Date(input.reportedAt),
      arrivalDate: new Date(input.receivedAt),
      originalHeader: header,
      reason: input.reason,
      failures: input.failures.map((failure) => ({
        originalRecipient: input.recipient,
        // The address behind an alias is its owner's secret (RFC 3464, section 4.1).
        finalRecipient: input.recipient,
        action: 'failed',
        status: failure.reply?.enhanced ?? (failure.reply && failure.reply.code >= 500 ? '5.0.0' : '4.4.7'),
        diagnostic: failure.reply ? formatReply(failure.reply) : failure.text,
        remoteMta: failure.host,
        lastAttempt: new Date(input.reportedAt),
      })),
    });
    const message = await blobs.write(
      (async function* () {
        yield report;
      })(),
      { prefix: 'mail', maxBytes: configuration.mail.limits.messageSize },
    );
    await keepBlob(
      { blobs, records },
      message,
      `bounce:${step.idempotencyKey}`,
      new Date(Date.now() + configuration.mail.retry.giveUpAfter + DAY).toISOString(),
    );
    const utf8 = report.some((byte) => byte > 127);
    return { message, eightBit: utf8, utf8 };
  },
});

const DAY = 86_400_000;

async function readHeader(blobs: BlobStore, key: string): Promise<Buffer> {
  let head = Buffer.alloc(0);
  for await (const chunk of (await blobs.read(key)) as AsyncIterable<Buffer>) {
    head = Buffer.concat([head, chunk]);
    if (head.length >= RETURNED_HEADER_BYTES || head.includes('\r\n\r\n')) break;
  }
  const { bodyOffset } = splitHeader(head);
  return head.subarray(0, Math.min(bodyOffset, RETURNED_HEADER_BYTES));
}

const stableId = (key: string): string => key.replace(/[^\w.-]/g, '.').slice(-100);
