/** Mail activity and rules. */
import { z } from 'zod';
import { PermanentError } from '../../../protocols/errors.ts';
import { activityPage, Outcomes } from '../activity.ts';
import { defineRoute, type Route } from '../route.ts';
import { Delivery, MailActivity, Rule, TimeOrAge, WantedAction } from '../schemas.ts';
import { checkAction, putRule, refuseDeclared, ruleAddress, ruleDomain } from '../rules.ts';

const ActivityQuery = z.object({
  sender: z.string().max(320).optional().describe('Envelope sender, exact.'),
  recipient: z.string().max(320).optional().describe('Envelope recipient, exact.'),
  domain: z.string().max(255).optional().describe('Domain of the recipient.'),
  outcome: Outcomes.optional().describe(
    'One outcome, or several with commas: accepted, delivered, dropped, rejected, refused, bounced, failed.',
  ),
  since: TimeOrAge.optional().describe('A time, or an age such as 2h.'),
  until: TimeOrAge.optional().describe('A time, or an age such as 2h.'),
  before: z.string().max(64).optional().describe('Rows older than this id: the `next` of the page before.'),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});

export const mailRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/mail/activity',
    group: 'Mail',
    summary: 'What came in and what became of it: newest first.',
    scope: 'mail:read',
    query: ActivityQuery,
    answers: {
      200: {
        description: 'A page; `next` is the cursor of the following one.',
        body: z.object({ items: z.array(MailActivity), next: z.string().nullable() }),
      },
    },
    async handle({ http, context, query: { outcome, ...filter } }) {
      return http.json(await activityPage(context.dependencies.records, filter, outcome));
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/mail/activity/{id}',
    group: 'Mail',
    summary: 'One message for one recipient, with its deliveries.',
    parameters: { id: 'Id of the activity record.' },
    scope: 'mail:read',
    answers: { 200: { description: 'The record.', body: MailActivity.extend({ deliveries: z.array(Delivery) }) } },
    errors: ['activity.missing'],
    async handle({ http, context: { dependencies }, path }) {
      const record = await dependencies.records.activity.get(path.id ?? '');
      if (!record)
        throw new PermanentError({
          code: 'activity.missing',
          message: `There is no mail activity with the id ${JSON.stringify(path.id)}.`,
          fix: 'Records are kept for a month; GET /v1/mail/activity lists them.',
        });
      return http.json({ ...record, deliveries: await dependencies.records.deliveries.list(record.id) });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/mail/rules',
    group: 'Mail',
    summary: 'List the rules.',
    scope: 'mail:read',
    query: z.object({ domain: z.string().max(255).optional() }),
    answers: { 200: { description: 'Every rule, or those of a domain.', body: z.object({ items: z.array(Rule) }) } },
    async handle({ http, context, query }) {
      return http.json({
        items: await context.dependencies.records.rules.list(
          query.domain === undefined ? undefined : ruleDomain(query.domain),
        ),
      });
    },
  }),
  defineRoute({
    method: 'post',
    path: '/v1/mail/rules',
    group: 'Mail',
    summary: 'Make a rule, or replace the one of the same address.',
    scope: 'rules:write',
    body: z.strictObject({
      domain: z.string().min(1).max(255),
      localPart: z.string().min(1).max(64).describe('Local part, or * for every other address of the domain.'),
      action: WantedAction,
      enabled: z.boolean().default(true),
    }),
    answers: { 200: { description: 'The rule as it is now.', body: Rule } },
    errors: ['input.invalid', 'rule.declared'],
    async handle({ http, context: { dependencies }, token, body }) {
      const rule = {
        ...ruleAddress(body.localPart, body.domain),
        action: checkAction(body.action),
        enabled: body.enabled,
      };
      return http.json(await putRule(dependencies.records, rule, `token:${token.name}`));
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/mail/rules/{id}',
    group: 'Mail',
    summary: 'Remove a rule.',
    description: 'A rule of the configuration file comes back at the next start: remove it there.',
    parameters: { id: 'Id of the rule.' },
    scope: 'rules:write',
    answers: { 204: { description: 'It is gone.' } },
    errors: ['rule.missing', 'rule.declared'],
    async handle({ http, context: { dependencies }, token, path }) {
      const id = path.id ?? '';
      const rule = await dependencies.records.rules.get(id);
      if (rule) refuseDeclared(rule);
      if (!rule || !(await dependencies.records.rules.remove(id, `token:${token.name}`))) {
        throw new PermanentError({
          code: 'rule.missing',
          message: `There is no rule with the id ${JSON.stringify(id)}.`,
          fix: 'GET /v1/mail/rules lists them.',
        });
      }
      return http.body(null, 204);
    },
  }),
];
