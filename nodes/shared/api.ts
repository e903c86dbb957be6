/** Calls to Switchyard. The credential adds base URL and token to each. */
import type {
  IAllExecuteFunctions,
  IDataObject,
  IHttpRequestMethods,
  IHttpRequestOptions,
  ILoadOptionsFunctions,
} from 'n8n-workflow';
import { toNodeError, troubleOf, unreachable } from './errors.ts';

export const CREDENTIAL = 'switchyardApi';

/** Whatever n8n hands to a node that has a credential. */
export type Caller = IAllExecuteFunctions | ILoadOptionsFunctions;

export interface Call {
  method: IHttpRequestMethods;
  /** From the base URL on, such as `/v1/steps`. */
  path: string;
  query?: IDataObject;
  /** JSON, or a stream of bytes. */
  body?: IHttpRequestOptions['body'];
  headers?: IDataObject;
  /** Idempotency key: the same for every repeat of the same act. */
  key?: string;
  /** ms */
  timeout?: number;
  /** `stream` for a download. */
  encoding?: 'stream';
  itemIndex?: number;
}

export interface Answer {
  status: number;
  body: unknown;
}

/** Ten minutes is what the final dot of a delivery may take (RFC 5321, 4.5.3.2.6), and a little more. */
const LONGEST_STEP = 670_000;

/**
 * One call.
 * @throws NodeApiError for every answer that is no success, and when there is none
 */
export async function callApi(caller: Caller, call: Call): Promise<Answer> {
  const { method, path, query, body, headers, key, timeout = LONGEST_STEP, encoding, itemIndex } = call;
  let answer: { statusCode: number; body: unknown };
  try {
    answer = (await caller.helpers.httpRequestWithAuthentication.call(caller, CREDENTIAL, {
      method,
      url: path,
      ...(query ? { qs: query } : {}),
      ...(body === undefined ? {} : { body }),
      headers: { ...headers, ...(key === undefined ? {} : { 'Idempotency-Key': key }) },
      timeout,
      ...(encoding ? { encoding } : { json: true }),
      // A redirect would need the whole body in memory, and the API makes none.
      disableFollowRedirect: true,
      ignoreHttpStatusErrors: true,
      returnFullResponse: true,
    })) as typeof answer;
  } catch (thrown) {
    throw toNodeError(caller.getNode(), unreachable(thrown, await baseUrlOf(caller)), itemIndex);
  }
  const { statusCode: status } = answer;
  const success = status >= 200 && status < 300;
  if (success && encoding === 'stream') return { status, body: answer.body };
  const content = encoding === 'stream' ? await readAll(answer.body as AsyncIterable<Uint8Array>) : answer.body;
  const json = typeof content === 'string' ? parse(content) : content;
  if (!success) throw toNodeError(caller.getNode(), troubleOf(status, json), itemIndex);
  return { status, body: json };
}

/** Where the credential says that Switchyard is, for messages. */
async function baseUrlOf(caller: Caller): Promise<string> {
  const { baseUrl } = await caller.getCredentials<{ baseUrl: string }>(CREDENTIAL);
  return baseUrl;
}

/** An answer in problem+json comes as text from some versions of the HTTP client. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
