/** What a reporter sent: aggregate, failure and TLS reports, out of a zip, a gzip or plain, with the first records to look at. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { BlobRef } from '../schemas.ts';
import { abridge, abridgeAll } from './abridge.ts';
import { reportLimits } from './limits.ts';
import type { ReportFile } from './open-report.ts';
import { asBytes } from './raw.ts';
import { readFiles } from './read-files.ts';
import type { ReadReport } from './read-report.ts';
import {
  DISPOSITIONS,
  DKIM_RESULTS,
  POLICIES,
  REASON_TYPES,
  SPF_RESULTS,
  type AggregateRecord,
} from '../../protocols/dmarc/aggregate.ts';
import { DMARC_ERRORS } from '../../protocols/dmarc/errors.ts';
import { WARNING_CODES } from '../../protocols/dmarc/warnings.ts';
import type { PermanentError } from '../../protocols/errors.ts';

/** Records of an answer: enough to see what it is. All of them would not fit into the history of a run. */
const SHOWN_RECORDS = 5;

/** Addresses that an answer has room for: it stays in the history of its run, and so many are some 2 KB. */
export const MAX_ADDRESSES_SHOWN = 100;

const Text = z.string().nullable();
const PassOrFail = z.enum(['pass', 'fail']).nullable();
const PolicyWord = z.enum(POLICIES).nullable();
const Alignment = z.enum(['r', 's']).nullable();

/** A record as answers have it, in which extensions are counted. */
export const RecordShown = z.object({
  sourceIp: z.string(),
  count: z.number().int(),
  evaluated: z.object({
    disposition: z.enum(DISPOSITIONS).nullable(),
    dkim: PassOrFail,
    spf: PassOrFail,
    reasons: z.array(z.object({ type: z.enum(REASON_TYPES).nullable(), comment: Text })),
  }),
  identifiers: z.object({ headerFrom: Text, envelopeFrom: Text, envelopeTo: Text }),
  dkim: z.array(z.object({ domain: Text, selector: Text, result: z.enum(DKIM_RESULTS).nullable(), humanResult: Text })),
  spf: z.array(
    z.object({
      domain: Text,
      scope: z.enum(['helo', 'mfrom']).nullable(),
      result: z.enum(SPF_RESULTS).nullable(),
      humanResult: Text,
    }),
  ),
  extensions: z.number().int().describe('Elements of extensions.'),
});

const Aggregate = z.object({
  form: z.enum(['rfc7489', 'rfc9990']),
  version: Text,
  metadata: z.object({
    orgName: Text,
    email: Text,
    extraContactInfo: Text,
    reportId: Text,
    begin: z.number().int().describe('Seconds since 1970.'),
    end: z.number().int().describe('Seconds since 1970.'),
    generator: Text,
    errors: z.array(z.string()),
  }),
  policy: z.object({
    domain: z.string(),
    p: PolicyWord,
    sp: PolicyWord,
    np: PolicyWord,
    adkim: Alignment,
    aspf: Alignment,
    pct: z.number().int().nullable(),
    fo: Text,
    testing: z.enum(['y', 'n']).nullable(),
    discoveryMethod: z.enum(['psl', 'treewalk']).nullable(),
  }),
  totals: z.object({
    records: z.number().int(),
    messages: z.number().int(),
    dmarcPass: z.number().int().describe('Messages that passed DKIM or SPF in alignment.'),
    dkimPass: z.number().int(),
    spfPass: z.number().int(),
    dispositions: z.object({
      none: z.number().int(),
      pass: z.number().int(),
      quarantine: z.number().int(),
      reject: z.number().int(),
      unknown: z.number().int(),
    }),
  }),
  passRate: z.number().nullable().describe('Part of the messages that passed, 0 to 1; none without messages.'),
  extensions: z.number().int().describe('Elements of extensions outside of records.'),
  records: z.array(RecordShown).describe('The first of them; long texts and lists are cut.'),
});

const Tls = z.object({
  organization: Text,
  contact: Text,
  reportId: Text,
  begin: z.number().int().describe('Seconds since 1970.'),
  end: z.number().int().describe('Seconds since 1970.'),
  successful: z.number().int().describe('Sessions with TLS.'),
  failed: z.number().int().describe('Sessions in which TLS failed.'),
  policies: z
    .array(
      z.object({
        type: z.string(),
        domain: z.string(),
        successful: z.number().int(),
        failed: z.number().int(),
        failures: z.array(
          z.object({
            resultType: z.string(),
            sendingMtaIp: Text,
            receivingMxHostname: Text,
            receivingIp: Text,
            sessions: z.number().int(),
            reasonCode: Text,
          }),
        ),
      }),
    )
    .describe('The first of them; long texts and lists are cut.'),
});

