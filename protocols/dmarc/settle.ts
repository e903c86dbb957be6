/** From the texts of a report to its values. */
import {
  DISPOSITIONS,
  DKIM_RESULTS,
  POLICIES,
  REASON_TYPES,
  SPF_RESULTS,
  type AggregateRecord,
  type AggregateReport,
} from './aggregate.ts';
import type { RecordTexts, ReportTexts } from './elements.ts';
import { dmarcError } from './errors.ts';
import { countOf, percentageOf, requiredWord, sourceOf, wordOf } from './values.ts';
import type { Warnings } from './warnings.ts';

const PASS_OR_FAIL = ['pass', 'fail'] as const;
const SCOPES = ['helo', 'mfrom'] as const;
const ALIGNMENTS = ['r', 's'] as const;
const RESULTS = 'record/auth_results';
const EVALUATED = 'record/row/policy_evaluated';
/** RFC 9990, appendix A. */
const NAMESPACE = 'urn:ietf:params:xml:ns:dmarc-2.0';

/**
 * @param number of the record in its report, from 1
 * @throws PermanentError `dmarc.bad_source_ip`, `dmarc.bad_count`
 */
export function settleRecord(texts: RecordTexts, number: number, warnings: Warnings): AggregateRecord {
  const { row, evaluated, identifiers } = texts;
  if (!identifiers.header_from) warnings.add('missing_field', 'record/identifiers/header_from');
  return {
    sourceIp: sourceOf(row.source_ip, number, warnings),
    count: countOf(row.count, number, warnings),
    evaluated: {
      disposition: requiredWord(DISPOSITIONS, evaluated.disposition, `${EVALUATED}/disposition`, warnings),
      dkim: requiredWord(PASS_OR_FAIL, evaluated.dkim, `${EVALUATED}/dkim`, warnings),
      spf: requiredWord(PASS_OR_FAIL, evaluated.spf, `${EVALUATED}/spf`, warnings),
      reasons: texts.reasons
        .map(({ type, comment }) => ({
          type: requiredWord(REASON_TYPES, type, `${EVALUATED}/reason/type`, warnings),
          comment: textOf(comment),
        }))
        // Some reporters write an empty one where there is none.
        .filter(({ type, comment }) => type !== null || comment !== null),
    },
    identifiers: {
      headerFrom: domainOf(identifiers.header_from),
      envelopeFrom: domainOf(identifiers.envelope_from),
      envelopeTo: domainOf(identifiers.envelope_to),
    },
    dkim: texts.dkim.map((one) => ({
      domain: domainOf(one.domain),
      selector: textOf(one.selector),
      result: requiredWord(DKIM_RESULTS, one.result, `${RESULTS}/dkim/result`, warnings),
      humanResult: textOf(one.human_result),
    })),
    spf: texts.spf.map((one) => ({
      domain: domainOf(one.domain),
      scope: wordOf(SCOPES, one.scope, `${RESULTS}/spf/scope`, warnings),
      result: requiredWord(SPF_RESULTS, one.result, `${RESULTS}/spf/result`, warnings),
      humanResult: textOf(one.human_result),
    })),
    extensions: texts.extensions,
  };
}

/** @throws PermanentError `dmarc.incomplete`: without a domain and an interval a report says nothing */
export function settleReport(
  { version, metadata, policy, errors, extensions }: ReportTexts,
  range: { begin: number; end: number } | undefined,
  namespaces: Record<string, string>,
  warnings: Warnings,
): Omit<AggregateReport, 'totals' | 'warnings'> {
  const domain = domainOf(policy.domain);
  if (!range || !domain)
    throw dmarcError('dmarc.incomplete', `The report has no ${range ? 'policy_published/domain' : 'date_range'}.`);
  for (const name of ['org_name', 'email', 'report_id'] as const)
    if (!metadata[name]) warnings.add('missing_field', `report_metadata/${name}`);
  const policyOf = (name: 'p' | 'sp' | 'np') => wordOf(POLICIES, policy[name], `policy_published/${name}`, warnings);
  const alignmentOf = (name: 'adkim' | 'aspf') =>
    wordOf(ALIGNMENTS, policy[name], `policy_published/${name}`, warnings);
  return {
    form:
      Object.values(namespaces).includes(NAMESPACE) || policy.testing !== null || policy.discovery_method !== null
        ? 'rfc9990'
        : 'rfc7489',
    version: textOf(version),
    namespaces,
    metadata: {
      orgName: textOf(metadata.org_name),
      email: textOf(metadata.email),
      extraContactInfo: textOf(metadata.extra_contact_info),
      reportId: textOf(metadata.report_id),
      ...range,
      generator: textOf(metadata.generator),
      errors: errors.filter((one) => one !== ''),
    },
    policy: {
      domain,
      p: policyOf('p'),
      sp: policyOf('sp'),
      np: policyOf('np'),
      adkim: alignmentOf('adkim'),
      aspf: alignmentOf('aspf'),
      pct: percentageOf(policy.pct, warnings),
      fo: textOf(policy.fo),
      testing: wordOf(['y', 'n'], policy.testing, 'policy_published/testing', warnings),
      discoveryMethod: wordOf(
        ['psl', 'treewalk'],
        policy.discovery_method,
        'policy_published/discovery_method',
        warnings,
      ),
    },
    extensions,
  };
}

const textOf = (text: string | null): string | null => text || null;
/** Domains are compared without letter case, and a final dot is the same name (RFC 1034, 3.1). */
function domainOf(text: string | null): string | null {
  if (!text) return null;
  const name = text.toLowerCase();
  return (name.endsWith('.') ? name.slice(0, -1) : name) || null;
}
