/** What a bucket cannot do, in the house's words. */
import type { IncomingMessage } from 'node:http';
import { TemporaryError } from '../../protocols/errors.ts';
import { element } from './s3-xml.ts';

/** An answer that is no success, or what was thrown instead of one. */
export interface Trouble {
  /** 0 where there was no answer. */
  status: number;
  /** Of S3 (Error Responses in the API reference), or empty. */
  code: string;
  message: string;
  thrown?: unknown;
}

/** Bytes of an error's body that are looked at. */
const READ = 65_536;

/** Reads the answer to its end, or so far, and lets it go. */
export async function troubleOf(response: IncomingMessage): Promise<Trouble> {
  const status = response.statusCode ?? 0;
  let body = '';
  try {
    for await (const chunk of response.setEncoding('utf8')) if ((body += chunk).length > READ) break;
  } catch {
    // What came of it has to do.
  }
  return {
    status,
    code: element(body, 'Code') ?? '',
    message: element(body, 'Message') ?? `HTTP ${status}`,
  };
}

/** Worth another try at once: the network, a busy server, and what S3 asks to repeat. */
export function isPassing({ status, code }: Trouble): boolean {
  return status === 0 || status === 429 || status >= 500 || code === 'RequestTimeout' || code === 'OperationAborted';
}

const KEYS = 'Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), the same for every process.';
const TRY_AGAIN = 'Nothing: it is tried again by itself. If it stays so, look at the log of the S3 server.';
const ENDPOINT = 'Start the S3 server, or correct blobs.s3.endpoint in switchyard.yaml.';
const REGION = 'Correct blobs.s3.region, and blobs.s3.endpoint where one is named.';
const SPACE = 'Free some space behind the bucket, or raise its quota.';
const CERTIFICATE =
  'Name the host in blobs.s3.endpoint as its certificate has it, and the authority in NODE_EXTRA_CA_CERTS.';
const FIXES: Record<string, string> = {
  NoSuchBucket: 'Make the bucket, or correct blobs.s3.bucket in switchyard.yaml.',
  InvalidAccessKeyId: KEYS,
  SignatureDoesNotMatch: KEYS,
  InvalidToken: KEYS,
  // versitygw's word for InvalidAccessKeyId.
  XAdminUserNotFound: KEYS,
  ExpiredToken: KEYS,
  AccessDenied: 'Give the key the rights to list the bucket, and to get, put and delete its objects.',
  AuthorizationHeaderMalformed: REGION,
  PermanentRedirect: REGION,
  TemporaryRedirect: REGION,
  RequestTimeTooSkewed: 'Set the clock of this machine (timedatectl set-ntp true).',
  QuotaExceeded: SPACE,
  InsufficientStorage: SPACE,
  ENOTFOUND: 'Correct blobs.s3.endpoint: the name has no address.',
  EAI_AGAIN: 'Correct blobs.s3.endpoint, or mend the DNS of this machine.',
  EPROTO: 'Correct blobs.s3.endpoint: that port does not speak TLS, or speaks it alone.',
};

/** @param what the request, for people: method, bucket and prefix */
export function s3Error(what: string, trouble: Trouble): TemporaryError {
  const cause = textOf(trouble.thrown);
  const code = trouble.code || cause.code;
  const fix = FIXES[code] ?? (/CERT|TLS_|SSL|_LEAF_/.test(code) ? CERTIFICATE : fixForStatus(trouble.status));
  return new TemporaryError({
    code: 'blob.unavailable',
    message: `The bucket cannot be used (${what}): ${[code, trouble.message || cause.message].filter(Boolean).join(': ')}`,
    fix,
    details: { ...(code && { s3: code }), status: trouble.status },
    cause: trouble.thrown,
  });
}

function fixForStatus(status: number): string {
  if (status === 0) return ENDPOINT;
  if (status === 507) return SPACE;
  if (status === 401 || status === 403) return KEYS;
  return status < 400 ? REGION : TRY_AGAIN;
}

/** Node's error for a host with several addresses has no message of its own. */
function textOf(at: unknown): { code: string; message: string } {
  if (!(at instanceof Error)) return { code: '', message: at === undefined ? '' : String(at) };
  const first = at instanceof AggregateError ? (at.errors[0] as unknown) : undefined;
  const { message } = first instanceof Error ? first : at;
  return { code: 'code' in at && typeof at.code === 'string' ? at.code : '', message };
}
