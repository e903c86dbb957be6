/**
 * The records store: rules, mail activity, deliveries, blob owners, tokens, audit log, the local inbox.
 * One interface, a driver a database. Times are ISO 8601 UTC strings with milliseconds; ids of rows that
 * have an order in time are UUIDv7, so that the id is the keyset cursor.
 *
 * Every method throws TemporaryError `records.unavailable` when the database cannot be reached, is locked
 * past the busy time-out, full or read-only.
 */
import type {
  ArcVerdict,
  Authentication,
  DkimVerdict,
  DmarcVerdict,
  SpfVerdict,
} from '../../protocols/mail/authentication.ts';
import type { SmtpReply } from '../../protocols/mail/reply.ts';
import type { BlobRef } from '../blobs/port.ts';
import type { JobRecords } from './jobs-port.ts';
import type { DmarcRecords } from './dmarc/port.ts';

export type { ArcVerdict, Authentication, DkimVerdict, DmarcVerdict, SmtpReply, SpfVerdict };

export type RuleAction =
  /** `runs`: another choice for this rule than the configuration's. */
  | { type: 'forward'; destinations: string[]; runs?: 'always' | 'deferred' }
  | { type: 'drop' }
  /** An n8n workflow has registered the address; `name` is that of the registration, for people. */
  | { type: 'trigger'; trigger: string; name: string }
  /** An address for reports about a domain. */
  | { type: 'dmarc'; domain: string };

export interface Rule {
  id: string;
  /** A-label, lower case. */
  domain: string;
  /** Local part in NFC, lower case, or `*` for the catch-all. */
  localPart: string;
  action: RuleAction;
  /**
   * Who made it: the configuration file is applied on every start, the API changes the same records, and the rules of
   * triggers and of report addresses follow their registrations.
   */
  source: 'file' | 'api' | 'trigger' | 'dmarc';
  enabled: boolean;
  createdAt: string;
  updatedAt: string;
}

export interface RuleRecords {
  /** Enabled exact rule first, then the enabled catch-all, else undefined. */
  find(domain: string, localPart: string): Promise<Rule | undefined>;
  /** Whether the domain is one of ours (declared, or any rule names it). */
  isLocalDomain(domain: string): Promise<boolean>;
  /** Our mail domains, declared or named by a rule, in their order. */
  domains(): Promise<string[]>;
  list(domain?: string): Promise<Rule[]>;
  get(id: string): Promise<Rule | undefined>;
  /** Inserts, or replaces the rule of the same domain and local part; writes the audit log in the same transaction. */
  put(
    rule: Pick<Rule, 'domain' | 'localPart' | 'action' | 'source'> & { enabled?: boolean },
    actor: string,
  ): Promise<Rule>;
  remove(id: string, actor: string): Promise<boolean>;
  /**
   * Makes the rules and domains with source `file` exactly these, in one transaction, auditing each change.
   * A rule made through the API is left alone unless the file declares the same address.
   * @throws PermanentError `rule.report_address`: reports come to an address that the file has a rule for
   */
  applyDeclared(
    domains: { domain: string; rules: { localPart: string; action: RuleAction }[] }[],
  ): Promise<{ added: number; changed: number; removed: number }>;
}

/**
 * State of an activity record. `accepted` is open, all others final:
 * delivered; dropped by rule; rejected by us in the session; refused upstream and passed back in the session;
 * bounced: accepted, then undeliverable, and the sender told; failed: accepted, undeliverable, and no bounce owed or possible.
 */
export type Outcome = 'accepted' | 'delivered' | 'dropped' | 'rejected' | 'refused' | 'bounced' | 'failed';

/** `sourceAddress` of a message that was made here. */
export const LOCAL_SOURCE = 'local';

