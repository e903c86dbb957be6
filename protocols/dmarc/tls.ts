/** SMTP TLS reports (RFC 8460, section 4): what senders met when they looked for TLS at a domain's mail hosts. */
import { z } from 'zod';
import { normalizeAddress } from './address.ts';
import { dmarcError } from './errors.ts';
import {
  MAX_COUNT,
  MAX_DEPTH,
  MAX_TEXT,
  MAX_TLS_FAILURES,
  MAX_TLS_LINES,
  MAX_TLS_NODES,
  MAX_TLS_POLICIES,
} from './limits.ts';
import { dateRangeOf } from './values.ts';
import { Warnings, type ReportWarning } from './warnings.ts';

/** RFC 8460, 4.3; others are kept, the list is a registry that grows. */
export const RESULT_TYPES = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'dane-required',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'sts-webpki-invalid',
];

export interface TlsFailure {
  resultType: string;
  sendingMtaIp: string | null;
  receivingMxHostname: string | null;
  receivingMxHelo: string | null;
  receivingIp: string | null;
  sessions: number;
  additionalInformation: string | null;
  reasonCode: string | null;
}

export interface TlsPolicy {
  /** `sts`, `tlsa` or `no-policy-found`. */
  type: string;
  domain: string;
  /** The policy as it was found, line by line. */
  text: string[];
  mxHosts: string[];
  successful: number;
  failed: number;
  failures: TlsFailure[];
}

export interface TlsReport {
  organization: string | null;
  contact: string | null;
  reportId: string | null;
  /** Seconds since 1970. */
  begin: number;
  end: number;
  policies: TlsPolicy[];
  warnings: ReportWarning[];
}

const Text = z.string().transform((text) => text.trim().slice(0, MAX_TEXT) || null);
const Optional = Text.nullish().transform((text) => text ?? null);
/** A name out of a registry: the longest today has 28 characters. Answers are looked up by it, and an index takes no more. */
const MAX_TYPE = 255;
/** RFC 1035, 2.3.4, with what escapes add. Longer ones are no names, and are about none of ours. */
const Domain = z.string().transform((name) => name.slice(0, MAX_TEXT));
const Type = z.string().transform((text) => text.trim().slice(0, MAX_TYPE));
const Count = z.number().int().min(0).max(MAX_COUNT);
/**
 * Lines of a policy, or names of hosts. Reporters write one string where the standard has a list, and the standard's own
 * example does.
 */
const Lines = z
  .unknown()
  .optional()
  .transform((value, context): string[] => {
    const list = typeof value === 'string' ? [value] : (value ?? []);
    if (Array.isArray(list) && list.every((one) => typeof one === 'string'))
      return list.slice(0, MAX_TLS_LINES).map((one) => one.slice(0, MAX_TEXT));
    context.addIssue({ code: 'custom', message: 'expected a string or a list of them' });
    return z.NEVER;
  });
/** Its elements are read one by one, and the first bad one ends it: a million of them would be a million objections. */
const List = z
  .custom<unknown[] | null>((value) => value === null || Array.isArray(value), { message: 'expected a list' })
  .optional()
  .transform((list) => list ?? []);

const Report = z.object({
  'organization-name': Optional,
  'contact-info': Optional,
  'report-id': Optional,
  'date-range': z.object({ 'start-datetime': Optional, 'end-datetime': Optional }),
  policies: z.custom<unknown[]>(Array.isArray, { message: 'expected a list' }),
});

const Policy = z.object({
  policy: z.object({ 'policy-type': Type, 'policy-domain': Domain, 'policy-string': Lines, 'mx-host': Lines }),
  summary: z.object({ 'total-successful-session-count': Count, 'total-failure-session-count': Count }),
  'failure-details': List,
});

const Failure = z.object({
  'result-type': Type,
  'sending-mta-ip': Optional,
  'receiving-mx-hostname': Optional,
  'receiving-mx-helo': Optional,
  'receiving-ip': Optional,
  'failed-session-count': Count,
  'additional-information': Optional,
  'failure-reason-code': Optional,
});

/**
 * @param bytes UTF-8 JSON; the caller limits them
 * @param now milliseconds since 1970
 * @throws PermanentError `dmarc.malformed`, `dmarc.not_a_report`, `dmarc.bad_count`, `dmarc.incomplete`,
 * `dmarc.bad_date_range`, `dmarc.too_deep`, `dmarc.too_large`, `dmarc.too_many_records`
 */
