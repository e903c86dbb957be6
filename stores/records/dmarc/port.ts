/**
 * Reports about domains: whose they are, what they say, what was refused. Part of the records (`../port.ts`): its times,
 * ids and errors are theirs. A day is `YYYY-MM-DD`, UTC.
 */
import type { AggregateRecord, PolicyPublished, ReportMetadata } from '../../../protocols/dmarc/aggregate.ts';
import type { Amount, OverQuota, Quota } from '../../../protocols/dmarc/quota.ts';
import type { FailureReport } from '../../../protocols/dmarc/failure.ts';
import type { TlsPolicy } from '../../../protocols/dmarc/tls.ts';
import type { Way } from '../../../protocols/dmarc/way.ts';
import type { ReportWarning } from '../../../protocols/dmarc/warnings.ts';
import type { Authentication } from '../../../protocols/mail/authentication.ts';
import type { BlobRef } from '../../blobs/port.ts';
import type { DmarcQueries } from './queries-port.ts';

export type { DmarcQueries };

/** A domain whose reports are taken, and the one address that they come to. */
export interface DmarcDomain {
  /** A-label, lower case. */
  domain: string;
  /** `local@domain`, at a mail domain of ours. */
  address: string;
  createdAt: string;
}

export interface DmarcDomainRecords {
  /**
   * Adds the domain, or gives it another address, and makes the address a rule, in one transaction with the audit log.
   * @throws PermanentError `dmarc.address_taken` (a rule, a trigger or another domain has it), `dmarc.mail_domain_unknown`
   */
  put(domain: string, address: string, actor: string): Promise<DmarcDomain>;
  get(domain: string): Promise<DmarcDomain | undefined>;
  byAddress(address: string): Promise<DmarcDomain | undefined>;
  list(): Promise<DmarcDomain[]>;
  /** Mail to its address is refused from now on. What was reported stays. */
  remove(domain: string, actor: string): Promise<boolean>;
}

/** What is known of an address that mail came from; null where there is nothing to know. */
export interface DmarcHost {
  address: string;
  /** Of its PTR record, where that name has the address again; lower case. */
  name: string | null;
  /** ISO 3166-1 alpha-2. */
  country: string | null;
  /** Number and name of the network, such as `AS15169 Google LLC`. */
  network: string | null;
  lookedUpAt: string;
}

export interface DmarcHostRecords {
  /** Those that are known of the given ones. */
  find(addresses: string[]): Promise<Map<string, DmarcHost>>;
  put(hosts: Omit<DmarcHost, 'lookedUpAt'>[]): Promise<void>;
  /** Every address that mail came from, some hundred at a time; one that sends for several domains may come again. */
  everySource(): AsyncIterable<string[]>;
  /** Where addresses are, whatever is known of their names; a new one is `lookedUpAt` never, which is ''. */
  locate(places: Pick<DmarcHost, 'address' | 'country' | 'network'>[]): Promise<void>;
}

export type ReportKind = 'aggregate' | 'tls' | 'failure';

/** The mail that a report came with. */
export interface ReportMail {
  /** Its activity record; none for what was imported. */
  activityId: string | null;
  sender: string;
  headerFrom: string | null;
  /** What verification found: anyone can send to a report address. */
  authentication: Authentication | null;
}

export interface DmarcReport {
  id: string;
  kind: ReportKind;
  /** The domain of `DmarcDomain`; `policyDomain` is it, or one below it. */
  domain: string;
  policyDomain: string;
  organization: string | null;
  email: string | null;
  reportId: string | null;
  /** Seconds since 1970. */
  begin: number;
  end: number;
  /** The day that it counts for. */
  day: string;
  receivedAt: string;
  publishedAt: string;
  /** Hex SHA-256 of the report, unpacked. */
  sha256: string;
  /** The bytes as they came, and the name inside of them where they are an archive. */
  blob: BlobRef;
  file: string | null;
  mail: ReportMail | null;
  /** Of an aggregate report. */
  policy: PolicyPublished | null;
  details: ReportDetails;
  warnings: ReportWarning[];
  /** Records, policies of a TLS report, or 1. */
  records: number;
  /** Messages; of a TLS report sessions. */
  messages: number;
  /** Messages with DKIM or SPF aligned, sessions with TLS; 0 of a failure report. */
  passed: number;
  /** `PARSER_VERSION` that read it. */
  parser: number;
}

/** What has no column. */
export interface ReportDetails {
  form?: 'rfc7489' | 'rfc9990';
  version?: string | null;
  metadata?: Pick<ReportMetadata, 'extraContactInfo' | 'generator' | 'errors'>;
  /** Of the report itself, in the words of the reporter; those of records are with the records. */
  extensions?: unknown[];
  contact?: string | null;
  /** Unknown of those that an earlier build published. */
  way?: Way;
}

/** One to be published. `identity` is `reportIdentity` of it. */
export type NewReport = Omit<DmarcReport, 'publishedAt' | 'messages' | 'passed' | 'records'> & { identity: string };

export interface NumberedRecord {
  record: AggregateRecord;
  /** Its place in the report, from 1: the same record again is the same row. */
  number: number;
  /** Name of the sending service, '' for none. */
  service: string;
}

export type ReportContent =
  /** Those that were not staged. */
  | { kind: 'aggregate'; records: NumberedRecord[] }
  | { kind: 'tls'; policies: TlsPolicy[] }
  | { kind: 'failure'; failure: Omit<FailureReport, 'warnings'> };

/**
 * `published` by this id, now or by an earlier try. `repeated`: it was there, with the same content. `conflicting`: it
 * was there and says something else; the first one counts, since anyone may send a second one.
 */
