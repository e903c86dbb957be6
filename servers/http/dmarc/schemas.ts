/** Reports and answers as the API shows them. Each schema is checked by the compiler against the port it shows. */
import { z } from 'zod';
import { RecordShown } from '../../../activities/dmarc/parse-report.ts';
import { ReportMail } from '../../../activities/dmarc/quarantine.ts';
import { BlobRef } from '../../../activities/schemas.ts';
import type { Advice as DomainAdvice } from '../../../protocols/dmarc/advice.ts';
import {
  POLICIES,
  type AggregateRecord as ReportedRecord,
  type Extension as ReportedExtension,
  type PolicyPublished as ReportedPolicy,
} from '../../../protocols/dmarc/aggregate.ts';
import type { TlsFailure as ReportedTlsFailure, TlsPolicy as ReportedTlsPolicy } from '../../../protocols/dmarc/tls.ts';
import { WAYS } from '../../../protocols/dmarc/way.ts';
import { WARNING_CODES, type ReportWarning } from '../../../protocols/dmarc/warnings.ts';
import { INGESTION_OUTCOMES, type IngestDmarcReportResult } from '../../../workflows/dmarc/contract.ts';
import type * as port from '../../../stores/records/dmarc/port.ts';
import type * as queries from '../../../stores/records/dmarc/queries-port.ts';

const Text = z.string().nullable();
const Count = z.number().int();
const Word = z.enum(POLICIES).nullable();
const Alignment = z.enum(['r', 's']).nullable();

export const Counts = z.object({
  messages: Count,
  passed: Count.describe('DKIM or SPF passed in alignment.'),
  dkim: Count.describe('DKIM passed in alignment.'),
  spf: Count.describe('SPF passed in alignment; a message may have both.'),
  quarantined: Count,
  rejected: Count,
}) satisfies z.ZodType<queries.Counts>;

export const DomainSummary = z.object({
  domain: z.string(),
  address: Text.describe('Where its reports come to; null where the address was removed.'),
  reports: Count.describe('Of all kinds, ever.'),
  lastReportAt: Text,
  counts: Counts,
}) satisfies z.ZodType<queries.DomainSummary>;

export const Totals = Counts.extend({
  reports: Count.describe('Aggregate reports.'),
  organizations: Count.describe('Organisations that sent them.'),
  sources: Count.describe('Addresses that mail came from.'),
  days: Count.describe('Days with any message.'),
}) satisfies z.ZodType<queries.Totals>;

export const DayCounts = Counts.extend({ day: z.string() }) satisfies z.ZodType<queries.DayCounts>;
export const ServiceCounts = Counts.extend({
  service: z.string().describe('Empty: no rule and no name of a host names it.'),
  sources: Count.describe('Addresses that its mail came from.'),
}) satisfies z.ZodType<queries.ServiceCounts>;
export const SourceCounts = Counts.extend({
  source: z.string(),
  service: z.string(),
  name: Text,
  country: Text,
  network: Text,
  firstDay: z.string().describe('The first day that it was ever seen.'),
  lastDay: z.string(),
}) satisfies z.ZodType<queries.SourceCounts>;

export const Ingested = z.object({
  outcome: z.enum(INGESTION_OUTCOMES),
  domain: z.string(),
  published: Count,
  repeated: Count.describe('Known already.'),
  refused: Count.describe('In quarantine now.'),
  reports: z
    .array(
      z.object({
        name: Text.describe('As it was called.'),
        file: Text.describe('Name inside an archive.'),
        state: z.enum(['published', 'repeated', 'refused']),
        id: Text.describe('Of the report that counts, or of what is in quarantine now.'),
        code: Text.describe('Why it was refused.'),
        message: Text,
        kind: z.enum(['aggregate', 'tls', 'failure']).nullable(),
        organization: Text,
        day: Text,
        records: Count,
        messages: Count,
        passed: Count,
      }),
    )
    .describe('The first of them.'),
}) satisfies z.ZodType<IngestDmarcReportResult>;

const Hits = z.object({
  hit: Count.describe('Messages that the policy would have touched, beyond what was done with them.'),
  services: z.array(
    z.object({
      service: z.string(),
      hit: Count,
      exempt: Count.describe('Of these the receiver made an exception: forwarded, mailing list, local policy.'),
    }),
  ),
});
export const WhatIf = z.object({
  messages: Count,
  passed: Count,
  quarantine: Hits.describe('Failed and were let through.'),
  reject: Hits.describe('Failed and were not refused.'),
  failed: Hits.describe('Failed, whatever was done with them.'),
  apart: Count.describe(
    'Failed, in the names of subdomains that sp or a record of their own rules: in none of the others.',
  ),
}) satisfies z.ZodType<queries.WhatIf>;

export const PolicyPublished = z.object({
  domain: z.string(),
  p: Word,
  sp: Word,
  np: Word,
  adkim: Alignment,
  aspf: Alignment,
  pct: Count.nullable(),
  fo: Text,
  testing: z.enum(['y', 'n']).nullable(),
  discoveryMethod: z.enum(['psl', 'treewalk']).nullable(),
}) satisfies z.ZodType<ReportedPolicy>;

