/**
 * The tables as the database keeps them, and the codecs between them and the port: JSON and times are text,
 * booleans 0 or 1, bytes base64, so that every driver stores the same thing.
 */
import type { Kysely } from 'kysely';
import type { DmarcTables } from './dmarc/tables.ts';

export interface Tables extends DmarcTables {
  domains: { domain: string; source: string; created_at: string };
  rules: {
    id: string;
    domain: string;
    local_part: string;
    action: string;
    source: string;
    enabled: number;
    created_at: string;
    updated_at: string;
  };
  activity: {
    id: string;
    delivery_key: string | null;
    received_at: string;
    message_id: string;
    source_address: string;
    helo: string;
    tls: string | null;
    sender: string;
    recipient: string;
    recipient_domain: string;
    header_from: string | null;
    header_message_id: string | null;
    subject: string | null;
    blob: string | null;
    authentication: string | null;
    rule_id: string | null;
    action: string | null;
    outcome: string;
    error_code: string | null;
    error_text: string | null;
    reply: string | null;
    attempts: number;
    resent: number;
    workflow_id: string | null;
    closed_at: string | null;
  };
  deliveries: {
    activity_id: string;
    destination: string;
    state: string;
    attempts: number;
    host: string | null;
    reply: string | null;
    resent: number;
    updated_at: string;
  };
  blob_owners: { key: string; owner: string; sha256: string; size: number; expires_at: string | null };
  tokens: {
    id: string;
    name: string;
    hash: string;
    scopes: string;
    created_at: string;
    last_used_at: string | null;
  };
  triggers: {
    id: string;
    kind: string;
    name: string;
    callback_url: string;
    link: string | null;
    token_id: string;
    test: number;
    addresses: string;
    mode: string | null;
    timeout_ms: number | null;
    trouble_reply: string | null;
    workflows: string;
    outcomes: string;
    runs: string;
    lease_until: string;
    seen_until: string | null;
    created_at: string;
    updated_at: string;
  };
  verdicts: { delivery_key: string; trigger_id: string; verdict: string; at: string };
  audit: {
    id: string;
    at: string;
    actor: string;
    action: string;
    subject: string;
    before: string | null;
    after: string | null;
  };
  inbox: {
    id: string;
    received_at: string;
    sender: string;
    recipients: string;
    header_from: string | null;
    subject: string | null;
    blob: string;
    authentication: string | null;
  };
  /** One row a recipient, so that a recipient's mail is found by index. */
  inbox_recipients: { message_id: string; recipient: string };
  keys: { id: string; domain: string; selector: string; public_key: string; sealed: string; created_at: string };
  secrets: { name: string; sealed: string };
  jobs: {
    id: string;
    key: string;
    kind: string;
    workflow: string;
    parameters: string;
    requested_by: string;
    requested_at: string;
    state: string;
    progress: string | null;
    started_at: string | null;
    ended_at: string | null;
    error_code: string | null;
    error_text: string | null;
    workflow_id: string | null;
    taken_by: string | null;
  };
  /** Which job a request was answered with. */
  job_requests: { request_id: string; job_id: string };
  job_log: { job_id: string; line: number; at: string; words: string };
  /** Steps of jobs at work. */
  job_leases: { job_id: string; holder: string; until: string; place: string | null };
  probe: { name: string; value: string };
  migrations: { number: number; name: string; applied_at: string };
}

export type Database = Kysely<Tables>;

export const toJson = (value: unknown): string | null =>
  value === null || value === undefined ? null : JSON.stringify(value);
export const fromJson = <T>(text: string | null): T | null => (text === null ? null : (JSON.parse(text) as T));

export const toFlag = (value: boolean): number => (value ? 1 : 0);
export const fromFlag = (value: number): boolean => value === 1;

export const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
export const fromText = (text: string): Uint8Array => Buffer.from(text, 'base64');

/** ISO 8601, UTC, milliseconds. */
export const timeNow = (): string => new Date().toISOString();

/** Rows of one page of a list that nobody asked a size for, and the most that anybody gets. */
const PAGE = 50;
const LARGEST_PAGE = 500;
export const pageSize = (limit: number | undefined): number => Math.min(Math.max(limit ?? PAGE, 1), LARGEST_PAGE);
