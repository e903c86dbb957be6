/** From reports and their records to rows, and back. */
import type { Selectable } from 'kysely';
import type { AggregateRecord, ReasonType } from '../../../protocols/dmarc/aggregate.ts';
import { fromJson, toJson } from '../tables.ts';
import type { DmarcReport, NewReport, NumberedRecord, ReportContent } from './port.ts';
import type { DmarcTables } from './tables.ts';

/** Stands where a reporter said nothing of the standard's: a key of sums holds no null. */
export const UNKNOWN = 'unknown';

/** The receiver knew better than the policy, and may do so again under a stricter one (RFC 7489, appendix C; RFC 9990). */
const EXEMPTIONS: ReadonlySet<ReasonType | null> = new Set([
  'forwarded',
  'trusted_forwarder',
  'mailing_list',
  'local_policy',
]);

export function toRecordRow(
  { id, domain }: Pick<NewReport, 'id' | 'domain'>,
  { record, number, service }: NumberedRecord,
  generation: number,
): DmarcTables['dmarc_records'] {
  const { sourceIp, count, evaluated, identifiers, dkim, spf, extensions } = record;
  return {
    generation,
    report: id,
    number,
    domain,
    source: sourceIp,
    count,
    disposition: evaluated.disposition ?? UNKNOWN,
    dkim: evaluated.dkim ?? UNKNOWN,
    spf: evaluated.spf ?? UNKNOWN,
    exempt: evaluated.reasons.some(({ type }) => EXEMPTIONS.has(type)) ? 1 : 0,
    service,
    header_from: identifiers.headerFrom,
    envelope_from: identifiers.envelopeFrom,
    envelope_to: identifiers.envelopeTo,
    results: JSON.stringify({ reasons: evaluated.reasons, dkim, spf, extensions }),
  };
}

type Results = Pick<AggregateRecord, 'dkim' | 'spf' | 'extensions'> & Pick<AggregateRecord['evaluated'], 'reasons'>;

export function fromRecordRow(row: Selectable<DmarcTables['dmarc_records']>): AggregateRecord {
  const { reasons, ...results } = JSON.parse(row.results) as Results;
  const known = <Word>(word: string): Word | null => (word === UNKNOWN ? null : (word as Word));
  return {
    sourceIp: row.source,
    count: row.count,
    evaluated: { disposition: known(row.disposition), dkim: known(row.dkim), spf: known(row.spf), reasons },
    identifiers: { headerFrom: row.header_from, envelopeFrom: row.envelope_from, envelopeTo: row.envelope_to },
    ...results,
  };
}

export function toReportRow(
  report: NewReport,
  counts: Pick<DmarcReport, 'records' | 'messages' | 'passed'>,
  generation: number,
  publishedAt: string,
): DmarcTables['dmarc_reports'] {
  return {
    generation,
    id: report.id,
    identity: report.identity,
    kind: report.kind,
    domain: report.domain,
    policy_domain: report.policyDomain,
    organization: report.organization,
    email: report.email,
    report_id: report.reportId,
    period_begin: report.begin,
    period_end: report.end,
    day: report.day,
    received_at: report.receivedAt,
    published_at: publishedAt,
    sha256: report.sha256,
    blob: JSON.stringify(report.blob),
    file: report.file,
    mail: toJson(report.mail),
    policy: toJson(report.policy),
    details: JSON.stringify(report.details),
    warnings: JSON.stringify(report.warnings),
    ...counts,
    parser: report.parser,
  };
}

export function fromReportRow(row: Selectable<DmarcTables['dmarc_reports']>): DmarcReport {
  return {
    id: row.id,
    kind: row.kind as DmarcReport['kind'],
    domain: row.domain,
    policyDomain: row.policy_domain,
    organization: row.organization,
    email: row.email,
    reportId: row.report_id,
    begin: row.period_begin,
    end: row.period_end,
    day: row.day,
    receivedAt: row.received_at,
    publishedAt: row.published_at,
    sha256: row.sha256,
    blob: JSON.parse(row.blob) as DmarcReport['blob'],
    file: row.file,
    mail: fromJson(row.mail),
    policy: fromJson(row.policy),
    details: JSON.parse(row.details) as DmarcReport['details'],
    warnings: JSON.parse(row.warnings) as DmarcReport['warnings'],
    records: row.records,
    messages: row.messages,
    passed: row.passed,
    parser: row.parser,
  };
}

type TlsPolicies = Extract<ReportContent, { kind: 'tls' }>['policies'];

export function toTlsRows({ id, domain, day }: NewReport, policies: TlsPolicies, generation: number) {
  const common = { generation, report: id };
  return {
    policies: policies.map((policy, number): DmarcTables['dmarc_tls_policies'] => ({
      ...common,
      number,
      domain,
      day,
      policy_domain: policy.domain,
      type: policy.type,
      successful: policy.successful,
      failed: policy.failed,
      policy: JSON.stringify({ text: policy.text, mxHosts: policy.mxHosts }),
    })),
    failures: policies.flatMap(({ failures }, policy) =>
      failures.map((failure, number): DmarcTables['dmarc_tls_failures'] => ({
        ...common,
        policy,
        number,
        domain,
        day,
        result: failure.resultType,
        sessions: failure.sessions,
        sending_ip: failure.sendingMtaIp,
        receiving_host: failure.receivingMxHostname,
        receiving_ip: failure.receivingIp,
        details: JSON.stringify({
          receivingMxHelo: failure.receivingMxHelo,
          additionalInformation: failure.additionalInformation,
          reasonCode: failure.reasonCode,
        }),
      })),
    ),
  };
}

type Failure = Extract<ReportContent, { kind: 'failure' }>['failure'];

export const toFailureRow = (
  { id, domain }: NewReport,
  failure: Failure,
  generation: number,
): DmarcTables['dmarc_failures'] => ({
  generation,
  report: id,
  domain,
  source: failure.sourceIp,
  arrived_at: failure.arrivedAt,
  incidents: failure.incidents,
  details: JSON.stringify(failure),
});

export const fromTlsPolicyRow = (
  row: Selectable<DmarcTables['dmarc_tls_policies']>,
  failures: TlsPolicies[number]['failures'],
): TlsPolicies[number] => ({
  type: row.type,
  domain: row.policy_domain,
  ...(JSON.parse(row.policy) as Pick<TlsPolicies[number], 'text' | 'mxHosts'>),
  successful: row.successful,
  failed: row.failed,
  failures,
});

export const fromTlsFailureRow = (
  row: Selectable<DmarcTables['dmarc_tls_failures']>,
): TlsPolicies[number]['failures'][number] => ({
  resultType: row.result,
  sendingMtaIp: row.sending_ip,
  receivingMxHostname: row.receiving_host,
  receivingIp: row.receiving_ip,
  sessions: row.sessions,
  ...(JSON.parse(row.details) as Pick<
    TlsPolicies[number]['failures'][number],
    'receivingMxHelo' | 'additionalInformation' | 'reasonCode'
  >),
});