const Failure = z.object({
  authFailure: z.array(z.string()).describe('What failed: dmarc, spf, signature, ...'),
  identityAlignment: z.array(z.string()),
  sourceIp: Text,
  reportedDomain: Text,
  deliveryResult: Text,
  arrivedAt: z.number().int().nullable().describe('Seconds since 1970.'),
  mailFrom: Text,
  rcptTo: z.array(z.string()),
  envelopeId: Text,
  authenticationResults: z.array(z.string()),
  dkim: z.object({ domain: Text, identity: Text, selector: Text }),
  spfRecords: z.array(z.string()),
  reporter: z.object({ userAgent: Text, mta: Text }),
  incidents: z.number().int().describe('How many messages this one stands for.'),
});

const Warning = z.object({
  code: z.enum(WARNING_CODES),
  field: z.string().describe('Path of the element; empty for the whole.'),
  count: z.number().int(),
  example: Text,
});

export const parseReport = defineStep({
  name: 'dmarc.parseReport',
  summary: 'Read a DMARC aggregate or failure report, or a TLS report: zip, gzip or plain, by what the bytes are.',
  input: z.object({ report: BlobRef.describe('The stored bytes of the attachment or file, as they came.') }),
  output: z.object({
    container: z.enum(['zip', 'gzip', 'none']).describe('What the reports were packed in.'),
    reports: z.array(
      z.object({
        file: Text.describe('Name inside a zip.'),
        kind: z.enum(['aggregate', 'tls', 'failure']),
        aggregate: Aggregate.nullable(),
        tls: Tls.nullable(),
        failure: Failure.nullable(),
        warnings: z.array(Warning).describe('What was odd, and taken all the same.'),
      }),
    ),
    refused: z
      .array(z.object({ file: Text, code: z.string(), message: z.string() }))
      .describe('Files of a zip that are no report.'),
    addresses: z
      .array(z.string())
      .nullable()
      .describe('All addresses that the reports tell of, each once; null where they are too many to be listed.'),
  }),
  needs: ['configuration', 'blobs'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'dmarc:read',
  errors: [...DMARC_ERRORS, 'blob.missing', 'blob.unavailable'],
  async run({ report }, { configuration, blobs }, step) {
    const limits = reportLimits(configuration);
    let container: ReportFile['container'] = 'none';
    const reports: ReturnType<typeof shown>[] = [];
    const refused: PermanentError[] = [];
    const refusedFiles: { file: string | null; code: string; message: string }[] = [];
    let seen = 0;
    const addresses = new Set<string>();
    let records: AggregateRecord[] = [];
    let room = SHOWN_RECORDS;
    const onRecords = (some: AggregateRecord[]): void => {
      step.signal.throwIfAborted();
      seen += some.length;
      step.report({ records: seen });
      for (const { sourceIp } of some) if (addresses.size <= MAX_ADDRESSES_SHOWN) addresses.add(sourceIp);
      if (records.length < room) records.push(...some.slice(0, room - records.length));
    };
    for await (const file of readFiles(asBytes(await blobs.read(report.key)), { limits, onRecords })) {
      const { name, outcome } = file;
      container = file.container;
      if ('refusal' in outcome) {
        refused.push(outcome.refusal);
        refusedFiles.push(abridge({ file: name, code: outcome.refusal.code, message: outcome.refusal.message }));
      } else {
        const { report: read } = outcome;
        if (read.kind === 'failure' && read.failure.sourceIp !== null) addresses.add(read.failure.sourceIp);
        reports.push(shown(name, read, records));
        room -= records.length;
      }
      records = [];
    }
    if (reports.length === 0 && refused[0]) throw refused[0];
    const listed = addresses.size <= MAX_ADDRESSES_SHOWN ? [...addresses] : null;
    return { container, reports: abridgeAll(reports), refused: abridgeAll(refusedFiles), addresses: listed };
  },
});

function shown(file: string | null, read: ReadReport, records: AggregateRecord[]) {
  const { kind } = read;
  const empty = { file, kind, aggregate: null, tls: null, failure: null };
  if (read.kind === 'failure') {
    const { warnings, ...failure } = read.failure;
    return abridge({ ...empty, failure, warnings });
  }
  if (read.kind === 'tls') {
    const { policies, warnings, ...rest } = read.tls;
    const sum = (name: 'successful' | 'failed') => policies.reduce((all, one) => all + one[name], 0);
    const tls = { ...rest, successful: sum('successful'), failed: sum('failed'), policies };
    return abridge({ ...empty, tls, warnings });
  }
  const { totals, extensions, warnings, ...rest } = read.aggregate;
  const aggregate = {
    ...rest,
    totals,
    passRate: totals.messages === 0 ? null : totals.dmarcPass / totals.messages,
    extensions: extensions.length,
    records: records.map((record) => ({ ...record, extensions: record.extensions.length })),
  };
  return abridge({ ...empty, aggregate, warnings });
}
