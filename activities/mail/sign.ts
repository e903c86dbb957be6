/** DKIM-sign and ARC-seal a stored message, as steps of their own: each stores the message that it made. */
import { z } from 'zod';
import { defineStep, type StepContext } from '../step.ts';
import { Authentication, BlobRef } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import type { SignRequest } from './authenticator/port.ts';
import { openComposed } from './compose.ts';
import { GUARD_ERRORS, guardBlob } from './verify.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { PermanentError } from '../../protocols/errors.ts';

/** A message that a step made and nobody else owns is kept this long. */
const KEPT = 86_400_000;
/** What signing may add to a message that was as large as allowed: ten hops of headers. */
const HEADER_ALLOWANCE = 262_144;

type Part = Pick<Dependencies, 'configuration' | 'blobs' | 'records' | 'keys' | 'authenticator'>;

async function storeSigned(
  message: { key: string },
  request: Omit<SignRequest, 'key' | 'prepend'>,
  dependencies: Part,
  step: StepContext,
) {
  const { configuration, blobs, records, authenticator } = dependencies;
  await guardBlob(blobs, message.key, configuration.mail.limits);
  const signed = await authenticator.sign({ key: message.key, prepend: '', ...request }, step.signal);
  const source = await openComposed(blobs, {
    key: message.key,
    prepend: signed.header,
    authservId: configuration.hostname,
  });
  const stored = await blobs.write(source, {
    prefix: 'mail',
    maxBytes: configuration.mail.limits.messageSize + HEADER_ALLOWANCE,
  });
  const until = new Date(Date.now() + KEPT).toISOString();
  await keepBlob({ blobs, records }, stored, `step:${step.idempotencyKey}`, until);
  return { message: stored, instance: signed.instance };
}

/** RFC 6376, section 5. */
export const dkimSign = defineStep({
  name: 'mail.dkimSign',
  summary: 'DKIM-sign a message with the key of a domain.',
  input: z.object({
    message: BlobRef.describe('The stored message to sign.'),
    domain: z.string().max(255).describe('The domain that signs; one of this installation, with a key.'),
  }),
  output: z.object({ message: BlobRef }),
  needs: ['configuration', 'blobs', 'records', 'keys', 'authenticator'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  errors: [
    'key.missing',
    'key.unusable',
    'key.unreadable',
    'blob.missing',
    'mail.verification_timeout',
    ...GUARD_ERRORS,
  ],
  async run({ message, domain }, dependencies, step) {
    const key = await dependencies.keys.signingKey(domain);
    const { message: signed } = await storeSigned(message, { dkim: key, arc: null }, dependencies, step);
    return { message: signed };
  },
});

/** RFC 8617, section 5.1. */
export const sealArc = defineStep({
  name: 'mail.sealArc',
  summary: 'Seal a message with ARC, so that its authentication survives the forwarding.',
  input: z.object({
    message: BlobRef.describe('The stored message to seal.'),
    authentication: Authentication,
    domain: z.string().max(255).describe('The domain that seals; one of this installation, with a key.'),
  }),
  output: z.object({ message: BlobRef, instance: z.number().int() }),
  needs: ['configuration', 'blobs', 'records', 'keys', 'authenticator'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:write',
  errors: [
    'arc.chain_broken',
    'arc.too_many_instances',
    'key.missing',
    'key.unusable',
    'key.unreadable',
    'blob.missing',
    'mail.verification_timeout',
    ...GUARD_ERRORS,
  ],
  async run({ message, authentication, domain }, dependencies, step) {
    const cv = authentication.arc.result;
    if (cv !== 'none' && cv !== 'pass')
      throw new PermanentError({
        code: 'arc.chain_broken',
        message: `The ARC chain on the message does not validate (${cv}); RFC 8617, section 5.1.2 forbids to extend it.`,
        fix: 'Forward the message without a seal; a DKIM signature of your own still helps.',
      });
    const key = await dependencies.keys.signingKey(domain);
    return storeSigned(
      message,
      { dkim: null, arc: { ...key, authenticationResults: authentication.authenticationResults, cv } },
      dependencies,
      step,
    );
  },
});
