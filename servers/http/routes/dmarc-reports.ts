/** Reports one by one, with their originals, and what was refused as a report. */
import { z } from 'zod';
import { csvResponse, csvStream } from '../csv.ts';
import { recordColumns, tlsFailureColumns } from '../dmarc/columns.ts';
import { everyReportRecord, everyTlsFailure } from '../dmarc/every.ts';
import { findQuarantined, findReport, quarantineMissing, sendOriginal } from '../dmarc/find.ts';
import { FileLimit, Limit, PAGE } from '../dmarc/page.ts';
import type { TlsCursor } from '../../../stores/records/dmarc/queries-port.ts';
import * as schemas from '../dmarc/schemas.ts';
import { defineRoute, type Route } from '../route.ts';
import { readAgain, readingOf } from '../dmarc/read-again.ts';
import { ruleDomain } from '../rules.ts';
import { Run, Wait } from '../schemas.ts';

const REPORT = { id: 'Id of the report.' };
const ENTRY = { id: 'Id of what is in quarantine.' };
const ORIGINAL = 'The bytes as they came; send nothing of it to a browser to show.';

/** What the answer about a TLS report has of it; the failures go on at `tls-failures`. */
const SHOWN_TLS = { policies: 100, failures: 500 };
/** `policy.number` of the last failure of a page. */
const TlsPlace = z.string().regex(/^\d{1,9}\.\d{1,9}$/);
const placeOf = (text: string): TlsCursor => {
  const [policy = 0, number = 0] = text.split('.').map(Number);
  return { policy, number };
};

