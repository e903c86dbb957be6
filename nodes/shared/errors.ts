/** Errors as n8n shows them: the sentence as message, what to do about it as description, the HTTP status as code. */
import { NodeApiError, NodeOperationError, type INode, type JsonObject } from 'n8n-workflow';
import type { Problem, Trouble } from './contract.ts';

/** Statuses that pass by themselves: Switchyard is busy, starting, or a part of it is away. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/** @param itemIndex the item that it happened at, where it happened at one */
export function toNodeError(
  node: INode,
  { code, message, fix, status, facts }: Trouble,
  itemIndex?: number,
): NodeApiError {
  const error = new NodeApiError(node, { message } as JsonObject, {
    message,
    description: `${fix} (${code})`,
    ...(status === undefined ? {} : { httpCode: String(status) }),
    ...(itemIndex === undefined ? {} : { itemIndex }),
  });
  error.context.switchyard = { ...facts, code, fix, ...(status === undefined ? {} : { status }) };
  return error;
}

/** Problem details, or whatever else stands in an answer that is no success. */
export function troubleOf(status: number, body: unknown): Trouble {
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Partial<Problem>;
  const {
    code,
    detail: message,
    fix = '',
    status: _status,
    type: _type,
    title: _title,
    instance: _instance,
    ...facts
  } = problem;
  if (code && message) return { code, message, fix, status, facts };
  return {
    code: 'api.not_switchyard',
    message: `The base URL answered with status ${status}, and not as Switchyard does.`,
    fix: 'Correct the base URL in the credential: it is the address that `switchyard up` prints beside "api".',
    status,
  };
}

/** Words for connections that did not come about, by the system's error code. */
const UNREACHABLE: Record<string, [problem: string, fix: string]> = {
  ECONNREFUSED: [
    'the connection was refused',
    'Start it with `switchyard up`. In a container 127.0.0.1 is the container itself: name the host there.',
  ],
  ENOTFOUND: ['there is no such host', 'Correct the base URL in the credential.'],
  EAI_AGAIN: ['its name could not be looked up', 'Correct the base URL in the credential, or mend the DNS of n8n.'],
  ECONNRESET: ['the connection was closed without an answer', 'See that Switchyard runs, then try again.'],
  ETIMEDOUT: ['there was no answer in time', 'See that n8n can reach this address: firewall, proxy, port.'],
  ECONNABORTED: ['there was no answer in time', 'See that n8n can reach this address: firewall, proxy, port.'],
  ERR_INVALID_URL: ['this is no URL', 'Write the base URL in the credential as http://host:port.'],
};

/** What a failed connection means. `thrown` is what an HTTP client threw. */
export function unreachable(thrown: unknown, baseUrl: string): Trouble {
  const code = connectionCode(thrown);
  const [problem, fix] = UNREACHABLE[code] ?? [
    code.startsWith('ERR_TLS') || code.includes('CERT') || code.includes('SELF_SIGNED')
      ? 'its certificate is not trusted'
      : 'the connection failed',
    'Correct the base URL in the credential, and see that Switchyard runs.',
  ];
  return { code: 'api.unreachable', message: `Switchyard cannot be reached at ${baseUrl}: ${problem}.`, fix };
}

/** The system's code lies one or more causes deep, depending on the client. */
function connectionCode(thrown: unknown): string {
  for (let error = thrown, depth = 0; typeof error === 'object' && error !== null && depth < 5; depth++) {
    const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown };
    if (typeof code === 'string' && code !== '') return code;
    error = cause ?? (Array.isArray(errors) ? errors[0] : undefined);
  }
  return 'unknown';
}

/** Whether Switchyard is merely away, so that the same call may go through later. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof NodeApiError)) return false;
  const status = Number(error.httpCode);
  return !status || PASSING.has(status);
}

/** The error as n8n wants it; one of n8n's stays as it is. */
export function asNodeError(node: INode, error: unknown, itemIndex: number): NodeApiError | NodeOperationError {
  if (error instanceof NodeApiError || error instanceof NodeOperationError) return error;
  return new NodeOperationError(node, error as Error, { itemIndex });
}