export interface MailActivity {
  id: string;
  /** sha256 hex over sender, recipient and message; null where nothing was accepted. */
  deliveryKey: string | null;
  receivedAt: string;
  /** Id of the SMTP transaction, or of the act that made the message; recipients of one message share it. */
  messageId: string;
  /** IP address that it came from, or `LOCAL_SOURCE`. */
  sourceAddress: string;
  helo: string;
  /** TLS version and cipher, null for plain text. */
  tls: string | null;
  /** Envelope sender, '' for the null sender. */
  sender: string;
  recipient: string;
  /** Header fields, for people; cut to 200 characters. */
  headerFrom: string | null;
  headerMessageId: string | null;
  subject: string | null;
  blob: BlobRef | null;
  authentication: Authentication | null;
  ruleId: string | null;
  /** What was to happen, in the rule's words at that time. */
  action: RuleAction | null;
  outcome: Outcome;
  /** Code of the error that decided a bad outcome, such as `dmarc.rejected`. */
  errorCode: string | null;
  errorText: string | null;
  /** The reply that was passed back or that ended the attempts. */
  reply: SmtpReply | null;
  /** Delivery attempts of the message over all destinations; those of a report about it are not among them. */
  attempts: number;
  /** True when a delivery was sent again after an outcome that nobody knows. */
  resent: boolean;
  workflowId: string | null;
  closedAt: string | null;
}

export interface ActivityFilter {
  sender?: string;
  recipient?: string;
  /** Domain of the recipient. */
  domain?: string;
  outcome?: Outcome;
  since?: string;
  until?: string;
  /** Rows older than this id (keyset, newest first). */
  before?: string;
  /** Default 50, at most 500. */
  limit?: number;
}

export interface ActivityRecords {
  /**
   * Inserts records in one transaction. An existing row with the same delivery key is replaced only when it is final and
   * `failed`, `refused` or `rejected`; it owns its message no longer.
   */
  open(rows: MailActivity[]): Promise<void>;
  byDeliveryKey(deliveryKey: string): Promise<MailActivity | undefined>;
  get(id: string): Promise<MailActivity | undefined>;
  /**
   * Sets a final outcome; a record that is already final is left as it is, and so is one that has been given to
   * another run than `workflowId`, where that is said. Returns the record.
   */
  close(
    id: string,
    end: Pick<MailActivity, 'outcome' | 'errorCode' | 'errorText' | 'reply'>,
    workflowId?: string | null,
  ): Promise<MailActivity | undefined>;
  /** Gives a message to a run, with what is to happen now: the record is open again. Returns it. */
  giveTo(id: string, workflowId: string, action: RuleAction): Promise<MailActivity | undefined>;
  list(filter: ActivityFilter): Promise<MailActivity[]>;
  /** Counts by outcome of what was received since. */
  count(since: string): Promise<Partial<Record<Outcome, number>>>;
  /** Records still `accepted` that were received before the time, oldest first, at most 1,000, from after the given one. */
  openBefore(time: string, after?: Pick<MailActivity, 'id' | 'receivedAt'>): Promise<MailActivity[]>;
  /** Removes final records older than the time, with their deliveries and those that never had a record. */
  expire(time: string): Promise<number>;
}

/**
 * One destination of one activity record. `committing` is written before the final dot of an attempt: found
 * there after a crash, the outcome is unknown and the message is sent again and marked.
 */
export interface Delivery {
  activityId: string;
  destination: string;
  state: 'pending' | 'committing' | 'delivered' | 'deferred' | 'refused';
  attempts: number;
  /** Host that gave the last reply. */
  host: string | null;
  reply: SmtpReply | null;
  resent: boolean;
  updatedAt: string;
}

export interface DeliveryRecords {
  get(activityId: string, destination: string): Promise<Delivery | undefined>;
  list(activityId: string): Promise<Delivery[]>;
  /**
   * Counts an attempt and returns the row as it was before, so that `committing`, `delivered` and `refused` are seen;
   * the last two are ends, which stay and count nothing.
   * @param counts 'row': the attempt is not one of the message's own, as that of a report about it
   */
  begin(activityId: string, destination: string, counts?: 'message' | 'row'): Promise<Delivery | undefined>;
  /** Durable when it resolves. `resent` marks the row and the activity record. */
  set(
    activityId: string,
    destination: string,
    change: { state: Delivery['state']; host?: string; reply?: SmtpReply; resent?: boolean },
  ): Promise<void>;
}

/** A delivery that a session makes by itself, without a run. `attempts` and `resent` are those of its record. */
export interface SessionDelivery {
  record: MailActivity;
  destination: string;
  state: Delivery['state'];
  host: string | null;
  reply: SmtpReply | null;
}