export interface Publication {
  state: 'published' | 'repeated' | 'conflicting';
  /** Of the report that counts. */
  id: string;
}

export interface DmarcReportRecords {
  /** What counts under the identity, so that nothing is staged in vain. */
  find(identity: string, generation: number): Promise<Pick<DmarcReport, 'id' | 'sha256'> | undefined>;
  /**
   * Writes records ahead of the publication of a large report, a batch a transaction: nobody waits long for the lock.
   * They count for nothing until then. Repeatable. The domain may be a
   * guess, since whose report it is may be known only at its end; a right one saves the writing of every row anew.
   */
  stage(report: Pick<NewReport, 'id' | 'domain'>, records: NumberedRecord[], generation: number): Promise<void>;
  /**
   * Publishes the report with all its records, in one transaction with the sums: all or nothing, and once, whoever else
   * publishes the same. Reports that are to be published while others are being written share the next transaction, in
   * the order of the calls; what becomes of one is no matter of the others. Of more than 5,000 records the sums by
   * address follow in transactions of their own before this ends; after a crash the next try goes on with them, or
   * `expireStaged`, or whoever asks: no answer has a part of a report (`one-state.ts`). What was staged for one that is
   * not published is removed.
   * @param generation as `generations.current` said, or one that is being built
   * @throws TemporaryError `dmarc.generation_over`: it is neither any more; begin again with the present one
   */
  publish(report: NewReport, content: ReportContent, generation: number): Promise<Publication>;
  /** Removes what was staged for a report that will not be published. */
  discard(id: string, generation: number): Promise<void>;
  /**
   * Removes what was staged before the time and never published, and ends the sums of large reports whose publication
   * was killed. Returns how many reports were removed.
   */
  expireStaged(time: string): Promise<number>;
}

/** All answers of one reading of the reports. One is current; another may be built beside it. */
export interface Generation {
  number: number;
  state: 'current' | 'building';
  parser: number;
  startedAt: string;
}

export interface GenerationRecords {
  current(): Promise<Generation>;
  building(): Promise<Generation | undefined>;
  /** Begins one, or goes on with the one that is being built, if it is of the same parser; of another it is dropped. */
  begin(parser: number): Promise<Generation>;
  /** Current reports that the generation does not have yet and has not refused (`rereadAct`), by id. */
  missing(generation: number, after: string | undefined, limit: number): Promise<DmarcReport[]>;
  /**
   * Makes the generation the current one, unless reports came in meanwhile: then they are to be read first. The one
   * before is no longer asked, and `clear` removes it.
   * @returns how many are missing; 0 when it is done
   */
  switchTo(generation: number): Promise<number>;
  /** Removes rows of generations that are neither current nor built, a batch. Returns how many; 0 when there are none. */
  clear(): Promise<number>;
  /** Drops a generation that is being built. */
  drop(generation: number): Promise<void>;
}

/** The act of refusing a report that an earlier parser took. */
export const rereadAct = (generation: number, reportId: string): string => `reread/${generation}/${reportId}`;

/** What came to a report address and was not taken, with its original. */
export interface Quarantined {
  id: string;
  /** Names the refusal, so that a repeat is the same one. */
  act: string;
  /** Of the address; none for what was imported. */
  domain: string | null;
  address: string | null;
  sender: string | null;
  receivedAt: string;
  /** `dmarc.too_large`, `dmarc.foreign_domain`, ... and what it says in words. */
  code: string;
  message: string;
  /** The original: the attachment as it came, or the whole mail where none could be taken out of it. */
  blob: BlobRef;
  file: string | null;
  mail: ReportMail | null;
  expiresAt: string;
}

export interface QuarantineRecords {
  /** Keeps the first of an act and returns it. Own its blob before, as `quarantineOwner`. */
  put(entry: Quarantined): Promise<Quarantined>;
  get(id: string): Promise<Quarantined | undefined>;
  /** Newest first. */
  list(filter: { domain?: string; before?: string; limit?: number }): Promise<Quarantined[]>;
  count(filter: { domain?: string; since?: string }): Promise<number>;
  remove(id: string, actor: string): Promise<boolean>;
  /** Removes what is past its time; its blobs go with their owners. */
  expire(now: string): Promise<number>;
}

/** A mail, or a report out of one. */
export interface Intake extends Amount {
  /** Names it: the same again counts once. */
  id: string;
  /** That the report address is for. */
  domain: string;
  /** `quotaSender` of the mail. */
  sender: string;
}

export interface IntakeRecords {
  /**
   * Counts what comes to a report address, unless there is no room for it: all or nothing, whoever else comes meanwhile.
   * What was counted before has room.
   * @param now ISO 8601
   */
  take(intake: Intake, quota: Quota, now: string): Promise<OverQuota | undefined>;
  /** Why nothing at all has room at the address of the domain, whoever it is from. */
  isFull(domain: string, quota: Quota, now: string): Promise<OverQuota | undefined>;
  /** Removes what no quota looks back to. */
  expire(now: string): Promise<number>;
}

/** Owners of blobs. */
export const quarantineOwner = (id: string): string => `dmarc-quarantine:${id}`;
export const reportOwner = (id: string): string => `dmarc-report:${id}`;
/** @param sha256 of the archive: whoever imports the same again owns the same */
export const importOwner = (sha256: string): string => `dmarc-import:${sha256}`;

export interface DmarcRecords {
  domains: DmarcDomainRecords;
  hosts: DmarcHostRecords;
  reports: DmarcReportRecords;
  generations: GenerationRecords;
  quarantine: QuarantineRecords;
  intake: IntakeRecords;
  queries: DmarcQueries;
}
