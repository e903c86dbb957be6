/**
 * DMARC and TLS reports: the samples of parsedmarc, dmarc-report-viewer and mail-auth, each read, or refused with a
 * reason that a person agrees with; and record for record equal to parsedmarc's reading, but for the differences below.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import PostalMime from 'postal-mime';
import { beforeAll, describe, expect, it } from 'vitest';
import { openReport } from '../../activities/dmarc/open-report.ts';
import { readReport, type ReadReport } from '../../activities/dmarc/read-report.ts';
import type { AggregateRecord } from '../../protocols/dmarc/aggregate.ts';
import { SwitchyardError } from '../../protocols/errors.ts';
import { sharedPath } from '../protocols/shared-data.ts';
import { hasParsedmarc, PARSEDMARC_PYTHON } from '../support/parsedmarc-install.ts';

if (!hasParsedmarc)
  console.log('skipped: no parsedmarc in the cache; node test/support/parsedmarc-install.ts makes one');

const ROOT = sharedPath('mail');
const FOLDERS = ['aggregate', 'aggregate_invalid', 'extract_report', 'viewer', 'feedback', 'failure'];
const samples = ROOT
  ? [...FOLDERS.map((name) => `dmarc-reports/${name}`), 'tls-rpt'].flatMap((folder) =>
      readdirSync(join(ROOT, folder))
        // Readings of another library, and words about the files.
        .filter((name) => name !== 'SOURCE.txt' && !(folder.endsWith('feedback') && name.endsWith('.json')))
        .toSorted()
        .map((name) => join(folder, name)),
    )
  : [];

/** What is not read, and why. */
const REFUSED: Record<string, string> = {
  // Text for people, without the part for machines. parsedmarc takes what it needs from the text.
  'exim_plain_text_only_no_arf_part.eml': 'dmarc.not_a_report',
  // <email><a@b.net></email>: parsedmarc repairs it by leaving out what it cannot read. A count may be among that.
  'invalid_xml.xml': 'dmarc.malformed',
  // Examples of standards with made-up intervals: of 1979 in RFC 9990, of 1975. No reporter sends them.
  'rfc9990-sample.xml': 'dmarc.bad_date_range',
  '001.xml': 'dmarc.bad_date_range',
};
/** Records and warnings of the others, where they are not one record without a warning: counted in the files by eye and grep. */
const RECORDS: Record<string, number> = {
  '!large-example.com!1711897200!1711983600.xml': 2_286,
  'rfc9990-example.net!example.com!1700000000!1700086399.xml': 2,
  'changed-input.xml': 20,
  'nice-input.xml': 20,
  'nice-input.xml.gz': 20,
  'nice-input.xml.zip': 20,
  '003.xml': 4,
};
const WARNINGS: Record<string, string[]> = {
  '!example.com!1538204542!1538463818.xml': ['empty_interval', 'missing_field'],
  '!large-example.com!1711897200!1711983600.xml': ['missing_field'],
  'empty_reason.xml': ['missing_field'],
  'example.net!example.com!1529366400!1529452799.xml': ['stray_text'],
  'invalid_utf_8.xml': ['invalid_encoding', 'empty_interval', 'missing_field'],
  'report_with_upper_cased_pass.xml': Array<string>(5).fill('letter_case'),
  'hardfail.xml': ['other_word'],
  'rfc-example.json': ['address_form'],
  'rfc8460.json': ['address_form'],
  // No Auth-Failure.
  '[Netease DMARC Failure Report] Rent Reminder.eml': ['missing_field'],
  'mimecast-weird-gzip.eml': ['trailing_bytes'],
};

interface Outcome {
  report?: ReadReport;
  records: AggregateRecord[];
  code?: string;
}

async function read(bytes: Uint8Array): Promise<Outcome> {
  const records: AggregateRecord[] = [];
  const source = (async function* () {
    yield bytes;
  })();
  try {
    let report: ReadReport | undefined;
    for await (const file of openReport(source)) report = await readReport(file, (some) => void records.push(...some));
    return { report, records };
  } catch (thrown) {
    if (thrown instanceof SwitchyardError) return { records, code: thrown.code };
    throw thrown;
  }
}