export interface InSessionRecords {
  /**
   * Inserts the record and its one delivery in one commit, durable when it resolves; replaces what
   * `ActivityRecords.open` would.
   * @throws PermanentError `activity.exists`
   */
  open(delivery: SessionDelivery): Promise<void>;
  /** The end of an attempt, and in the same commit that of the record, unless null or a run has taken it meanwhile. */
  settle(
    id: string,
    destination: string,
    change: Pick<SessionDelivery, 'state' | 'host' | 'reply'>,
    end: Pick<MailActivity, 'outcome' | 'errorCode' | 'errorText' | 'reply'> | null,
  ): Promise<void>;
}

export interface BlobOwnerRecords {
  /**
   * A blob may have several owners; the last one to go frees it. `expiresAt` null keeps it until `disown`.
   * @throws TemporaryError `blob.unavailable` while the sweep has it
   */
  own(ref: BlobRef, owner: string, expiresAt: string | null): Promise<void>;
  disown(key: string, owner: string): Promise<void>;
  /** Sets when an owner's blobs may go. */
  expireOwner(owner: string, expiresAt: string): Promise<void>;
  isOwned(key: string, now: string): Promise<boolean>;
  /**
   * Takes a blob that nobody owns for the sweep until the time, or `release`: nobody can own it meanwhile. Of this and
   * `own` at the same time one comes first.
   * @returns false where somebody owns it
   */
  claim(key: string, now: string, until: string): Promise<boolean>;
  release(key: string): Promise<void>;
  /** Removes expired rows, returns how many. */
  expire(now: string): Promise<number>;
}

export interface TokenRecord {
  id: string;
  name: string;
  scopes: string[];
  createdAt: string;
  lastUsedAt: string | null;
}
export interface TokenRecords {
  /** Makes a token; the plain text is returned this once and only its SHA-256 is kept. */
  create(name: string, scopes: string[]): Promise<TokenRecord & { token: string }>;
  /** The record of a token as presented, compared by hash. */
  find(token: string): Promise<TokenRecord | undefined>;
  list(): Promise<TokenRecord[]>;
  remove(id: string): Promise<boolean>;
  /** The stored SHA-256 of a token, 32 bytes: the key that signs what is sent to its owner, and for nothing else. */
  callbackKey(id: string): Promise<Buffer | undefined>;
}

/**
 * A registration of something that wants to be called: an n8n trigger node for mail, one for runs that ended, or one
 * execution that waits for runs.
 */
export interface Trigger {
  /** Chosen by the client, so that registering again is the same registration. */
  id: string;
  kind: 'mail' | 'run' | 'resume';
  /** For people, such as the name of the n8n workflow. */
  name: string;
  callbackUrl: string;
  /** Page of the n8n workflow or execution, for people. */
  link: string | null;
  /** The token that registered it; its hash signs the calls. */
  tokenId: string;
  /** Listens for a try in the editor: comes before the others with the same addresses, and for minutes only. */
  test: boolean;
  /** kind `mail`: `local@domain` or `*@domain`, as rules have them. */
  addresses: string[];
  /** kind `mail`: whether the session waits for the verdict, or a run hands the message over. */
  mode: 'verdict' | 'taken' | null;
  /** kind `mail`: ms that a call may take. */
  timeoutMs: number | null;
  /** kind `mail`: what the sender is told when there is no verdict. */
  troubleReply: { code: number; text: string } | null;
  /** kind `run`: workflow types, empty for all. */
  workflows: string[];
  /** kind `run`: statuses and outcomes that are told. */
  outcomes: string[];
  /** kind `resume`: ids of the runs that are waited for. */
  runs: string[];
  leaseUntil: string;
  /** kind `run`: runs that were closed before are done with. */
  seenUntil: string | null;
  createdAt: string;
  updatedAt: string;
}

