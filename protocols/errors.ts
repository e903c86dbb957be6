/**
 * The two errors of the house. Every layer throws these and nothing else on purpose:
 * Temporal reads them as retry or no retry, HTTP as RFC 9457 problem details, SMTP as 4xx or 5xx,
 * n8n as its error output.
 */

/** What every error of the house carries beside its message. */
export interface ErrorFacts {
  /** Stable identifier, `area.what`, such as `arc.chain_broken`. */
  code: string;
  /** One sentence: what happened. */
  message: string;
  /** One sentence: what the person should do about it. */
  fix: string;
  /** Small plain facts for machines (a reply code, a field, a line). Never a secret. */
  details?: Record<string, string | number | boolean | null>;
  cause?: unknown;
}

/** Common parent; throw one of the two below. */
export abstract class SwitchyardError extends Error {
  readonly code: string;
  readonly fix: string;
  readonly details: Record<string, string | number | boolean | null>;

  constructor(facts: ErrorFacts) {
    super(facts.message, { cause: facts.cause });
    this.code = facts.code;
    this.fix = facts.fix;
    this.details = facts.details ?? {};
  }
}

/** It may work later: retry, after `retryAfterMs` where the other side named a time. */
export class TemporaryError extends SwitchyardError {
  override readonly name = 'TemporaryError';
  readonly retryAfterMs: number | undefined;

  constructor(facts: ErrorFacts & { retryAfterMs?: number }) {
    super(facts);
    this.retryAfterMs = facts.retryAfterMs;
  }
}

/** The same request will fail the same way: do not retry. */
export class PermanentError extends SwitchyardError {
  override readonly name = 'PermanentError';
}

/** The message of anything that was thrown, for logs and for `cause` texts. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
