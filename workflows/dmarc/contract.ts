/** The contract of the reports' domain: workflow name, id builder, input and result. */
import type { Authentication } from '../../stores/records/port.ts';
import type { Way } from '../../protocols/dmarc/way.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { ReportMail } from '../../stores/records/dmarc/port.ts';
import type { Origin } from '../contract.ts';

export const INGEST_DMARC_REPORT = 'ingestDmarcReport';

/** Values of the search attribute SwitchyardOutcome that it sets. */
export const INGESTION_OUTCOMES = ['published', 'repeated', 'quarantined'] as const;
export type IngestionOutcome = (typeof INGESTION_OUTCOMES)[number];

export interface IngestDmarcReportInput {
  /** `mail`: reports are taken out of it. `report`: it is one, as by HTTPS. */
  kind: 'mail' | 'report';
  message: BlobRef;
  /** The activity record of the mail, which the run closes. */
  activityId: string | null;
  /** The domain that the reports must be about. */
  domain: string;
  /** How it came; runs of an earlier build do not say it. */
  way?: Way;
  /** The report address; null for what came to none. */
  address: string | null;
  sender: string;
  headerFrom: string | null;
  subject: string | null;
  receivedAt: string;
  /** What verification of the mail found: anyone can write to a report address, so it is kept with the report. */
  authentication: Authentication | null;
  /** What was in quarantine and is read again. It leaves quarantine; what is refused of it again is there anew. */
  again?: ReadAgain;
  /** Who started the run, where that was neither a mail nor a reporter. */
  origin?: Origin;
}

export interface ReadAgain {
  /** Id of what is in quarantine. */
  entry: string;
  /** Who asked for it, for the audit log. */
  by: string;
  /** As it was kept: the mail that it came with, and its name. */
  mail: ReportMail | null;
  file: string | null;
}

/** One report, or what was refused in its place. */
export interface IngestedReport {
  /** Name of the attachment, and of the file inside where it is an archive; untrusted text. */
  name: string | null;
  file: string | null;
  state: 'published' | 'repeated' | 'refused';
  /** Id of the report, or of what is in quarantine. */
  id: string | null;
  code: string | null;
  message: string | null;
  kind: 'aggregate' | 'tls' | 'failure' | null;
  organization: string | null;
  day: string | null;
  records: number;
  messages: number;
  passed: number;
}

export interface IngestDmarcReportResult {
  /** `quarantined` where anything was refused, `repeated` where there is nothing new. */
  outcome: IngestionOutcome;
  domain: string;
  published: number;
  repeated: number;
  refused: number;
  /** The first of them. */
  reports: IngestedReport[];
}

/**
 * Workflow id of a mail to a report address, the same for the same mail sent again.
 * @param key hex SHA-256 over sender, recipient and message; or over domain and report
 */
export function ingestDmarcReportId(key: string): string {
  return `dmarc/${key.slice(0, 32)}`;
}
