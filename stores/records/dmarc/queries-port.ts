/**
 * What pages, the API, CSV files, nodes and the weekly mail ask of the reports. Every answer is of the current
 * generation. Figures are messages unless it says otherwise; shares are left to whoever shows them.
 */
import type { AggregateRecord, PolicyPublished } from '../../../protocols/dmarc/aggregate.ts';
import type { FailureReport } from '../../../protocols/dmarc/failure.ts';
import type { TlsFailure, TlsPolicy } from '../../../protocols/dmarc/tls.ts';
import type { DmarcReport, ReportKind } from './port.ts';

/** A domain and the days to look at, both ends included. */
export interface Range {
  domain: string;
  /** `YYYY-MM-DD` */
  from: string;
  to: string;
}

export interface Counts {
  messages: number;
  /** DKIM or SPF passed in alignment: DMARC passed. */
  passed: number;
  /** DKIM passed in alignment; SPF did. One message may have both. */
  dkim: number;
  spf: number;
  quarantined: number;
  rejected: number;
}

export interface DomainSummary {
  domain: string;
  /** Null where its address was removed and its reports are still there. */
  address: string | null;
  /** Of all kinds, and when the last one came. */
  reports: number;
  lastReportAt: string | null;
  /** Since the day that was asked for. */
  counts: Counts;
}

export interface Totals extends Counts {
  /** Aggregate reports, and the organisations that sent them. */
  reports: number;
  organizations: number;
  /** Addresses that mail came from. */
  sources: number;
  /** Days with any message. */
  days: number;
}

export interface DayCounts extends Counts {
  day: string;
}

/** '' is what no rule names. */
export interface ServiceCounts extends Counts {
  service: string;
  /** Addresses that its mail came from. */
  sources: number;
}

export interface SourceCounts extends Counts {
  source: string;
  service: string;
  /** See `DmarcHost`. */
  name: string | null;
  country: string | null;
  network: string | null;
  /** The first and the last day that it was ever seen. */
  firstDay: string;
  lastDay: string;
}

/** Which addresses are asked for. */
export interface WantedSources {
  /** Of this service alone; '' is what no rule names. */
  service?: string;
  source?: string;
  /** Only those with messages that failed, most failed first. */
  failing?: boolean;
  /** Only those that were not seen before the range. */
  isNew?: boolean;
  /** So many of the first are left out. */
  skip?: number;
  limit?: number;
}

/**
 * What a stricter `p` would have done to the messages that were reported. It rules names below the domain too, unless the
 * record has `sp` for them or they have a record of their own (RFC 9989, 4.7).
 */
export interface WhatIf {
  messages: number;
  /** Passed DMARC: no policy touches them. */
  passed: number;
  /** Failed and were let through, and would not be under `quarantine`; the services that sent them, most first. */
  quarantine: WhatIfHits;
  /** Failed and were not refused, and would be under `reject`. */
  reject: WhatIfHits;
  /** Failed, whatever was done with them. */
  failed: WhatIfHits;
  /** Failed, and `p` does not rule them, so that they are in none of these. */
  apart: number;
}

export interface WhatIfHits {
  hit: number;
  services: WhatIfService[];
}

export interface WhatIfService {
  service: string;
  hit: number;
  /** Of these the receiver said that it knows better (forwarded, mailing list, local policy), and may do so again. */
  exempt: number;
}

/** What failed of an address that no service is known of: as `WhatIf` has it of services. */
export interface WhatIfSource {
  source: string;
  quarantine: Omit<WhatIfService, 'service'>;
  reject: Omit<WhatIfService, 'service'>;
  failed: Omit<WhatIfService, 'service'>;
}

/** A record of a published report. */
export interface StoredRecord {
  reportId: string;
  number: number;
  day: string;
  organization: string | null;
  service: string;
  record: AggregateRecord;
}

export interface TlsTotals {
  reports: number;
  /** Sessions. */
  successful: number;
  failed: number;
  days: { day: string; successful: number; failed: number }[];
  /** Kinds of failure, most sessions first. '' is what of reports with very many kinds is not summed up by its name. */
  results: { result: string; sessions: number; hosts: string[] }[];
}

/** A TLS report as far as an answer has room for it. */
export interface TlsBeginning {
  /** The first of them, with the first of their failures. */
  policies: TlsPolicy[];
  /** How many there are. */
  total: { policies: number; failures: number };
}

/** One failure of a TLS report, and its places: of its policy in the report, and in that, from 0. */
export interface StoredTlsFailure {
  policy: number;
  number: number;
  /** Of the policy. */
  type: string;
  domain: string;
  failure: TlsFailure;
}