export const Advice = z.object({
  step: z.enum(['wait', 'fix', 'check', 'raise', 'stay']),
  current: Word,
  next: z.enum(POLICIES).describe('The policy to have next, once what stands before it is done.'),
  title: z.string().describe('One sentence that says what to do.'),
  reasons: z.array(z.string()),
  senders: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(['service', 'address']),
      messages: Count,
      passed: Count,
      standing: z.enum(['passes', 'partly', 'never']),
      hit: Count,
      exempt: Count,
    }),
  ),
}) satisfies z.ZodType<DomainAdvice>;

const Extension = z.object({
  name: z.string(),
  attributes: z.record(z.string(), z.string()),
  text: z.string(),
  // The same again, which JSON Schema would name by a reference.
  children: z.array(z.any()),
}) satisfies z.ZodType<ReportedExtension>;

const AggregateRecord = RecordShown.extend({
  extensions: z.array(Extension),
}) satisfies z.ZodType<ReportedRecord>;

export const StoredRecord = z.object({
  reportId: z.string(),
  number: Count.describe('Its place in the report.'),
  day: z.string(),
  organization: Text,
  service: z.string(),
  record: AggregateRecord,
}) satisfies z.ZodType<queries.StoredRecord>;

const Warning = z.object({
  code: z.enum(WARNING_CODES),
  field: z.string(),
  count: Count,
  example: Text,
}) satisfies z.ZodType<ReportWarning>;

export const ReportKind = z.enum(['aggregate', 'tls', 'failure']) satisfies z.ZodType<port.ReportKind>;

export const Report = z.object({
  id: z.string(),
  kind: ReportKind,
  domain: z.string(),
  policyDomain: z.string(),
  organization: Text,
  email: Text,
  reportId: Text,
  begin: Count.describe('Seconds since 1970.'),
  end: Count.describe('Seconds since 1970.'),
  day: z.string().describe('The day that it counts for.'),
  receivedAt: z.string(),
  publishedAt: z.string(),
  sha256: z.string(),
  blob: BlobRef,
  file: Text.describe('Name inside an archive.'),
  mail: ReportMail.nullable(),
  policy: PolicyPublished.nullable(),
  details: z.object({
    form: z.enum(['rfc7489', 'rfc9990']).optional(),
    version: Text.optional(),
    metadata: z.object({ extraContactInfo: Text, generator: Text, errors: z.array(z.string()) }).optional(),
    extensions: z.array(z.unknown()).optional(),
    contact: Text.optional(),
    way: z.enum(WAYS).optional().describe('How it came; not said of those that an earlier build published.'),
  }),
  warnings: z.array(Warning),
  records: Count,
  messages: Count.describe('Of a TLS report sessions.'),
  passed: Count,
  parser: Count,
}) satisfies z.ZodType<port.DmarcReport>;

export const TlsTotals = z.object({
  reports: Count,
  successful: Count.describe('Sessions.'),
  failed: Count,
  days: z.array(z.object({ day: z.string(), successful: Count, failed: Count })),
  results: z.array(
    z.object({
      result: z.string().describe('Empty: the rest of reports with very many kinds.'),
      sessions: Count,
      hosts: z.array(z.string()),
    }),
  ),
}) satisfies z.ZodType<queries.TlsTotals>;

const TlsFailure = z.object({
  resultType: z.string(),
  sendingMtaIp: Text,
  receivingMxHostname: Text,
  receivingMxHelo: Text,
  receivingIp: Text,
  sessions: Count,
  additionalInformation: Text,
  reasonCode: Text,
}) satisfies z.ZodType<ReportedTlsFailure>;

export const StoredTlsFailure = z.object({
  policy: Count.describe('Place of its policy in the report, from 0.'),
  number: Count.describe('Its place in that.'),
  type: z.string().describe('Of the policy.'),
  domain: z.string().describe('Of the policy.'),
  failure: TlsFailure,
}) satisfies z.ZodType<queries.StoredTlsFailure>;

export const TlsPolicy = z.object({
  type: z.string(),
  domain: z.string(),
  text: z.array(z.string()),
  mxHosts: z.array(z.string()),
  successful: Count,
  failed: Count,
  failures: z.array(TlsFailure),
}) satisfies z.ZodType<ReportedTlsPolicy>;

export const StoredFailure = z.object({
  reportId: z.string(),
  receivedAt: z.string(),
  organization: Text,
  failure: z.object({
    authFailure: z.array(z.string()),
    identityAlignment: z.array(z.string()),
    sourceIp: Text,
    reportedDomain: Text,
    deliveryResult: Text,
    arrivedAt: Count.nullable().describe('Seconds since 1970.'),
    mailFrom: Text,
    rcptTo: z.array(z.string()),
    envelopeId: Text,
    authenticationResults: z.array(z.string()),
    dkim: z.object({ domain: Text, identity: Text, selector: Text }),
    spfRecords: z.array(z.string()),
    reporter: z.object({ userAgent: Text, mta: Text }),
    incidents: Count.describe('How many messages this one stands for.'),
  }),
}) satisfies z.ZodType<queries.StoredFailure>;

export const Quarantined = z.object({
  id: z.string(),
  act: z.string(),
  domain: Text,
  address: Text,
  sender: Text,
  receivedAt: z.string(),
  code: z.string(),
  message: z.string(),
  blob: BlobRef,
  file: Text,
  mail: ReportMail.nullable(),
  expiresAt: z.string(),
}) satisfies z.ZodType<port.Quarantined>;