export const dmarcReportRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/reports/{id}',
    group: 'DMARC',
    summary: 'One report; of a failure report all that it says, of a TLS report its first policies and failures.',
    parameters: REPORT,
    scope: 'dmarc:read',
    answers: {
      200: {
        description: 'The report. Records of an aggregate report, and all failures of a TLS report, are beside it.',
        body: schemas.Report.extend({
          tls: z.array(schemas.TlsPolicy).nullable(),
          tlsTotal: z
            .object({ policies: z.number().int(), failures: z.number().int() })
            .nullable()
            .describe('How many there are: `tls` has the first of them.'),
          failure: schemas.StoredFailure.shape.failure.nullable(),
        }),
      },
    },
    errors: ['dmarc.report_missing'],
    async handle({ http, context, path }) {
      const records = context.dependencies.records.dmarc;
      const report = await findReport(records, path.id ?? '');
      const { kind, id } = report;
      const failure = kind === 'failure' ? ((await records.queries.reportFailure(id))?.failure ?? null) : null;
      const tls = kind === 'tls' ? await records.queries.reportTlsBeginning(id, SHOWN_TLS) : undefined;
      return http.json({ ...report, tls: tls?.policies ?? null, tlsTotal: tls?.total ?? null, failure });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/reports/{id}/records',
    group: 'DMARC',
    summary: 'Records of an aggregate report, in its order.',
    parameters: REPORT,
    scope: 'dmarc:read',
    query: z.object({
      after: z.coerce.number().int().min(0).default(0).describe('The `next` of the page before.'),
      ...FileLimit.shape,
      format: z.enum(['json', 'csv']).default('json').describe('How to write the rows.'),
    }),
    answers: {
      200: {
        description: 'A page.',
        body: z.object({ items: z.array(schemas.StoredRecord), next: z.number().int().nullable() }),
        csv: true,
      },
    },
    errors: ['dmarc.report_missing'],
    async handle({ http, context, path, query: { after, limit, format } }) {
      const records = context.dependencies.records.dmarc;
      const { id } = await findReport(records, path.id ?? '');
      const name = `report-${id}`;
      if (format === 'csv' && limit === undefined)
        return csvStream(recordColumns, everyReportRecord(records.queries, id, after), name);
      const most = limit ?? PAGE;
      const items = await records.queries.reportRecords(id, after, most);
      if (format === 'csv') return csvResponse(recordColumns, items, name);
      return http.json({ items, next: items.length === most ? (items.at(-1)?.number ?? null) : null });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/reports/{id}/tls-failures',
    group: 'DMARC',
    summary: 'Failures of a TLS report, in its order.',
    parameters: REPORT,
    scope: 'dmarc:read',
    query: z.object({
      after: TlsPlace.optional().describe('The `next` of the page before.'),
      ...FileLimit.shape,
      format: z.enum(['json', 'csv']).default('json').describe('How to write the rows.'),
    }),
    answers: {
      200: {
        description: 'A page.',
        body: z.object({ items: z.array(schemas.StoredTlsFailure), next: z.string().nullable() }),
        csv: true,
      },
    },
    errors: ['dmarc.report_missing'],
    async handle({ http, context, path, query: { after, limit, format } }) {
      const records = context.dependencies.records.dmarc;
      const { id } = await findReport(records, path.id ?? '');
      const name = `report-${id}`;
      const place = after === undefined ? undefined : placeOf(after);
      if (format === 'csv' && limit === undefined)
        return csvStream(tlsFailureColumns, everyTlsFailure(records.queries, id, place), name);
      const most = limit ?? PAGE;
      const items = await records.queries.reportTlsFailures(id, place, most);
      if (format === 'csv') return csvResponse(tlsFailureColumns, items, name);
      const last = items.length === most ? items.at(-1) : undefined;
      return http.json({ items, next: last ? `${last.policy}.${last.number}` : null });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/reports/{id}/raw',
    group: 'DMARC',
    summary: 'The original of a report. HEAD answers its size.',
    description: ORIGINAL,
    parameters: REPORT,
    scope: 'dmarc:read',
    answers: { 200: { description: 'The bytes.', body: 'bytes' } },
    errors: ['dmarc.report_missing', 'blob.missing', 'blob.unavailable'],
    async handle({ http, context: { dependencies }, path }) {
      const report = await findReport(dependencies.records.dmarc, path.id ?? '');
      return sendOriginal(dependencies.blobs, report, http.req.method === 'HEAD');
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/quarantine',
    group: 'DMARC',
    summary: 'What came as a report and was not taken, newest first.',
    scope: 'dmarc:read',
    query: z.object({
      domain: z.string().max(255).optional().describe('Only what came to the address of this domain.'),
      before: z.string().max(64).optional().describe('The `next` of the page before.'),
      ...Limit.shape,
    }),
    answers: {
      200: {
        description: 'A page.',
        body: z.object({ items: z.array(schemas.Quarantined), next: z.string().nullable() }),
      },
    },
    errors: ['input.invalid'],
    async handle({ http, context, query: { domain, ...query } }) {
      const items = await context.dependencies.records.dmarc.quarantine.list({
        ...query,
        domain: domain === undefined ? undefined : ruleDomain(domain),
      });
      return http.json({ items, next: items.length === query.limit ? (items.at(-1)?.id ?? null) : null });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/quarantine/{id}',
    group: 'DMARC',
    summary: 'One refusal, with its reason.',
    parameters: ENTRY,
    scope: 'dmarc:read',
    answers: { 200: { description: 'The entry.', body: schemas.Quarantined } },
    errors: ['dmarc.quarantine_missing'],
    handle: async ({ http, context, path }) =>
      http.json(await findQuarantined(context.dependencies.records.dmarc, path.id ?? '')),
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/quarantine/{id}/raw',
    group: 'DMARC',
    summary: 'The original of what was refused. HEAD answers its size.',
    description: ORIGINAL,
    parameters: ENTRY,
    scope: 'dmarc:read',
    answers: { 200: { description: 'The bytes.', body: 'bytes' } },
    errors: ['dmarc.quarantine_missing', 'blob.missing', 'blob.unavailable'],
    async handle({ http, context: { dependencies }, path }) {
      const entry = await findQuarantined(dependencies.records.dmarc, path.id ?? '');
      return sendOriginal(dependencies.blobs, entry, http.req.method === 'HEAD');
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/dmarc/quarantine/{id}/read',
    group: 'DMARC',
    summary: 'Read again what was refused, in a run.',
    description:
      'What is published, or was before, leaves quarantine; what is refused again is in it anew, under another id and with its reason of now. With wait=30s the answer has the result; without, the run does it.',
    parameters: ENTRY,
    scope: 'dmarc:write',
    query: z.object({ wait: Wait.default(0).describe('How long to wait for the result, such as 30s.') }),
    body: z
      .strictObject({
        domain: z
          .string()
          .min(1)
          .max(253)
          .optional()
          .describe('The domain that it must be about; without it the one whose address it came to.'),
      })
      .prefault({}),
    answers: {
      200: {
        description: 'It was read.',
        body: z.object({ run: Run, result: schemas.Ingested }),
      },
      202: { description: 'It is being read.', body: z.object({ run: Run, result: z.null() }) },
    },
    errors: [
      'dmarc.quarantine_missing',
      'dmarc.domain_needed',
      'dmarc.domain_missing',
      'blob.missing',
      'run.failed',
      'run.cancelled',
      'temporal.unavailable',
    ],
    async handle({ http, context, token, path, query, body }) {
      const id = path.id ?? '';
      await readAgain(context, id, { domain: body.domain, by: `token:${token.name}` });
      const { run, result } = await readingOf(context, id, query.wait, http.req.raw.signal);
      return http.json({ run, result }, result ? 200 : 202);
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/dmarc/quarantine/{id}',
    group: 'DMARC',
    summary: 'Remove what was refused, with its original.',
    description: 'Without it, it goes by itself when its time is over.',
    parameters: ENTRY,
    scope: 'dmarc:write',
    answers: { 204: { description: 'It is gone.' } },
    errors: ['dmarc.quarantine_missing'],
    async handle({ http, context, token, path }) {
      const id = path.id ?? '';
      if (!(await context.dependencies.records.dmarc.quarantine.remove(id, `token:${token.name}`)))
        throw quarantineMissing(id);
      return http.body(null, 204);
    },
  }),
];
