/** From what was read to what is published: whose report it is, what it is called, and the day that it counts for. */
import type { ReadReport } from './read-report.ts';
import type { z } from 'zod';
import type { BlobRef } from '../schemas.ts';
import type { ReportMail } from './quarantine.ts';
import { dmarcError } from '../../protocols/dmarc/errors.ts';
import { dayOf, isWithin, PARSER_VERSION, reportIdentity, reportIdOf } from '../../protocols/dmarc/identity.ts';
import { MAX_AHEAD_SECONDS } from '../../protocols/dmarc/limits.ts';
import type { PermanentError } from '../../protocols/errors.ts';
import type { Way } from '../../protocols/dmarc/way.ts';
import type { NewReport, ReportContent } from '../../stores/records/dmarc/port.ts';

/** What came, and from where. */
export interface Arrival {
  report: z.output<typeof BlobRef>;
  domain: string | null;
  address: string | null;
  receivedAt: string;
  mail: z.output<typeof ReportMail> | null;
  /** Unknown of what an earlier build began. */
  way?: Way;
  /** The same again gives the same ids. */
  act: string;
}

/** It is a report, and is not taken: for what it is about, or for how much came before. */
export class NotTaken extends Error {
  readonly refusal: PermanentError;
  constructor(refusal: PermanentError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

interface Read {
  report: ReadReport;
  sha256: string;
  /** Those that it may be about. */
  domains: string[];
}

type Facts = Pick<NewReport, 'policyDomain' | 'organization' | 'email' | 'reportId' | 'begin' | 'end'> &
  Pick<NewReport, 'policy' | 'details' | 'warnings'> & { content: ReportContent };

export interface Described {
  report: NewReport;
  content: ReportContent;
  /** What else it may be known as: an earlier build told a failure report by its fields alone. */
  earlierIdentity?: string;
}

/**
 * A TLS report is one for each domain that its policies are about, as an aggregate report is about one: so each session
 * counts once, for its own domain, whichever way the report comes and whatever else is in it.
 * @param arrival.id of the one on the domain that the file names first
 * @throws NotTaken
 */
export function describeReport(read: Read, arrival: Arrival & { id: string; file: string | null }): Described[] {
  const first = read.report.kind === 'tls' ? read.report.tls.policies[0]?.domain : undefined;
  return factsOf(read.report, read.domains, arrival.receivedAt).map((facts) => {
    const isOther = first !== undefined && facts.policyDomain !== first;
    return describe(facts, read, isOther ? { ...arrival, id: partIdOf(arrival, facts.policyDomain) } : arrival);
  });
}

/** Id of the report on another domain of the same file. */
export const partIdOf = ({ receivedAt, id }: { receivedAt: string; id: string }, policyDomain: string): string =>
  reportIdOf(receivedAt, `${id}/${policyDomain}`);

function describe(
  { content, ...facts }: Facts,
  { report: read, sha256, domains }: Read,
  { domain: wanted, receivedAt, mail, way, report: blob, id, file }: Arrival & { id: string; file: string | null },
): Described {
  const details = way === undefined ? facts.details : { ...facts.details, way };
  const domain = nearest(facts.policyDomain, domains);
  if (domain === undefined) throw foreign(facts.policyDomain, wanted);
  const { kind } = read;
  const { begin, end } = facts;
  const identity = reportIdentity({ ...facts, kind, sha256 });
  const day = dayOf(begin, end);
  return {
    report: {
      ...facts,
      details,
      id,
      identity,
      kind,
      domain,
      day,
      receivedAt,
      sha256,
      blob,
      file,
      mail,
      parser: PARSER_VERSION,
    },
    content,
    ...(read.kind === 'failure' && read.fields !== sha256
      ? { earlierIdentity: reportIdentity({ ...facts, kind, sha256: read.fields }) }
      : {}),
  };
}

function factsOf(read: ReadReport, domains: string[], receivedAt: string): Facts[] {
  if (read.kind === 'aggregate') {
    const { metadata, policy, form, version, extensions, warnings } = read.aggregate;
    const { orgName, email, reportId, begin, end, extraContactInfo, generator, errors } = metadata;
    const details = { form, version, metadata: { extraContactInfo, generator, errors }, extensions };
    const name = { policyDomain: policy.domain, organization: orgName, email, reportId, begin, end };
    return [{ ...name, policy, details, warnings, content: { kind: 'aggregate', records: [] } }];
  }
  if (read.kind === 'tls') {
    const { organization, contact, reportId, begin, end, policies, warnings } = read.tls;
    const ours = policies.filter((one) => nearest(one.domain, domains) !== undefined);
    const byDomain = Map.groupBy(ours, (one) => one.domain);
    if (ours.length === 0) byDomain.set(policies[0]?.domain ?? '', []);
    const left = policies.length - ours.length;
    const warning = { code: 'foreign_policy' as const, field: 'policies', count: left, example: null };
    return [...byDomain].map(([policyDomain, some]) => ({
      ...{ policyDomain, organization, email: contact, reportId, begin, end, policy: null, details: { contact } },
      warnings: left > 0 && ours.length > 0 ? [...warnings, warning] : warnings,
      content: { kind: 'tls', policies: some },
    }));
  }
  const { warnings, ...failure } = read.failure;
  const received = Math.floor(Date.parse(receivedAt) / 1_000);
  const said = failure.arrivedAt;
  // The clock of a stranger decides on no day to come.
  const time = said !== null && said > 0 && said <= received + MAX_AHEAD_SECONDS ? said : received;
  const policyDomain = failure.reportedDomain ?? failure.mailFrom?.split('@').at(-1)?.toLowerCase() ?? '';
  const { mta, userAgent } = failure.reporter;
  const name = { policyDomain, organization: mta ?? userAgent, email: null, reportId: null, begin: time, end: time };
  return [{ ...name, policy: null, details: {}, warnings, content: { kind: 'failure', failure } }];
}

/** Of those that the name lies in the longest: a domain and one below it may both have an address. */
function nearest(name: string, domains: string[]): string | undefined {
  return domains.filter((domain) => isWithin(name, domain)).sort((one, other) => other.length - one.length)[0];
}

/** @param wanted the domain of the address that it came to, if it came to one */
function foreign(name: string, wanted: string | null): NotTaken {
  const about =
    name === '' ? 'The report says of no domain that it is about it' : `The report is about ${name.slice(0, 253)}`;
  const why = wanted === null ? ', for which there is no report address' : `, and the address is for ${wanted}`;
  return new NotTaken(dmarcError('dmarc.foreign_domain', `${about}${why}.`, { domain: name.slice(0, 253) }));
}
