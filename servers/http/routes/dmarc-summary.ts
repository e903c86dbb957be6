/** The summary of some days as a program asks for it: facts, and the mail that tells them. */
import { z } from 'zod';
import { MOST_SUMMARY_DAYS, summarize, Summary, SUMMARY_DAYS } from '../../../activities/dmarc/summarize.ts';
import { Day } from '../dmarc/range.ts';
import { defineRoute, type Route } from '../route.ts';

export const dmarcSummaryRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/dmarc/summary',
    group: 'DMARC',
    summary: 'What was reported in some days, of one domain or of all: facts, and a mail about them.',
    description:
      'Beside as many days before, with new senders that fail and with the advice. Send it with POST /v1/steps/mail.send.',
    scope: 'dmarc:read',
    query: z.object({
      domain: z.string().max(253).optional().describe('The domain; without it every one.'),
      days: z.coerce.number().int().min(1).max(MOST_SUMMARY_DAYS).default(SUMMARY_DAYS).describe('How many days.'),
      to: Day.optional().describe('Last day, UTC, inclusive; yesterday without it.'),
    }),
    answers: { 200: { description: 'The summary.', body: Summary } },
    errors: ['dmarc.domain_missing', 'input.invalid'],
    async handle({ http, context, query: { domain, days, to } }) {
      const { dependencies, log, ended } = context;
      const idempotencyKey = http.get('requestId');
      const step = {
        signal: AbortSignal.any([ended, http.req.raw.signal]),
        report: () => undefined,
        log,
        idempotencyKey,
      };
      return http.json(await summarize.call({ domain: domain || null, days, to }, dependencies, step));
    },
  }),
];
