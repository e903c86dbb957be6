/** Errors as RFC 9457 problem details: the one place where an error becomes a status. */
import type { Logger } from 'pino';
import { messageOf, SwitchyardError, TemporaryError } from '../../protocols/errors.ts';
import { RETRY_AFTER } from './limits.ts';

export interface Problem {
  /** Where the code is explained, relative to this server. */
  type: string;
  title: string;
  status: number;
  detail: string;
  /** Stable code, `area.what`. */
  code: string;
  /** What to do about it. */
  fix: string;
  /** The field of the input that is wrong. */
  field?: string;
  /** Id of the request, the same as in the log. */
  instance: string;
  [fact: string]: unknown;
}

/** Codes that have a status of their own; every other permanent error is 422, every other temporary one 503. */
const STATUS: Record<string, number> = {
  'input.invalid': 400,
  'input.not_json': 400,
  'step.key_required': 400,
  'token.required': 401,
  'token.unknown': 401,
  'signin.required': 401,
  'scope.missing': 403,
  'mail.sender_not_own': 403,
  'mail.recipient_not_declared': 403,
  'mail.recipient_is_trigger': 403,
  'request.cross_site': 403,
  'step.unknown': 404,
  'blob.missing': 404,
  'run.missing': 404,
  'workflow.unknown': 404,
  'activity.missing': 404,
  'rule.missing': 404,
  'token.missing': 404,
  'trigger.missing': 404,
  'inbox.missing': 404,
  'job.missing': 404,
  'job.kind_unknown': 404,
  'dmarc.domain_missing': 404,
  'dmarc.report_missing': 404,
  'dmarc.quarantine_missing': 404,
  'page.missing': 404,
  'activity.closed': 409,
  'rule.declared': 409,
  'trigger.address_taken': 409,
  'dmarc.address_taken': 409,
  'request.incomplete': 400,
  'request.too_slow': 408,
  'mail.key_reused': 409,
  'job.request_reused': 409,
  'run.closed': 409,
  'run.cancelled': 409,
  'blob.too_large': 413,
  'input.too_large': 413,
  'request.type_unknown': 415,
  'token.too_many': 429,
  'request.too_many': 429,
  'dmarc.over_quota': 429,
  'step.timeout': 504,
  'run.no_answer': 504,
};

const TITLES: Record<number, string> = {
  400: 'The request is not valid',
  401: 'A token is needed',
  403: 'Not allowed',
  404: 'Not found',
  408: 'It came too slowly',
  409: 'In conflict with the present state',
  413: 'Too large',
  415: 'This type is not taken',
  422: 'It cannot be done as asked',
  429: 'Too often',
  500: 'Something broke in Switchyard',
  503: 'Not available at the moment',
  504: 'It took too long',
};

/** Codes of the HTTP face itself, for the documentation. */
export const HTTP_CODES = [
  ...Object.keys(STATUS),
  'temporal.unavailable',
  'run.failed',
  'run.query_refused',
  'run.update_refused',
  'internal',
] as const;

/** The problem of anything that was thrown. What is unknown is logged under the request's id and not shown. */
export function problemOf(
  thrown: unknown,
  requestId: string,
  log: Logger,
): { problem: Problem; headers: Record<string, string> } {
  if (!(thrown instanceof SwitchyardError)) {
    log.error({ err: thrown, requestId }, `unexpected error: ${messageOf(thrown)}`);
    return describe(500, requestId, {
      code: 'internal',
      detail: 'An error that nobody expected. It is in the log under the id of this request.',
      fix: `Look for ${requestId} in the log of the http process, and report it if it comes again.`,
    });
  }
  const temporary = thrown instanceof TemporaryError;
  const status = STATUS[thrown.code] ?? (temporary ? 503 : 422);
  if (status >= 500) log.warn({ err: thrown, requestId, code: thrown.code }, thrown.message);
  const { problem, headers } = describe(status, requestId, {
    ...thrown.details,
    code: thrown.code,
    detail: thrown.message,
    fix: thrown.fix,
  });
  if (temporary) headers['retry-after'] = String(Math.ceil((thrown.retryAfterMs ?? RETRY_AFTER) / 1_000));
  // The rest of the body is not read: this connection is of no more use.
  if (status === 413) headers.connection = 'close';
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="switchyard"';
  return { problem, headers };
}

function describe(
  status: number,
  requestId: string,
  facts: { code: string; detail: string; fix: string },
): { problem: Problem; headers: Record<string, string> } {
  return {
    problem: {
      ...facts,
      type: `/docs#error-${facts.code}`,
      title: TITLES[status] ?? 'Error',
      status,
      instance: `urn:uuid:${requestId}`,
    },
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
  };
}
