/** An aggregate report as values: RFC 7489, appendix C, and RFC 9990, appendix A. Texts are texts, ids too. */
import type { ReportWarning } from './warnings.ts';

export const DISPOSITIONS = ['none', 'pass', 'quarantine', 'reject'] as const;
export const POLICIES = ['none', 'quarantine', 'reject'] as const;
export const DKIM_RESULTS = ['none', 'pass', 'fail', 'policy', 'neutral', 'temperror', 'permerror'] as const;
export const SPF_RESULTS = ['none', 'neutral', 'pass', 'fail', 'softfail', 'temperror', 'permerror'] as const;
/** Both forms: RFC 9990 took forwarded and sampled_out away and added policy_test_mode. */
export const REASON_TYPES = [
  'forwarded',
  'sampled_out',
  'trusted_forwarder',
  'mailing_list',
  'local_policy',
  'policy_test_mode',
  'other',
] as const;

export type Disposition = (typeof DISPOSITIONS)[number];
export type Policy = (typeof POLICIES)[number];
export type DkimResult = (typeof DKIM_RESULTS)[number];
export type SpfResult = (typeof SPF_RESULTS)[number];
export type ReasonType = (typeof REASON_TYPES)[number];

/** An element that is in neither form, or inside `extensions`, as it stood. */
export interface Extension {
  /** As written, with its prefix. */
  name: string;
  attributes: Record<string, string>;
  text: string;
  children: Extension[];
}

/** Messages of one source with the same results. Null: not said, or said in a word that no standard has. */
export interface AggregateRecord {
  /** Normalised: see `normalizeAddress`. */
  sourceIp: string;
  /** Messages. */
  count: number;
  /** What was done with them, and whether DKIM and SPF passed in alignment with the domain of From. */
  evaluated: {
    disposition: Disposition | null;
    dkim: 'pass' | 'fail' | null;
    spf: 'pass' | 'fail' | null;
    reasons: { type: ReasonType | null; comment: string | null }[];
  };
  /** Domains in lower case. */
  identifiers: { headerFrom: string | null; envelopeFrom: string | null; envelopeTo: string | null };
  /** What was found before alignment was asked. */
  dkim: { domain: string | null; selector: string | null; result: DkimResult | null; humanResult: string | null }[];
  spf: {
    domain: string | null;
    scope: 'helo' | 'mfrom' | null;
    result: SpfResult | null;
    humanResult: string | null;
  }[];
  extensions: Extension[];
}

export interface ReportMetadata {
  orgName: string | null;
  email: string | null;
  extraContactInfo: string | null;
  reportId: string | null;
  /** Seconds since 1970. */
  begin: number;
  end: number;
  /** RFC 9990: the program that wrote it. */
  generator: string | null;
  errors: string[];
}

/** The policy as the reporter found it. `pct` is of RFC 7489; `np`, `testing` and `discoveryMethod` are of RFC 9990. */
export interface PolicyPublished {
  domain: string;
  p: Policy | null;
  sp: Policy | null;
  np: Policy | null;
  adkim: 'r' | 's' | null;
  aspf: 'r' | 's' | null;
  pct: number | null;
  fo: string | null;
  testing: 'y' | 'n' | null;
  discoveryMethod: 'psl' | 'treewalk' | null;
}

/** Counted while the records went by. All but `records` are messages. */
export interface ReportTotals {
  records: number;
  messages: number;
  /** DKIM or SPF passed in alignment. */
  dmarcPass: number;
  dkimPass: number;
  spfPass: number;
  dispositions: Record<Disposition | 'unknown', number>;
}

/** Everything of a report but its records. */
export interface AggregateReport {
  form: 'rfc7489' | 'rfc9990';
  version: string | null;
  /** Namespaces that the root element declares, by prefix: the names of extensions have them. */
  namespaces: Record<string, string>;
  metadata: ReportMetadata;
  policy: PolicyPublished;
  totals: ReportTotals;
  /** Of the report itself; those of a record are with the record. */
  extensions: Extension[];
  warnings: ReportWarning[];
}