/** Where a page of failures ended; what comes after it is the next page. */
export type TlsCursor = Pick<StoredTlsFailure, 'policy' | 'number'>;

export interface StoredFailure {
  reportId: string;
  receivedAt: string;
  organization: string | null;
  failure: Omit<FailureReport, 'warnings'>;
}

/** Where a page of a list ended; what comes after it is the next page. */
export interface RecordCursor {
  reportId: string;
  number: number;
}

/** Each answer is of one state of the records: of a report that is published meanwhile it has all or nothing. */
export interface DmarcAnswers {
  /** Every domain that has an address or reports. @param since day from which its figures are summed up */
  domains(since: string): Promise<DomainSummary[]>;
  totals(range: Range): Promise<Totals>;
  /** Only days that have messages, ascending. */
  days(range: Range & { service?: string }): Promise<DayCounts[]>;
  /** The first day that has messages. */
  firstDay(domain: string): Promise<string | undefined>;
  /** Most messages first. */
  services(range: Range): Promise<ServiceCounts[]>;
  /** The same without the addresses of each, which are the dear part. */
  countsByService(range: Range): Promise<Omit<ServiceCounts, 'sources'>[]>;
  /**
   * Most messages first, at most 500. `failing`: only those with messages that failed, most failed first.
   * `isNew`: only those not seen before the range (with `service`, as of that service); the figures are of the range all the
   * same. `skip`: without so many of the first, for the pages after.
   */
  sources(range: Range & WantedSources): Promise<SourceCounts[]>;
  /** The same without what is known of each beside its figures. */
  countsBySource(range: Range & WantedSources): Promise<(Counts & { source: string })[]>;
  /** Those first seen on or after the day, most messages first, at most 500; `failing` and `skip` as above. */
  newSources(options: {
    domain: string;
    since: string;
    failing?: boolean;
    skip?: number;
    limit?: number;
  }): Promise<SourceCounts[]>;
  countNewSources(options: { domain: string; since: string }): Promise<number>;
  whatIf(range: Range): Promise<WhatIf>;
  /** Of these addresses, at most 500, those with anything in it, without order. */
  whatIfSources(range: Range & { sources: string[] }): Promise<WhatIfSource[]>;
  /** The policy in the newest report about the domain itself, and the day it is of. */
  policy(domain: string): Promise<{ policy: PolicyPublished; day: string } | undefined>;
  /** Records of a source, newest report first, at most 500. `failing`: only those that failed. */
  records(
    options: Partial<Range> & {
      domain: string;
      source: string;
      failing?: boolean;
      before?: RecordCursor;
      limit?: number;
    },
  ): Promise<StoredRecord[]>;
  report(id: string): Promise<DmarcReport | undefined>;
  /** Newest first, at most 500. */
  reports(
    options: Partial<Range> & { domain: string; kind?: ReportKind; before?: string; limit?: number },
  ): Promise<DmarcReport[]>;
  /** Records of a report in their order, at most 500, from after the number. */
  reportRecords(id: string, after?: number, limit?: number): Promise<StoredRecord[]>;
  tls(range: Range): Promise<TlsTotals>;
  /** Policies of a TLS report, with their failures, in the order of the report: all of them, for whoever writes it anew. */
  reportTls(id: string): Promise<TlsPolicy[]>;
  /** As many of them as are asked for, at most 500 of each: a stranger may have sent thousands. */
  reportTlsBeginning(id: string, most: TlsBeginning['total']): Promise<TlsBeginning>;
  /** Failures of a TLS report in its order, at most 500, from after the place. */
  reportTlsFailures(id: string, after?: TlsCursor, limit?: number): Promise<StoredTlsFailure[]>;
  /** Newest first, at most 500. */
  failures(options: { domain: string; before?: string; limit?: number }): Promise<StoredFailure[]>;
  reportFailure(id: string): Promise<StoredFailure | undefined>;
}

export interface DmarcQueries extends DmarcAnswers {
  /**
   * Several answers of the same state, so that the figures of a page agree with each other, and it takes no more than one
   * connection.
   * @param question asks one after another, and of nothing else
   */
  inOneState<Answer>(question: (answers: DmarcAnswers) => Promise<Answer>): Promise<Answer>;
  /**
   * All of them, by address, some hundred at a time.
   * @throws TemporaryError `dmarc.generation_over`: they were read anew meanwhile, and what was given is not all
   */
  everySource(range: Range & { service?: string; failing?: boolean }): AsyncIterable<SourceCounts[]>;
  /** All of them, by address, as `everySource` gives them. */
  everyNewSource(options: { domain: string; since: string; failing?: boolean }): AsyncIterable<SourceCounts[]>;
}
