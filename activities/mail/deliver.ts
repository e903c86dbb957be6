/** One delivery attempt of a stored message as it is: no signature, no seal, no rewriting. `mail.relay` does all of these. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import { needsUtf8, parseAddress } from '../../protocols/mail/address.ts';
import { UNLIMITED } from '../../protocols/mail/limits.ts';
import { formatReply } from '../../protocols/mail/reply.ts';
import { defineStep } from '../step.ts';
import { BlobRef, SmtpReply } from '../schemas.ts';
import { guardBlob } from './verify.ts';
import type { TransmissionResult } from '../network/dialer.ts';
import type { Delivery } from '../../stores/records/port.ts';

export const deliver = defineStep({
  name: 'mail.deliver',
  summary: 'Deliver a stored message to one recipient: one attempt, as the message is.',
  input: z.object({
    message: BlobRef.describe('The stored message to deliver, as it is.'),
    sender: z.string().max(512).describe('Envelope sender, which bounces go to; empty for the null sender.'),
    recipient: z.string().min(3).max(512).describe('Address of the one recipient.'),
    utf8: z
      .boolean()
      .optional()
      .describe('Whether the header has UTF-8 in it (RFC 6532); addresses that need it are seen by themselves.'),
    // Not given, the body is taken to have such bytes, which is always allowed to be said.
    eightBit: z.boolean().optional().describe('Whether the body has bytes over 127; taken for granted when not given.'),
  }),
  output: z.object({
    host: z.string(),
    reply: SmtpReply,
    /** TLS version and cipher; null for plain text, and where an earlier call with the same key delivered the message. */
    tls: z.string().nullable(),
  }),
  needs: ['blobs', 'dialer', 'records'],
  takes: 'delivery',
  // A repeat meets a known outcome and sends nothing; after an unknown one it delivers twice: the caller decides by the error.
  repeat: 'needs-key',
  scope: 'mail:write',
  errors: [
    'address.invalid',
    'blob.missing',
    'blob.unavailable',
    'configuration.invalid',
    'dns.unavailable',
    'mail.aborted',
    'mail.connection_failed',
    'mail.connection_lost',
    'mail.deferred',
    'mail.destination_busy',
    'mail.loop',
    'mail.no_host',
    'mail.null_mx',
    'mail.outcome_unknown',
    'mail.protocol_error',
    'mail.refused',
    'mail.reply_too_large',
    'mail.timeout',
    'mail.tls_failed',
    'mail.too_large',
    'mail.utf8_unsupported',
    'mtasts.failed',
    'network.address_refused',
    'records.unavailable',
    'smtp.bare_newline',
    'smtp.nul',
  ],
  async run({ message, sender, recipient, utf8 = false, eightBit = true }, { blobs, dialer, records }, step) {
    const { domain } = parseAddress(recipient);
    const act = actOf(step.idempotencyKey, sender, message.sha256);
    const before = await records.deliveries.begin(act, recipient);
    if (before?.state === 'delivered' || before?.state === 'refused') return asRecorded(before, recipient);
    // Anybody may have stored it: what SMTP cannot carry as it is must not reach a server that reads it its own way.
    await guardBlob(blobs, message.key, UNLIMITED);
    const route = await dialer.route(domain, step.signal);
    const result = await dialer.transmit(
      {
        route,
        sender,
        recipient,
        open: () => blobs.read(message.key),
        size: message.size,
        utf8: utf8 || needsUtf8(sender) || needsUtf8(recipient),
        eightBit,
        beforeFinalDot: async (host) => {
          await records.deliveries.set(act, recipient, { state: 'committing', host });
          step.report({ stage: 'final dot', host });
        },
        onStage: (stage) => step.report({ stage }),
      },
      step.signal,
    );
    if (result.status !== 'unknown') {
      const reply = result.reply ?? undefined;
      await records.deliveries.set(act, recipient, { state: result.status, host: result.host ?? undefined, reply });
    }
    if (result.status === 'delivered') return { host: result.host, reply: result.reply, tls: result.tls };
    throw asError(result, recipient);
  },
});

/** Name of the act in the records: the same key with another message is another act. */
function actOf(key: string, sender: string, sha256: string): string {
  return `step:${createHash('sha256').update(`${key}\0${sender}\0${sha256}`).digest('hex')}`;
}

function asRecorded({ state, host, reply }: Delivery, recipient: string) {
  const said = reply ?? { code: state === 'delivered' ? 250 : 550, enhanced: null, text: '' };
  if (state === 'delivered') return { host: host ?? '', reply: said, tls: null };
  throw asError({ status: 'refused', host, reply: said, code: 'mail.refused', text: said.text }, recipient);
}

function asError(
  result: Exclude<TransmissionResult, { status: 'delivered' }>,
  recipient: string,
): TemporaryError | PermanentError {
  const reply = 'reply' in result ? result.reply : null;
  const details = {
    host: result.host,
    replyCode: reply?.code ?? null,
    replyEnhanced: reply?.enhanced ?? null,
    replyText: reply?.text ?? null,
  };
  const said = reply ? `${result.host ?? 'here'} answered ${formatReply(reply)}` : result.text;
  switch (result.status) {
    case 'refused':
      return new PermanentError({
        code: result.code,
        message: `Mail for ${recipient} was refused: ${said}.`,
        fix: 'The answer names the reason; the same message will be refused again.',
        details,
      });
    case 'deferred':
      return new TemporaryError({
        code: result.code,
        message: `Mail for ${recipient} could not be delivered now: ${said}.`,
        fix: 'Try again later; if it lasts, the answer or the network names the reason.',
        details,
      });
    case 'unknown':
      return new TemporaryError({
        code: result.code,
        message: `Nobody knows whether mail for ${recipient} was delivered: ${said} (after the final dot to ${result.host}).`,
        fix: 'Sending it again may deliver it twice; mail prefers that to never.',
        details,
      });
  }
}