/** A file as it is; of a mail each part, whatever it says that it is, and the first that is a report. */
async function readSample(path: string): Promise<Outcome> {
  const bytes = readFileSync(join(ROOT ?? '', path));
  if (!path.endsWith('.eml')) return read(bytes);
  const { attachments } = await PostalMime.parse(bytes);
  const outcomes = await Promise.all(attachments.map(({ content }) => read(Buffer.from(content as ArrayBuffer))));
  return outcomes.find(({ report }) => report) ?? { records: [], code: 'dmarc.not_a_report' };
}

const valueOf = (report: ReadReport) =>
  report.kind === 'tls' ? report.tls : report.kind === 'failure' ? report.failure : report.aggregate;

describe('the samples', () => {
  it.each(samples)('%s', async (path) => {
    const name = basename(path);
    const { report, records, code } = await readSample(path);
    expect(code).toBe(REFUSED[name]);
    if (!report) return;
    const { warnings } = valueOf(report);
    expect(warnings.map((one) => one.code)).toEqual(WARNINGS[name] ?? []);
    if (report.kind === 'aggregate') expect(records).toHaveLength(RECORDS[name] ?? 1);
    if (report.kind === 'aggregate') expect(report.aggregate.totals.records).toBe(records.length);
  });
});

interface PeerResult {
  domain: string;
  selector?: string;
  scope?: string;
  result: string;
  human_result: string | null;
}
interface PeerRecord {
  source: { ip_address: string };
  count: number;
  policy_evaluated: {
    disposition: string;
    dkim: string;
    spf: string;
    policy_override_reasons: { type: string | null; comment: string | null }[];
  };
  identifiers: { header_from: string; envelope_from: string | null; envelope_to: string | null };
  auth_results: { dkim: PeerResult[]; spf: PeerResult[] };
}
interface PeerAggregate {
  report_metadata: Record<'org_email' | 'report_id' | 'begin_date' | 'end_date' | 'generator', string | null> & {
    org_extra_contact_info: string | null;
    errors: string[];
  };
  policy_published: Record<string, string | null>;
  records: PeerRecord[];
}
interface PeerTls {
  organization_name: string;
  begin_date: string;
  end_date: string;
  contact_info: string;
  report_id: string;
  policies: {
    policy_domain: string;
    policy_type: string;
    policy_strings?: string[];
    successful_session_count: number;
    failed_session_count: number;
    failure_details?: Record<string, string | number>[];
  }[];
}
interface PeerFailure {
  source: { ip_address: string };
  arrival_date_utc: string;
  auth_failure: string[];
  reported_domain: string;
  delivery_result: string;
  original_mail_from: string | null;
  original_rcpt_to: string | null;
  authentication_results: string | null;
  dkim_domain: string | null;
  user_agent: string | null;
}
interface PeerOutcome {
  type?: string;
  report?: unknown;
  error?: string;
}

const seconds = (text: string | null): number => Date.parse(/Z$/.test(text ?? '') ? `${text}` : `${text}Z`) / 1_000;
/** A third opinion on the form of an address: the URL standard writes IPv6 as RFC 5952 does. */
const addressForm = (text: string | number | undefined): string | null => {
  if (text === undefined) return null;
  return `${text}`.includes(':') ? new URL(`http://[${text}]`).hostname.slice(1, -1) : `${text}`;
};

