/** Every limit of the HTTP server, each with its reason. Durations in ms, sizes in bytes. */
import type { StepClass } from '../../activities/step.ts';

/** A JSON body: step inputs are a few KB by design, a workflow input at most 2 MiB (Temporal's payload limit). */
export const JSON_BODY = 1_048_576;
/** One uploaded blob: two of the largest messages that the SMTP receiver takes by default, and room to spare. */
export const BLOB_SIZE = 64 * 1_048_576;
/** What a caller uploads and then does nothing with is swept after a day. */
export const UPLOAD_EXPIRY = 86_400_000;
/** The sign-in form: one token. */
export const FORM_BODY = 4_096;

/** A client that sends its header slower than this holds a socket for nothing. */
export const HEADERS_TIMEOUT = 10_000;
/** The whole request: 64 MiB in five minutes is 1.7 Mbit/s. */
export const REQUEST_TIMEOUT = 300_000;
export const KEEP_ALIVE_TIMEOUT = 15_000;
/** What runs may finish this long after the process was told to stop. */
export const CLOSE_GRACE = 10_000;

/** How long a step may take over HTTP. A step that takes longer belongs in a run. */
export const STEP_TIMEOUT: Record<StepClass, number> = {
  cpu: 30_000,
  network: 60_000,
  /** RFC 5321, 4.5.3.2.6 gives the final dot ten minutes; a caller who waits so long should start a run. */
  delivery: 660_000,
  long: 1_800_000,
};

/** One question to the Temporal server; a caller learns within seconds that it is away. */
export const TEMPORAL_DEADLINE = 4_000;
/** What `Retry-After` says when a part of ours is away. */
export const RETRY_AFTER = 5_000;
/** Readiness probes are asked often and must not pile up. */
export const READY_DEADLINE = 2_000;
/** The longest wait for a result in one request: under the idle time-outs of usual proxies. */
export const RESULT_WAIT = 60_000;

/** `lastUsedAt` of a token is written at most this often. */
export const TOKEN_USE_INTERVAL = 60_000;
/** Unknown tokens that one address may present in a window: more than any client with a wrong one does by mistake. */
export const BAD_TOKENS = 30;
export const BAD_TOKENS_WINDOW = 60_000;
/** A page session; the token behind it may be removed at any time. */
export const SESSION_AGE = 30 * 86_400_000;
