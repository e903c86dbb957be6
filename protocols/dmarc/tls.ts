/** SMTP TLS reports (RFC 8460, section 4): what senders met when they looked for TLS at a domain's mail hosts. */
import { z } from 'zod';
import { normalizeAddress } from './address.ts';
import { dmarcError } from './errors.ts';
import { MAX_COUNT, MAX_TEXT } from './limits.ts';
import { dateRangeOf } from './values.ts';
import { Warnings, type ReportWarning } from './warnings.ts';

/** RFC 8460, 4.3; others are kept, the list is a registry that grows. */
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
const Type = z.string().transform((text) => text.trim().slice(0, MAX_TYPE));
const Count = z.number().int().min(0).max(MAX_COUNT);
/** Reporters write one string where the standard has a list, and the standard's own example does. */
const List = z
  .union([z.string().transform((one) => [one]), z.array(z.string())])
  .nullish()
  .transform((list) => list ?? []);

const Report = z.object({
  'organization-name': Optional,
  'contact-info': Optional,
  'report-id': Optional,
  'date-range': z.object({ 'start-datetime': Optional, 'end-datetime': Optional }),
  policies: z.array(
    z.object({
      policy: z.object({
        'policy-type': Type,
        'policy-domain': z.string(),
        'policy-string': List,
        'mx-host': List,
      }),
      summary: z.object({ 'total-successful-session-count': Count, 'total-failure-session-count': Count }),
      'failure-details': z
        .array(
          z.object({
            'result-type': Type,
            'sending-mta-ip': Optional,
            'receiving-mx-hostname': Optional,
            'receiving-mx-helo': Optional,
            'receiving-ip': Optional,
            'failed-session-count': Count,
            'additional-information': Optional,
            'failure-reason-code': Optional,
          }),
        )
        .nullish()
        .transform((list) => list ?? []),
    }),
  ),
});

/**
 * @param bytes UTF-8 JSON; the caller limits them
 * @param now milliseconds since 1970
 * @throws PermanentError `dmarc.malformed`, `dmarc.not_a_report`, `dmarc.bad_count`, `dmarc.incomplete`, `dmarc.bad_date_range`
 */
export function readTlsReport(bytes: Uint8Array, now = Date.now(), warnings = new Warnings()): TlsReport {
  const checked = Report.safeParse(parseJson(bytes, warnings));
  if (!checked.success) throw refusalOf(checked.error);
  const report = checked.data;
  for (const name of ['organization-name', 'report-id'] as const)
    if (report[name] === null) warnings.add('missing_field', name);
  const times = report['date-range'];
  return {
    organization: report['organization-name'],
    contact: report['contact-info'],
    reportId: report['report-id'],
    ...dateRangeOf(times['start-datetime'], times['end-datetime'], now, warnings, 'iso'),
    policies: report.policies.map(({ policy, summary, 'failure-details': failures }) => ({
      type: policy['policy-type'].toLowerCase(),
      domain: policy['policy-domain'].toLowerCase().replace(/\.$/, ''),
      text: policy['policy-string'],
      mxHosts: policy['mx-host'],
      successful: summary['total-successful-session-count'],
      failed: summary['total-failure-session-count'],
      failures: failures.map((failure) => ({
        resultType: failure['result-type'],
        sendingMtaIp: addressOf(failure['sending-mta-ip'], 'sending-mta-ip', warnings),
        receivingMxHostname: failure['receiving-mx-hostname'],
        receivingMxHelo: failure['receiving-mx-helo'],
        receivingIp: addressOf(failure['receiving-ip'], 'receiving-ip', warnings),
        sessions: failure['failed-session-count'],
        additionalInformation: failure['additional-information'],
        reasonCode: failure['failure-reason-code'],
      })),
    })),
    warnings: warnings.list(),
  };
}

function parseJson(bytes: Uint8Array, warnings: Warnings): unknown {
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

function refusalOf({ issues }: z.ZodError) {
  const [issue] = issues;
  const field = issue?.path.join('.') ?? '';
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
