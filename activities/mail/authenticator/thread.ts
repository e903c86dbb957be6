/**
 * Runs inside the worker threads: mailauth on messages, several at once, since each waits for DNS most of its time.
 * Errors go back as plain facts, since a clone loses their class.
 */
import { buffer } from 'node:stream/consumers';
import { workerData } from 'piscina';
import { tooLate } from './late.ts';
import type { ForwardRequest, ReadRequest, SignRequest, Signed, Verified, VerifyRequest } from './port.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { createResolver } from '../../network/dns.ts';
import { asBuffer, openComposed } from '../compose.ts';
import { readMessage, type ReadMessage } from '../read-message.ts';
import { forwardedHeader } from '../forwarded-header.ts';
import type { Configuration } from '../../../stores/configuration/schema.ts';
import { messageOf, SwitchyardError, TemporaryError, type ErrorFacts } from '../../../protocols/errors.ts';
import { judge } from '../../../protocols/mail/policy.ts';
import { arcSet, digest, dkimSignature, withField } from './signer.ts';
import { verifyMessage } from './verification.ts';

export interface ThreadData {
  configuration: Configuration;
}
export type Answer<T> = { value: T } | { error: ErrorFacts & { temporary: boolean } };

const { configuration } = workerData as ThreadData;
const deadline = configuration.mail.limits.verification;
const blobs = await openBlobs(configuration);
const resolver = createResolver(configuration.dns);

export interface VerifiedForward {
  verified: Verified;
  signed: Answer<Signed> | null;
}

/** SPF, DKIM, DMARC and ARC of one message, strictly by the RFCs. */
export async function verify(request: VerifyRequest): Promise<Answer<Verified>> {
  return answer('verified', () => verification(request));
}

/** The DKIM signature and the ARC set for one message with new fields on top. */
export async function sign(request: SignRequest): Promise<Answer<Signed>> {
  return answer('signed', () => signed(request));
}

/** Verification, and at once the signatures of a message that the policy accepts: one way to the thread and back. */
export async function forward(request: ForwardRequest): Promise<Answer<VerifiedForward>> {
  return answer('verified', async () => {
    const verified = await verification(request);
    const { verdict } = judge({ ...verified, isSrsReturn: request.isSrsReturn }, configuration.mail.policy);
    if (verdict !== 'accept') return { verified, signed: null };
    const { key, bytes } = request;
    const top = forwardedHeader(verified.authentication, request.received, request.signer, configuration.mail.signing);
    return { verified, signed: await answer('signed', () => signed({ key, bytes, ...top })) };
  });
}

/** The message as people read it. */
export async function read({ key, bytes }: ReadRequest): Promise<Answer<ReadMessage>> {
  return answer('read', async () =>
    readMessage(bytes ? asBuffer(bytes) : await buffer(await blobs.read(key)), configuration.mail.limits.headerBytes),
  );
}

const verification = async (request: VerifyRequest): Promise<Verified> =>
  verifyMessage(request.bytes ? asBuffer(request.bytes) : await blobs.read(request.key), request, {
    hostname: configuration.hostname,
    resolver,
  });

async function signed(request: SignRequest): Promise<Signed> {
  const { key, bytes, prepend } = request;
  let message = await digest(await openComposed(blobs, { key, bytes, prepend, authservId: configuration.hostname }));
  let header = prepend;
  if (request.dkim) {
    const field = dkimSignature(message, request.dkim);
    message = withField(message, field);
    header = field + header;
  }
  if (!request.arc) return { header, instance: 0 };
  const set = arcSet(message, request.arc);
  return { header: set.header + header, instance: set.instance };
}

/** What is late goes on by itself until its DNS answers or times out; nobody waits for it. */
async function answer<T>(done: string, work: () => Promise<T>): Promise<Answer<T>> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(tooLate(done, deadline)), deadline);
  try {
    return { value: await Promise.race([work(), late.promise]) };
  } catch (thrown) {
    if (thrown instanceof SwitchyardError)
      return {
        error: {
          code: thrown.code,
          message: thrown.message,
          fix: thrown.fix,
          details: thrown.details,
          temporary: thrown instanceof TemporaryError,
        },
      };
    return {
      error: {
        code: 'mail.malformed',
        message: `The message could not be read: ${messageOf(thrown)}`,
        fix: 'Ask the sender for a message that follows RFC 5322.',
        temporary: false,
      },
    };
  } finally {
    clearTimeout(timer);
  }
}
