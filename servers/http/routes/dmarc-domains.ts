/** Answers about a domain: what was reported, by day, service and source, and what to do next. JSON, tables also as CSV. */
import { z } from 'zod';
import { adviseOn } from '../../../activities/dmarc/advise.ts';
import { NEW_DAYS } from '../../../activities/dmarc/newcomers.ts';
import { ADVICE_DAYS } from '../../../protocols/dmarc/advice.ts';
import { normalizeAddress } from '../../../protocols/dmarc/address.ts';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import type { DmarcRecords } from '../../../stores/records/dmarc/port.ts';
import type { RecordCursor } from '../../../stores/records/dmarc/queries-port.ts';
import { csvResponse, csvStream, type Column } from '../csv.ts';
import {
  dayColumns,
  recordColumns,
  reportColumns,
  serviceColumns,
  sourceColumns,
  whatIfColumns,
  whatIfRows,
} from '../dmarc/columns.ts';
import { everyRecord, everyReport } from '../dmarc/every.ts';
import { findDomain } from '../dmarc/find.ts';
import { FileLimit, Limit, PAGE } from '../dmarc/page.ts';
import { Day, Days, DEFAULT_DAYS, RangeQuery, rangeBefore, today, toRange } from '../dmarc/range.ts';
import * as schemas from '../dmarc/schemas.ts';
import { defineRoute, type Route } from '../route.ts';

const Format = z.object({ format: z.enum(['json', 'csv']).default('json').describe('How to write the rows.') });
const Flag = (words: string) => z.stringbool().default(false).describe(words);
const Failing = z.object({ failing: Flag('Only what failed DMARC.') });
const InRange = z.object({ from: Day.optional(), to: Day.optional() });

/** `reportId.number`, as an answer gave it. */
const Cursor = z
  .string()
  .regex(/^[\w-]{1,64}\.\d{1,9}$/, 'give the `next` of the page before')
  .transform((text): RecordCursor => {
    const at = text.lastIndexOf('.');
    return { reportId: text.slice(0, at), number: Number(text.slice(at + 1)) };
  });

interface Table<Row> {
  items: Row[];
  next?: string | null;
  [fact: string]: unknown;
}

interface TableRoute<Query extends z.ZodObject, Row> {
  path: string;
  summary: string;
  description?: string;
  query: Query;
  /** The answer as JSON. */
  body: z.ZodType;
  columns: readonly Column<Row>[];
  find(
    records: DmarcRecords,
    domain: string,
    query: z.output<Query>,
    path: Record<string, string>,
  ): Promise<Table<Row>>;
  /** All rows that are asked for, where `find` gives a page of them. */
  every?(
    records: DmarcRecords,
    domain: string,
    query: z.output<Query>,
    path: Record<string, string>,
  ): AsyncIterable<Row[]>;
}

/** A question about a domain with rows as its answer. */
function tableRoute<Query extends z.ZodObject, Row>(table: TableRoute<Query, Row>): Route {
  const { path, summary, description, body, columns } = table;
  return defineRoute({
    method: 'get',
    path: `/v1/dmarc/domains/{domain}/${path}`,
    group: 'DMARC',
    summary,
    ...(description === undefined ? {} : { description }),
    parameters: { domain: DOMAIN, source: 'IPv4 or IPv6 address.' },
    scope: 'dmarc:read',
    query: table.query.extend(Format.shape) as z.ZodObject,
    answers: { 200: { description: 'The rows.', body, csv: true } },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, path: given, query }) {
      const records = context.dependencies.records.dmarc;
      const { domain } = await findDomain(records, given.domain ?? '');
      const name = `${domain}-${path.split('/').at(-1)}`;
      if (query.format === 'csv' && table.every && query.limit === undefined)
        return csvStream(columns, table.every(records, domain, query as z.output<Query>, given), name);
      const found = await table.find(records, domain, query as z.output<Query>, given);
      if (query.format === 'csv') return csvResponse(columns, found.items, name);
      return http.json(found);
    },
  });
}

const DOMAIN = 'The domain that is reported about.';
const sourceIn = ({ source = '' }: Record<string, string>): string => normalizeAddress(source) ?? source;
const listOf = (item: z.ZodType) => z.object({ from: z.string(), to: z.string(), items: z.array(item) });
const pageOf = (item: z.ZodType) => z.object({ items: z.array(item), next: z.string().nullable() });
const nextOf = <Row>(items: Row[], limit: number, cursor: (last: Row) => string): string | null => {
  const last = items.at(-1);
  return last !== undefined && items.length === limit ? cursor(last) : null;
};

