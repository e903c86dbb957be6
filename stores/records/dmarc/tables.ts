/** The tables of reports as the database keeps them. `unknown` is written where a reporter said nothing of the standard's. */
export interface DmarcTables {
  dmarc_domains: { domain: string; address: string; created_at: string };
  /** What is known of an address that mail came from. */
  dmarc_hosts: {
    address: string;
    name: string | null;
    country: string | null;
    network: string | null;
    looked_up_at: string;
  };
  dmarc_generations: {
    number: number;
    state: string;
    parser: number;
    started_at: string;
    switched_at: string | null;
  };
  dmarc_reports: {
    generation: number;
    id: string;
    identity: string;
    kind: string;
    domain: string;
    policy_domain: string;
    organization: string | null;
    email: string | null;
    report_id: string | null;
    period_begin: number;
    period_end: number;
    day: string;
    received_at: string;
    published_at: string;
    sha256: string;
    blob: string;
    file: string | null;
    mail: string | null;
    policy: string | null;
    details: string;
    warnings: string;
    records: number;
    messages: number;
    passed: number;
    parser: number;
  };
  dmarc_records: {
    generation: number;
    report: string;
    number: number;
    domain: string;
    source: string;
    count: number;
    disposition: string;
    dkim: string;
    spf: string;
    exempt: number;
    service: string;
    header_from: string | null;
    envelope_from: string | null;
    envelope_to: string | null;
    results: string;
  };
  /**
   * Reports whose records were written ahead. `summed` is null of those that wait for their publication; of a published
   * one it says up to which record the sums have it.
   */
  dmarc_staging: { generation: number; report: string; staged_at: string; summed: number | null };
  dmarc_tls_policies: {
    generation: number;
    report: string;
    number: number;
    domain: string;
    day: string;
    policy_domain: string;
    type: string;
    successful: number;
    failed: number;
    policy: string;
  };
  dmarc_tls_failures: {
    generation: number;
    report: string;
    policy: number;
    number: number;
    domain: string;
    day: string;
    result: string;
    sessions: number;
    sending_ip: string | null;
    receiving_host: string | null;
    receiving_ip: string | null;
    details: string;
  };
  /** TLS reports and their sessions by day. */
  dmarc_tls_days: {
    generation: number;
    domain: string;
    day: string;
    reports: number;
    successful: number;
    failed: number;
  };
  /** Sessions that failed, by day, kind and host; see `tlsResultsOf` for ''. */
  dmarc_tls_results: {
    generation: number;
    domain: string;
    day: string;
    result: string;
    receiving_host: string;
    sessions: number;
  };
  dmarc_failures: {
    generation: number;
    report: string;
    domain: string;
    source: string | null;
    arrived_at: number | null;
    incidents: number;
    details: string;
  };
  /** What is known of the reports about a domain, of all kinds; the newest policy of the domain itself. */
  dmarc_reported: {
    generation: number;
    domain: string;
    reports: number;
    last_received_at: string;
    policy: string | null;
    policy_day: string | null;
  };
  /** Who sends aggregate reports. A long name is cut (`organizationKey`). */
  dmarc_reporters: { generation: number; domain: string; organization: string; first_day: string; last_day: string };
  /** Aggregate reports and messages by day. */
  dmarc_domain_days: { generation: number; domain: string; day: string; reports: number } & CountColumns;
  /** Messages by day, service, result and what rules them (`RuledBy`), and by month (`YYYY-MM`). */
  dmarc_days: { generation: number; domain: string; day: string } & ResultColumns;
  dmarc_months: { generation: number; domain: string; month: string } & ResultColumns;
  /**
   * Of what failed and no service is named for: by address, what rules it and what the receiver did. The advice asks how
   * much of it a stricter policy would touch.
   */
  dmarc_source_failures: {
    generation: number;
    domain: string;
    source: string;
    day: string;
    ruled_by: string;
    disposition: string;
    messages: number;
    exempt: number;
  };
  dmarc_source_days: {
    generation: number;
    domain: string;
    source: string;
    day: string;
    service: string;
  } & CountColumns;
  /** All that was ever reported of an address: of every service, and of each. */
  dmarc_sources: { generation: number; domain: string; source: string; service: string } & SeenColumns & CountColumns;
  dmarc_service_sources: {
    generation: number;
    domain: string;
    service: string;
    source: string;
  } & SeenColumns &
    CountColumns;
  dmarc_quarantine: {
    id: string;
    act: string;
    domain: string | null;
    address: string | null;
    sender: string | null;
    received_at: string;
    code: string;
    message: string;
    blob: string;
    file: string | null;
    mail: string | null;
    expires_at: string;
  };
  /** What came by mail in the last day: a row a mail, and one a report. */
  dmarc_intake: {
    id: string;
    domain: string;
    sender: string;
    at: string;
    mails: number;
    bytes: number;
    records: number;
  };
}

interface CountColumns {
  messages: number;
  passed: number;
  dkim: number;
  spf: number;
  quarantined: number;
  rejected: number;
}

interface ResultColumns {
  service: string;
  disposition: string;
  dkim: string;
  spf: string;
  ruled_by: string;
  messages: number;
  exempt: number;
  records: number;
}

interface SeenColumns {
  first_day: string;
  last_day: string;
}