describe.skipIf(!hasParsedmarc)('parsedmarc reads the same', () => {
  const peers = new Map<string, PeerOutcome>();
  beforeAll(() => {
    const { stdout, stderr, status } = spawnSync(
      PARSEDMARC_PYTHON,
      [join(import.meta.dirname, '../support/parse_dmarc.py')],
      {
        input: samples.map((path) => `${join(ROOT ?? '', path)}\n`).join(''),
        env: { ...process.env, TZ: 'UTC' },
        encoding: 'utf8',
        maxBuffer: 100_000_000,
      },
    );
    expect(status, stderr).toBe(0);
    const lines = stdout.trim().split('\n');
    expect(lines).toHaveLength(samples.length);
    samples.forEach((path, i) => peers.set(path, JSON.parse(lines[i] ?? '') as PeerOutcome));
  });

  it.each(samples)('%s', async (path) => {
    const peer = peers.get(path) as PeerOutcome;
    const { report, records, code } = await readSample(path);
    if (code) {
      expect(peer.error).toBeUndefined();
      return expect(REFUSED).toHaveProperty([basename(path)], code);
    }
    expect(peer.error).toBeUndefined();
    if (report?.kind === 'tls') return expect(tlsAsPeer(report.tls)).toEqual(peerTls(peer.report as PeerTls));
    if (report?.kind === 'failure')
      return expect(failureAsPeer(report.failure)).toEqual(peerFailure(peer.report as PeerFailure));
    const { report_metadata: theirs, policy_published: policy, records: their } = peer.report as PeerAggregate;
    if (report?.kind !== 'aggregate') throw new Error('no report');
    const { metadata } = report.aggregate;
    expect({
      email: metadata.email,
      // It cuts ids at @ and takes the angle brackets away; we keep what stands there.
      id: metadata.reportId?.replace(/[<>]/g, '').split('@')[0],
      contact: metadata.extraContactInfo,
      generator: metadata.generator,
      errors: metadata.errors,
      begin: metadata.begin,
      end: metadata.end,
    }).toEqual({
      email: theirs.org_email,
      id: theirs.report_id,
      contact: theirs.org_extra_contact_info,
      generator: theirs.generator,
      errors: theirs.errors,
      begin: seconds(theirs.begin_date),
      end: seconds(theirs.end_date),
    });
    const ours = report.aggregate.policy;
    expect({
      domain: ours.domain,
      p: ours.p,
      // It fills in what is not said; we leave it unsaid.
      sp: ours.sp ?? ours.p,
      adkim: ours.adkim ?? 'r',
      aspf: ours.aspf ?? 'r',
      np: ours.np,
      pct: ours.pct === null ? null : `${ours.pct}`,
      fo: ours.fo,
      testing: ours.testing,
      discovery_method: ours.discoveryMethod,
    }).toEqual(policy);
    expect(records.map(recordAsPeer)).toEqual(their.map(peerRecord));
  });
});

/** Our record, in the peer's words where it fills in what is not said or leaves out what we keep. */
function recordAsPeer(record: AggregateRecord) {
  const { evaluated, identifiers } = record;
  return {
    ip: record.sourceIp,
    count: record.count,
    disposition: evaluated.disposition,
    dkim: evaluated.dkim,
    spf: evaluated.spf,
    reasons: evaluated.reasons,
    // Bytes that are no UTF-8 it leaves out, so that two names can become one; we mark where they were.
    headerFrom: identifiers.headerFrom?.replaceAll('\ufffd', '') ?? null,
    // Not said: it takes the domain of the last SPF result. We would not know then what was said.
    envelopeFrom: identifiers.envelopeFrom ?? record.spf.at(-1)?.domain ?? null,
    envelopeTo: identifiers.envelopeTo,
    // It leaves out results that name no domain, and fills in selector, scope and result.
    dkimResults: record.dkim
      .filter(({ domain }) => domain !== null)
      .map((one) => ({
        domain: one.domain,
        selector: one.selector ?? 'none',
        result: one.result ?? 'none',
        humanResult: one.humanResult,
      })),
    spfResults: record.spf
      .filter(({ domain }) => domain !== null)
      .map((one) => ({
        domain: one.domain,
        scope: one.scope ?? 'mfrom',
        result: one.result ?? 'none',
        humanResult: one.humanResult,
      })),
  };
}