export interface TriggerRecords {
  /**
   * Inserts or replaces, and makes its addresses rules, in one transaction with the audit log. `createdAt` and
   * `seenUntil` of an existing one are kept.
   * @throws PermanentError `trigger.address_taken` (a rule of the file or the API, or another live trigger, has one of
   *   the addresses), `trigger.domain_unknown`; nothing is changed then
   */
  put(trigger: Omit<Trigger, 'createdAt' | 'updatedAt' | 'seenUntil'>, actor: string): Promise<Trigger>;
  get(id: string): Promise<Trigger | undefined>;
  /** By name, then id. */
  list(kind?: Trigger['kind']): Promise<Trigger[]>;
  /**
   * Removes it and its rules; a registration that it had displaced has its rules back.
   * @param only only while this holds: it may have been registered anew since somebody looked
   */
  remove(id: string, actor: string, only?: (now: Trigger) => boolean): Promise<boolean>;
  /** Prolongs the lease of one that answered. */
  renew(id: string, leaseUntil: string): Promise<void>;
  /** Moves the cursor of a `run` trigger forward, never back. */
  seen(id: string, until: string): Promise<void>;
}

/** What a trigger said about a message, once and for all. */
export interface RecordedVerdict {
  deliveryKey: string;
  triggerId: string;
  verdict: Verdict;
  at: string;
}

export type Verdict =
  | { verdict: 'accept' | 'drop' }
  | { verdict: 'reject'; reply: SmtpReply }
  | { verdict: 'forward'; destinations: string[] };

export interface VerdictRecords {
  get(deliveryKey: string): Promise<RecordedVerdict | undefined>;
  /** Keeps the first verdict of a delivery key and returns the one that holds. */
  put(verdict: Omit<RecordedVerdict, 'at'>): Promise<RecordedVerdict>;
  /** Removes verdicts older than the time. */
  expire(time: string): Promise<number>;
}

export interface AuditEntry {
  id: string;
  at: string;
  /** `file`, `token:<name>`, `lease` for what its time removed, ... */
  actor: string;
  /** `rule.added`, `rule.changed`, `rule.removed`, `domain.added`, `token.added`, `trigger.added`, ... */
  action: string;
  subject: string;
  before: unknown;
  after: unknown;
}
export interface AuditRecords {
  write(entry: Omit<AuditEntry, 'id' | 'at'>): Promise<void>;
  list(options: { before?: string; limit?: number }): Promise<AuditEntry[]>;
}

/** A message that the local inbox took. */
export interface InboxMessage {
  id: string;
  receivedAt: string;
  sender: string;
  recipients: string[];
  from: string | null;
  subject: string | null;
  blob: BlobRef;
  /** What the inbox's own verification found. */
  authentication: Authentication | null;
}
export interface InboxRecords {
  add(message: Omit<InboxMessage, 'id'>): Promise<InboxMessage>;
  get(id: string): Promise<InboxMessage | undefined>;
  list(options: { before?: string; limit?: number; recipient?: string }): Promise<InboxMessage[]>;
  /** Keeps the newest so many and removes the rest, oldest first, at most 1,000 at once. Returns what was removed. */
  trim(keep: number): Promise<InboxMessage[]>;
}

/** Key material, already encrypted by the key store. */
export interface KeyRow {
  domain: string;
  selector: string;
  publicKey: string;
  /** AES-256-GCM: 12 bytes nonce, ciphertext, 16 bytes tag. */
  sealed: Uint8Array;
  createdAt: string;
}
export interface KeyRecords {
  add(row: KeyRow): Promise<void>;
  newest(domain: string): Promise<KeyRow | undefined>;
  list(): Promise<KeyRow[]>;
  /** Returns the stored value: inserts when the name is new, so that two processes agree. */
  secret(name: string, sealed: Uint8Array): Promise<Uint8Array>;
}

export interface Records {
  rules: RuleRecords;
  activity: ActivityRecords;
  deliveries: DeliveryRecords;
  inSession: InSessionRecords;
  blobOwners: BlobOwnerRecords;
  tokens: TokenRecords;
  triggers: TriggerRecords;
  verdicts: VerdictRecords;
  audit: AuditRecords;
  dmarc: DmarcRecords;
  inbox: InboxRecords;
  keys: KeyRecords;
  jobs: JobRecords;
  /** Writes and reads a probe row. */
  check(): Promise<void>;
  close(): Promise<void>;
}