export const dmarcDomainRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains',
    group: 'DMARC',
    summary: 'Domains that have a report address or reports, with their figures.',
    scope: 'dmarc:read',
    query: z.object({ days: Days.default(DEFAULT_DAYS).describe('Days that the figures are of.') }),
    answers: { 200: { description: 'Every domain.', body: z.object({ items: z.array(schemas.DomainSummary) }) } },
    async handle({ http, context, query: { days } }) {
      const { queries } = context.dependencies.records.dmarc;
      return http.json({ items: await queries.domains(dayBefore(today(), days - 1)) });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains/{domain}/summary',
    group: 'DMARC',
    summary: 'The figures of a domain, those of as many days before, and its policy as receivers found it.',
    parameters: { domain: DOMAIN },
    scope: 'dmarc:read',
    query: RangeQuery,
    answers: {
      200: {
        description: 'The figures.',
        body: z.object({
          domain: z.string(),
          address: z.string().nullable(),
          from: z.string(),
          to: z.string(),
          totals: schemas.Totals,
          before: schemas.Totals.describe('As many days before `from`.'),
          policy: schemas.PolicyPublished.nullable(),
          policyDay: z.string().nullable().describe('Day of the report that has the policy.'),
        }),
      },
    },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, path, query }) {
      const records = context.dependencies.records.dmarc;
      const { domain, address } = await findDomain(records, path.domain ?? '');
      const range = toRange(domain, query);
      const { totals, before, found } = await records.queries.inOneState(async (of) => ({
        totals: await of.totals(range),
        before: await of.totals(rangeBefore(range)),
        found: await of.policy(domain),
      }));
      const policy = { policy: found?.policy ?? null, policyDay: found?.day ?? null };
      return http.json({ address, ...range, totals, before, ...policy });
    },
  }),
  tableRoute({
    path: 'days',
    summary: 'Messages a day.',
    description: 'Only days that have messages.',
    query: RangeQuery.extend({ service: z.string().max(255).optional().describe('Only of this sending service.') }),
    body: listOf(schemas.DayCounts),
    columns: dayColumns,
    async find({ queries }, domain, { service, ...query }) {
      const range = toRange(domain, query);
      return { ...range, items: await queries.days({ ...range, service }) };
    },
  }),
  tableRoute({
    path: 'services',
    summary: 'Messages by sending service, most first.',
    query: RangeQuery,
    body: listOf(schemas.ServiceCounts),
    columns: serviceColumns,
    async find({ queries }, domain, query) {
      const range = toRange(domain, query);
      return { ...range, items: await queries.services(range) };
    },
  }),
  tableRoute({
    path: 'sources',
    summary: 'Messages by the address that they came from, most first; with `failing`, most failed first.',
    description: 'The CSV file of all of them has them by address.',
    query: RangeQuery.extend(FileLimit.shape)
      .extend(Failing.shape)
      .extend({ service: z.string().max(255).optional().describe('Only of this service; empty: of none.') }),
    body: listOf(schemas.SourceCounts),
    columns: sourceColumns,
    async find({ queries }, domain, { service, failing, limit, ...query }) {
      const range = toRange(domain, query);
      return { ...range, items: await queries.sources({ ...range, service, failing, limit: limit ?? PAGE }) };
    },
    every: ({ queries }, domain, { service, failing, ...query }) =>
      queries.everySource({ ...toRange(domain, query), service, failing }),
  }),
  tableRoute({
    path: 'new-sources',
    summary: 'Sources that were first seen lately, most messages first.',
    description: 'The CSV file of all of them has them by address.',
    query: z
      .object({ days: Days.default(NEW_DAYS).describe('First seen within so many days.') })
      .extend(FileLimit.shape)
      .extend(Failing.shape),
    body: z.object({ since: z.string(), items: z.array(schemas.SourceCounts) }),
    columns: sourceColumns,
    async find({ queries }, domain, { days, failing, limit }) {
      const since = dayBefore(today(), days - 1);
      return { since, items: await queries.newSources({ domain, since, failing, limit: limit ?? PAGE }) };
    },
    every: ({ queries }, domain, { days, failing }) =>
      queries.everyNewSource({ domain, since: dayBefore(today(), days - 1), failing }),
  }),
  tableRoute({
    path: 'what-if',
    summary: 'Messages that a stricter policy would have touched, by service.',
    query: RangeQuery,
    body: z.object({
      from: z.string(),
      to: z.string(),
      whatIf: schemas.WhatIf,
      items: z.array(
        z.object({
          policy: z.enum(['quarantine', 'reject']),
          service: z.string(),
          hit: z.number().int(),
          exempt: z.number().int(),
        }),
      ),
    }),
    columns: whatIfColumns,
    async find({ queries }, domain, query) {
      const range = toRange(domain, query);
      const whatIf = await queries.whatIf(range);
      return { ...range, whatIf, items: whatIfRows(whatIf) };
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains/{domain}/advice',
    group: 'DMARC',
    summary: 'What to do next about the policy, with the reasons.',
    description: `From the last ${ADVICE_DAYS} days of reports.`,
    parameters: { domain: DOMAIN },
    scope: 'dmarc:read',
    answers: {
      200: {
        description: 'The advice.',
        body: z.object({ domain: z.string(), from: z.string(), to: z.string(), advice: schemas.Advice }),
      },
    },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, path }) {
      const records = context.dependencies.records.dmarc;
      const { domain } = await findDomain(records, path.domain ?? '');
      const { range, advice } = await adviseOn(records.queries, domain, today());
      return http.json({ ...range, advice });
    },
  }),
  tableRoute({
    path: 'sources/{source}/records',
    summary: 'Records about one source, newest report first.',
    query: InRange.extend(FileLimit.shape)
      .extend(Failing.shape)
      .extend({ before: Cursor.optional().describe('The `next` of the page before.') }),
    body: pageOf(schemas.StoredRecord),
    columns: recordColumns,
    async find({ queries }, domain, { limit = PAGE, ...query }, path) {
      const items = await queries.records({ domain, source: sourceIn(path), ...query, limit });
      return { items, next: nextOf(items, limit, ({ reportId, number }) => `${reportId}.${number}`) };
    },
    every: ({ queries }, domain, query, path) => everyRecord(queries, { domain, source: sourceIn(path), ...query }),
  }),
  tableRoute({
    path: 'reports',
    summary: 'Reports about a domain, newest first.',
    query: InRange.extend(FileLimit.shape).extend({
      kind: schemas.ReportKind.optional(),
      before: z.string().max(64).optional().describe('The `next` of the page before.'),
    }),
    body: pageOf(schemas.Report),
    columns: reportColumns,
    async find({ queries }, domain, { limit = PAGE, ...query }) {
      const items = await queries.reports({ domain, ...query, limit });
      return { items, next: nextOf(items, limit, ({ id }) => id) };
    },
    every: ({ queries }, domain, query) => everyReport(queries, { domain, ...query }),
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains/{domain}/tls',
    group: 'DMARC',
    summary: 'Sessions with and without TLS, as TLS reports count them.',
    parameters: { domain: DOMAIN },
    scope: 'dmarc:read',
    query: RangeQuery,
    answers: {
      200: {
        description: 'The figures.',
        body: schemas.TlsTotals.extend({ domain: z.string(), from: z.string(), to: z.string() }),
      },
    },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, path, query }) {
      const records = context.dependencies.records.dmarc;
      const { domain } = await findDomain(records, path.domain ?? '');
      const range = toRange(domain, query);
      return http.json({ ...range, ...(await records.queries.tls(range)) });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/domains/{domain}/failures',
    group: 'DMARC',
    summary: 'Failure reports about a domain, newest first.',
    parameters: { domain: DOMAIN },
    scope: 'dmarc:read',
    query: Limit.extend({ before: z.string().max(64).optional().describe('The `next` of the page before.') }),
    answers: { 200: { description: 'A page.', body: pageOf(schemas.StoredFailure) } },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, path, query }) {
      const records = context.dependencies.records.dmarc;
      const { domain } = await findDomain(records, path.domain ?? '');
      const items = await records.queries.failures({ domain, ...query });
      return http.json({ items, next: nextOf(items, query.limit, ({ reportId }) => reportId) });
    },
  }),
];