/** The peer's record, without what it keeps and we do not. */
function peerRecord({ source, count, policy_evaluated: evaluated, identifiers, auth_results: results }: PeerRecord) {
  return {
    ip: source.ip_address,
    count,
    disposition: evaluated.disposition,
    dkim: evaluated.dkim,
    spf: evaluated.spf,
    // An empty reason is one to it.
    reasons: evaluated.policy_override_reasons.filter(({ type, comment }) => type !== null || comment !== null),
    headerFrom: identifiers.header_from,
    envelopeFrom: identifiers.envelope_from,
    envelopeTo: identifiers.envelope_to,
    dkimResults: results.dkim.map(({ domain, selector, result, human_result: humanResult }) => ({
      domain,
      selector,
      result,
      humanResult,
    })),
    spfResults: results.spf.map(({ domain, scope, result, human_result: humanResult }) => ({
      domain,
      scope,
      // The word is kept; we read it as what it means.
      result: result === 'hardfail' ? 'fail' : result,
      humanResult,
    })),
  };
}

function tlsAsPeer(tls: Extract<ReadReport, { kind: 'tls' }>['tls']) {
  return {
    organization: tls.organization,
    contact: tls.contact,
    id: tls.reportId,
    begin: tls.begin,
    end: tls.end,
    policies: tls.policies.map(({ type, domain, text, successful, failed, failures }) => ({
      type,
      domain,
      text,
      successful,
      failed,
      failures: failures.map((one) => ({
        resultType: one.resultType,
        sessions: one.sessions,
        sendingMtaIp: one.sendingMtaIp,
        receivingIp: one.receivingIp,
        host: one.receivingMxHostname,
        reason: one.reasonCode,
      })),
    })),
  };
}

function peerTls(tls: PeerTls) {
  return {
    organization: tls.organization_name,
    contact: tls.contact_info,
    id: tls.report_id,
    begin: seconds(tls.begin_date),
    end: seconds(tls.end_date),
    policies: tls.policies.map((policy) => ({
      type: policy.policy_type,
      domain: policy.policy_domain,
      text: policy.policy_strings ?? [],
      successful: policy.successful_session_count,
      failed: policy.failed_session_count,
      failures: (policy.failure_details ?? []).map((one) => ({
        resultType: one.result_type,
        sessions: one.failed_session_count,
        sendingMtaIp: addressForm(one.sending_mta_ip),
        receivingIp: addressForm(one.receiving_ip),
        host: one.receiving_mx_hostname ?? null,
        reason: one.failure_reason_code ?? null,
      })),
    })),
  };
}

/** The peer looks for these in whatever the reporter wrote, and calls the rest other; we keep what was written. */
const DELIVERIES = ['delivered', 'spam', 'policy', 'reject'];

function failureAsPeer(failure: Extract<ReadReport, { kind: 'failure' }>['failure']) {
  return {
    ip: failure.sourceIp,
    arrivedAt: failure.arrivedAt,
    // Not said: it takes dmarc.
    authFailure: failure.authFailure.length > 0 ? failure.authFailure : ['dmarc'],
    domain: failure.reportedDomain,
    delivery: DELIVERIES.find((word) => failure.deliveryResult?.includes(word)) ?? 'other',
    mailFrom: failure.mailFrom,
    rcptTo: failure.rcptTo[0] ?? null,
    results: failure.authenticationResults[0] ?? null,
    dkimDomain: failure.dkim.domain,
    userAgent: failure.reporter.userAgent,
  };
}

function peerFailure(failure: PeerFailure) {
  return {
    ip: failure.source.ip_address,
    arrivedAt: seconds(failure.arrival_date_utc),
    authFailure: failure.auth_failure,
    domain: failure.reported_domain,
    delivery: failure.delivery_result,
    mailFrom: failure.original_mail_from?.replace(/^<(.*)>$/, '$1') ?? null,
    rcptTo: failure.original_rcpt_to ?? null,
    results: failure.authentication_results ?? null,
    dkimDomain: failure.dkim_domain ?? null,
    userAgent: failure.user_agent ?? null,
  };
}
