/** The authenticator in worker threads: a hostile message may burn a thread, never the process, and never past the deadline. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { Configuration } from '../../../stores/configuration/schema.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import type { Authenticator, SignRequest, Signed, Verified, VerifyRequest } from './port.ts';
import type { Answer, ThreadData } from './thread.ts';

/** More threads than cores only add memory: the work is CPU. */
const MAX_THREADS = Math.max(1, Math.min(4, availableParallelism()));
/** A message is streamed; a thread that needs more than this is being attacked. */
const THREAD_HEAP_MB = 256;

export function openAuthenticator(configuration: Configuration): Authenticator {
  const pool = new Piscina({
    filename: fileURLToPath(new URL(`./thread${extname(import.meta.filename)}`, import.meta.url)),
    minThreads: 1,
    maxThreads: MAX_THREADS,
    concurrentTasksPerWorker: 1,
    workerData: { configuration } satisfies ThreadData,
    resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
  });
  const deadline = configuration.mail.limits.verification;

  async function run<T>(
    name: 'verify' | 'sign',
    request: VerifyRequest | SignRequest,
    signal?: AbortSignal,
  ): Promise<T> {
    const timeout = AbortSignal.timeout(deadline);
    let answer: Answer<T>;
    try {
      answer = (await pool.run(request, {
        name,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      })) as Answer<T>;
    } catch (thrown) {
      // An abort kills the thread; so does a heap over its limit.
      throw new TemporaryError({
        code: 'mail.verification_timeout',
        message: timeout.aborted
          ? `The message was not ${name === 'verify' ? 'verified' : 'signed'} within ${deadline} ms.`
          : `The ${name} thread ended early.`,
        fix: 'Try again; if it stays so, look at DNS and at mail.limits.verification.',
        cause: thrown,
      });
    }
    if ('value' in answer) return answer.value;
    const { temporary, ...facts } = answer.error;
    throw temporary ? new TemporaryError(facts) : new PermanentError(facts);
  }

  return {
    verify: (request, signal) => run<Verified>('verify', request, signal),
    sign: (request, signal) => run<Signed>('sign', request, signal),
    close: () => pool.close(),
  };
}
