/** The authenticator in worker threads: a hostile message may burn a thread, never the process, and never past the deadline. */
import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { Configuration } from '../../../stores/configuration/schema.ts';
import { messageOf, PermanentError, TemporaryError, type SwitchyardError } from '../../../protocols/errors.ts';
import { tooLate } from './late.ts';
import type { ReadMessage } from '../read-message.ts';
import type {
  Authenticator,
  ForwardRequest,
  ReadRequest,
  SignRequest,
  Signed,
  Verified,
  VerifyRequest,
} from './port.ts';
import type { Answer, ThreadData, VerifiedForward as Answered } from './thread.ts';

type Balancer = NonNullable<NonNullable<ConstructorParameters<typeof Piscina>[0]>['loadBalancer']>;

/** More threads than cores only add memory: the work is CPU. */
const MAX_THREADS = Math.max(1, Math.min(4, availableParallelism()));
/** Messages of one thread at once: with one alone, two domains whose DNS is silent would stop all mail. */
const TASKS_PER_THREAD = 64;
/** A message is streamed; a thread that needs more than this is being attacked. */
const THREAD_HEAP_MB = 256;
/** A thread takes 0.3 s of CPU to start; the second one stays for the next message. */
const THREAD_IDLE_MS = 60_000;
/** ms after its deadline that a task is given to say so itself; a thread that does not is stuck in a computation. */
const STUCK_AFTER_MS = 2_000;
/** ms for a thread to be there; a busy machine takes seconds to start one, and to end others meanwhile only adds to it. */
const START_WITHIN_MS = 30_000;

const DONE = { verify: 'verified', sign: 'signed', forward: 'verified', read: 'read' };

export function openAuthenticator(configuration: Configuration): Authenticator {
  const pool = new Piscina({
    filename: fileURLToPath(new URL(`./thread${extname(import.meta.filename)}`, import.meta.url)),
    minThreads: 1,
    maxThreads: MAX_THREADS,
    concurrentTasksPerWorker: TASKS_PER_THREAD,
    loadBalancer: leastBusy,
    idleTimeout: THREAD_IDLE_MS,
    workerData: { configuration } satisfies ThreadData,
    resourceLimits: { maxOldGenerationSizeMb: THREAD_HEAP_MB },
  });
  const deadline = configuration.mail.limits.verification;

  async function run<T>(
    name: keyof typeof DONE,
    request: ReadRequest | VerifyRequest | SignRequest | ForwardRequest,
    signal?: AbortSignal,
  ): Promise<T> {
    const done = DONE[name];
    // Not AbortSignal.timeout: thousands would wait for their time and end in errors that nobody sees.
    const stuck = new AbortController();
    const within = (ms: number) => setTimeout(() => stuck.abort(), ms);
    let timer = within(START_WITHIN_MS);
    const started = (): void => {
      clearTimeout(timer);
      timer = within(deadline + STUCK_AFTER_MS);
    };
    const task = { ...request, [Piscina.queueOptionsSymbol]: { started } satisfies Waiting };
    const attempt = () => pool.run(task, { name, signal: stuck.signal }) as Promise<Answer<T>>;
    let answer: Answer<T>;
    try {
      // A thread that was ended took every message in it along; the others are taken up once more.
      const running = attempt().catch((thrown: unknown) => {
        if (stuck.signal.aborted) throw tooLate(done, deadline, thrown);
        return attempt();
      });
      const over = (): void => clearTimeout(timer);
      running.then(over, over);
      answer = await (signal ? unlessAborted(running, signal) : running);
    } catch (thrown) {
      if (thrown instanceof TemporaryError) throw thrown;
      throw new TemporaryError({
        code: 'mail.verification_timeout',
        message: `The message could not be ${done}: ${messageOf(thrown)}`,
        fix: 'Try again; if it stays so, look at DNS and at mail.limits.verification.',
        cause: thrown,
      });
    }
    if ('value' in answer) return answer.value;
    throw errorOf(answer.error);
  }

  return {
    verify: (request, signal) => run<Verified>('verify', request, signal),
    sign: (request, signal) => run<Signed>('sign', request, signal),
    async forward(request) {
      const { verified, signed } = await run<Answered>('forward', request);
      return { verified, signed: signed && ('value' in signed ? signed.value : errorOf(signed.error)) };
    },
    read: (request, signal) => run<ReadMessage>('read', request, signal),
    close: () => pool.close(),
  };
}

/** What a task carries for the pool; a thread never sees it. */
interface Waiting {
  /** A thread takes it up now. */
  started(): void;
}

/** The pool's own way leaves a thread alone that has a task with a signal. A thread is added while all are in use. */
const leastBusy: Balancer = (task, threads) => {
  const [first] = threads.toSorted((a, b) => a.currentUsage - b.currentUsage);
  if (!first || first.currentUsage >= TASKS_PER_THREAD) return null;
  if (first.currentUsage > 0 && threads.length < MAX_THREADS) return null;
  (task as unknown as Record<symbol, Waiting | null>)[Piscina.queueOptionsSymbol]?.started();
  return first;
};

function errorOf({ temporary, ...facts }: Extract<Answer<never>, { error: unknown }>['error']): SwitchyardError {
  return temporary ? new TemporaryError(facts) : new PermanentError(facts);
}

/** Leaves no listener behind: Node holds a composite signal (`AbortSignal.any`) that has one for ever, with all it knows. */
async function unlessAborted<T>(running: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = (): void => reject(signal.reason as Error);
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    return await Promise.race([running, promise]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
