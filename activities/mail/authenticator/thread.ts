/**
 * Runs inside the worker threads: mailauth on messages, several at once, since each waits for DNS most of its time.
 * Errors go back as plain facts, since a clone loses their class.
 */
import { workerData } from 'piscina';
import mailauth from 'mailauth';
import type { AuthenticateResult } from 'mailauth';
import { tooLate } from './late.ts';
import type { SignRequest, Signed, Verified, VerifyRequest } from './port.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import { createResolver } from '../../network/dns.ts';
import { openComposed, type Composition } from '../compose.ts';
import type { Configuration } from '../../../stores/configuration/schema.ts';
import {
  messageOf,
  PermanentError,
  SwitchyardError,
  TemporaryError,
  type ErrorFacts,
} from '../../../protocols/errors.ts';
import { readVerdicts } from './verdicts.ts';

export interface ThreadData {
  configuration: Configuration;
}
export type Answer<T> = { value: T } | { error: ErrorFacts & { temporary: boolean } };

const { configuration } = workerData as ThreadData;
const deadline = configuration.mail.limits.verification;
const blobs = await openBlobs(configuration);
const resolver = createResolver(configuration.dns);

/** SPF, DKIM, DMARC and ARC of one message, strictly by the RFCs. */
export async function verify(request: VerifyRequest): Promise<Answer<Verified>> {
  return answer('verified', async () => {
    const result: AuthenticateResult = await mailauth.authenticate(await blobs.read(request.key), {
      ip: request.sourceAddress,
      helo: request.helo,
      sender: request.sender,
      mta: configuration.hostname,
      resolver: (name, type) => resolver.resolve(name, type),
      disableBimi: true,
      strict: true,
    });
    return readVerdicts(result, configuration.hostname);
  });
}

/** The DKIM signature and the ARC set for one message with new fields on top. */
export async function sign(request: SignRequest): Promise<Answer<Signed>> {
  return answer('signed', async () => {
    const composition: Composition = { key: request.key, prepend: request.prepend, authservId: configuration.hostname };
    if (request.dkim) composition.prepend = (await dkim(composition, request.dkim)) + composition.prepend;
    if (!request.arc) return { header: composition.prepend, instance: 0 };
    const seal = await arc(composition, request.arc);
    return { header: seal.header + composition.prepend, instance: seal.instance };
  });
}

async function dkim(composition: Composition, key: NonNullable<SignRequest['dkim']>): Promise<string> {
  const signature = { signingDomain: key.domain, selector: key.selector, privateKey: key.privateKey };
  // Its types ask for the fields beside signatureData; it signs from signatureData alone.
  const signed = await mailauth.dkimSign(await openComposed(blobs, composition), {
    ...signature,
    signatureData: [signature],
    canonicalization: 'relaxed/relaxed',
    strict: true,
  });
  // mailauth returns signing errors instead of throwing them: unchecked, unsigned mail would go out.
  const problem = signed.errors?.[0];
  if (problem || !signed.signatures) throw unusableKey(key, problem);
  return signed.signatures;
}

/** RFC 8617, section 5.1. */
async function arc(
  composition: Composition,
  key: NonNullable<SignRequest['arc']>,
): Promise<{ header: string; instance: number }> {
  const seal = await mailauth.createSeal(await openComposed(blobs, composition), {
    seal: {
      signingDomain: key.domain,
      selector: key.selector,
      privateKey: key.privateKey,
      // mailauth signs the field as one byte a character; internationalised addresses are UTF-8 (RFC 6532).
      authResults: Buffer.from(key.authenticationResults, 'utf8').toString('latin1'),
      cv: key.cv,
    },
    strict: true,
  });
  const problem = seal.errors[0];
  if (problem || seal.headers.length === 0) throw sealProblem(key, problem);
  const header = Buffer.from(seal.headers.map((line) => `${line}\r\n`).join(''), 'latin1').toString('utf8');
  return { header, instance: Number(/\bi=(\d+)/.exec(header)?.[1] ?? 0) };
}

/** Codes with which mailauth says that the chain, not the key, is the trouble. */
const FULL_CHAIN = /range|instance/i;

function sealProblem(key: { domain: string; selector: string }, problem: unknown): SwitchyardError {
  const text = describe(problem);
  if (FULL_CHAIN.test(text))
    return new PermanentError({
      code: 'arc.too_many_instances',
      message: `The message already carries as many ARC sets as RFC 8617, section 4.2.1 allows: ${text}`,
      fix: 'Forward it without a seal, or look for a mail loop.',
    });
  return unusableKey(key, problem);
}

function unusableKey(key: { domain: string; selector: string }, problem: unknown): PermanentError {
  return new PermanentError({
    code: 'key.unusable',
    message: `The key ${key.selector}._domainkey.${key.domain} did not sign: ${describe(problem)}`,
    fix: `Make a new one: switchyard keys create ${key.domain}`,
  });
}

function describe(problem: unknown): string {
  if (problem && typeof problem === 'object' && 'err' in problem) return messageOf(problem.err);
  return problem ? messageOf(problem) : 'no signature came back';
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