export function readTlsReport(bytes: Uint8Array, now = Date.now(), warnings = new Warnings()): TlsReport {
  const report = checked(Report, parseJson(bytes, warnings), '');
  for (const name of ['organization-name', 'report-id'] as const)
    if (report[name] === null) warnings.add('missing_field', name);
  const times = report['date-range'];
  const policies = report.policies;
  if (policies.length > MAX_TLS_POLICIES)
    throw dmarcError('dmarc.too_many_records', `The report has more than ${MAX_TLS_POLICIES} policies.`);
  let failures = 0;
  return {
    organization: report['organization-name'],
    contact: report['contact-info'],
    reportId: report['report-id'],
    ...dateRangeOf(times['start-datetime'], times['end-datetime'], now, warnings, 'iso'),
    policies: policies.map((one, index) => {
      const field = `policies.${index}`;
      const { policy, summary, 'failure-details': details } = checked(Policy, one, field);
      failures += details.length;
      if (failures > MAX_TLS_FAILURES)
        throw dmarcError('dmarc.too_many_records', `The report has more than ${MAX_TLS_FAILURES} kinds of failure.`);
      return {
        type: policy['policy-type'].toLowerCase(),
        domain: policy['policy-domain'].toLowerCase().replace(/\.$/, ''),
        text: policy['policy-string'],
        mxHosts: policy['mx-host'],
        successful: summary['total-successful-session-count'],
        failed: summary['total-failure-session-count'],
        failures: details.map((detail, place) =>
          failureOf(checked(Failure, detail, `${field}.failure-details.${place}`), warnings),
        ),
      };
    }),
    warnings: warnings.list(),
  };
}

function failureOf(failure: z.output<typeof Failure>, warnings: Warnings): TlsFailure {
  return {
    resultType: failure['result-type'],
    sendingMtaIp: addressOf(failure['sending-mta-ip'], 'sending-mta-ip', warnings),
    receivingMxHostname: failure['receiving-mx-hostname'],
    receivingMxHelo: failure['receiving-mx-helo'],
    receivingIp: addressOf(failure['receiving-ip'], 'receiving-ip', warnings),
    sessions: failure['failed-session-count'],
    additionalInformation: failure['additional-information'],
    reasonCode: failure['failure-reason-code'],
  };
}

function parseJson(bytes: Uint8Array, warnings: Warnings): unknown {
  refuseBulk(bytes);
  const text = Buffer.from(bytes)
    .toString('utf8')
    .replace(/^\ufeff/, '');
  if (text.includes('\ufffd')) warnings.add('invalid_encoding');
  try {
    return JSON.parse(text) as unknown;
  } catch (thrown) {
    throw dmarcError('dmarc.malformed', 'The document is not JSON.', undefined, thrown);
  }
}

/**
 * Counts objects and lists before anything is made of them: two million empty ones in 4 MiB would be hundreds of MB.
 * @throws PermanentError `dmarc.too_deep`, `dmarc.too_large`
 */
function refuseBulk(bytes: Uint8Array): void {
  let [depth, opened] = [0, 0];
  let isText = false;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at];
    if (byte === QUOTE) isText = !isText;
    else if (isText) at += byte === BACKSLASH ? 1 : 0;
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      depth += 1;
      opened += 1;
      if (depth > MAX_DEPTH) throw dmarcError('dmarc.too_deep', `The report is nested more than ${MAX_DEPTH} deep.`);
      if (opened > MAX_TLS_NODES)
        throw dmarcError('dmarc.too_large', `The report has more than ${MAX_TLS_NODES} objects and lists.`);
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth -= 1;
  }
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** @throws PermanentError `dmarc.bad_count`, `dmarc.not_a_report` */
function checked<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  throw refusalOf(read.error, where);
}

function refusalOf({ issues: [issue] }: z.ZodError, where: string) {
  const field = [where, ...(issue?.path ?? [])].filter((one) => one !== '').join('.');
  const isCount = field.endsWith('-session-count');
  return dmarcError(
    isCount ? 'dmarc.bad_count' : 'dmarc.not_a_report',
    `The document is no TLS report as RFC 8460 has it: ${field || 'the whole of it'}: ${issue?.message ?? 'not valid'}`,
    { field },
  );
}

/** A failure that names no address, or none that can be read, is a failure all the same. */
function addressOf(text: string | null, field: string, warnings: Warnings): string | null {
  if (text === null) return null;
  const address = normalizeAddress(text) ?? null;
  if (address !== text)
    warnings.add(address === null ? 'unknown_value' : 'address_form', `failure-details/${field}`, text);
  return address;
}
