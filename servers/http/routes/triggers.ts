/** Triggers: who wants to be called when mail comes or runs end. n8n's trigger nodes register here. */
import { z } from 'zod';
import type { Trigger } from '../../../stores/records/port.ts';
import { PermanentError } from '../../../protocols/errors.ts';
import { parseAddress } from '../../../protocols/mail/address.ts';
import { demand } from '../authentication.ts';
import { RUN_OUTCOMES, DEFAULT_OUTCOMES } from '../../triggers/outcomes.ts';
import { defineRoute, type Route } from '../route.ts';
import { HttpUrl } from '../schemas.ts';
import { ruleAddress } from '../rules.ts';
import { WORKFLOWS } from '../runs.ts';

/** One that listens for a try in the editor: as long as n8n listens, and a moment more. */
const TEST_LEASE = 3 * 60_000;
const ID = /^[\w.:-]{1,200}$/;
const PATH = { id: 'Id of the registration, chosen by who registers: letters, digits and _ . : -' };
const common = {
  callbackUrl: HttpUrl.describe('Where the messages are posted. Its origin must be allowed by the configuration.'),
  link: HttpUrl.optional().describe('Page of the n8n workflow or execution, for people.'),
};
const named = { ...common, name: z.string().min(1).max(200).describe('For people, such as the name of the workflow.') };
const Test = z
  .boolean()
  .default(false)
  .describe('Listens for a try: ends by itself within minutes, and comes before the others of the same addresses.');

const PutTrigger = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('mail'),
    ...named,
    test: Test,
    addresses: z
      .array(z.string().min(3).max(320))
      .min(1)
      .max(100)
      .describe('Addresses whose mail comes here; *@domain stands for every other address of the domain.'),
    answer: z
      .enum(['verdict', 'taken'])
      .describe('verdict: the sender waits for what the answer says. taken: accepted at once, handed over by a run.'),
    timeout: z.number().min(1).max(60).default(30).describe('Seconds that an answer may take.'),
    trouble: z
      .strictObject({ code: z.number().int().min(400).max(599).default(451), text: z.string().max(300).optional() })
      .prefault({})
      .describe('What the sender is told when there is no verdict.'),
  }),
  z.strictObject({
    kind: z.literal('run'),
    ...named,
    test: Test,
    workflows: z.array(z.enum(WORKFLOWS)).max(20).default([]).describe('Types of workflows; empty for all.'),
    outcomes: z
      .array(z.enum(RUN_OUTCOMES))
      .min(1)
      .max(20)
      .default([...DEFAULT_OUTCOMES])
      .describe('Ends that are told: statuses of runs, and outcomes of mail.'),
  }),
  z.strictObject({
    kind: z.literal('resume'),
    ...common,
    runs: z.array(z.string().min(1).max(1_000)).min(1).max(100).describe('Ids of the runs that are waited for.'),
  }),
]);
type PutTrigger = z.output<typeof PutTrigger>;

const Shown = z.object({
  id: z.string(),
  kind: z.enum(['mail', 'run', 'resume']),
  name: z.string(),
  callbackUrl: z.string(),
  link: z.string().nullable(),
  test: z.boolean(),
  addresses: z.array(z.string()),
  answer: z.enum(['verdict', 'taken']).nullable(),
  timeout: z.number().nullable(),
  trouble: z.object({ code: z.number().int(), text: z.string() }).nullable(),
  workflows: z.array(z.string()),
  outcomes: z.array(z.string()),
  runs: z.array(z.string()),
  leaseUntil: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});

/** A registration as the API shows it. */
export function showTrigger(trigger: Trigger): z.output<typeof Shown> {
  const { tokenId: _token, mode, timeoutMs, troubleReply, seenUntil: _seen, ...rest } = trigger;
  return { ...rest, answer: mode, timeout: timeoutMs === null ? null : timeoutMs / 1_000, trouble: troubleReply };
}

const DEFAULT_TROUBLE = 'The message cannot be handled at the moment, please try again';

function toTrigger(
  id: string,
  body: PutTrigger,
  tokenId: string,
  leaseMs: number,
): Omit<Trigger, 'createdAt' | 'updatedAt' | 'seenUntil'> {
  const test = body.kind !== 'resume' && body.test;
  const mail = body.kind === 'mail' ? body : undefined;
  return {
    id,
    kind: body.kind,
    name: body.kind === 'resume' ? 'an execution that waits' : body.name,
    callbackUrl: body.callbackUrl,
    link: body.link ?? null,
    tokenId,
    test,
    addresses: [...new Set((mail?.addresses ?? []).map(normalAddress))],
    mode: mail?.answer ?? null,
    timeoutMs: mail ? Math.round(mail.timeout * 1_000) : null,
    troubleReply: mail ? { code: mail.trouble.code, text: mail.trouble.text?.trim() || DEFAULT_TROUBLE } : null,
    workflows: body.kind === 'run' ? body.workflows : [],
    outcomes: body.kind === 'run' ? body.outcomes : [],
    runs: body.kind === 'resume' ? [...new Set(body.runs)] : [],
    leaseUntil: new Date(Date.now() + (test ? TEST_LEASE : leaseMs)).toISOString(),
  };
}

function normalAddress(address: string): string {
  // What is no address at all is refused in those words.
  const at = address.includes('@') ? address.lastIndexOf('@') : parseAddress(address).localPart.length;
  const { localPart, domain } = ruleAddress(address.slice(0, at), address.slice(at + 1));
  return `${localPart}@${domain}`;
}

/** What the messages of each kind tell needs the right to read it. */
const READS = { mail: 'mail:read', run: 'runs:read', resume: 'runs:read' } as const;

export const triggerRoutes: readonly Route[] = [
  defineRoute({
    method: 'get',
    path: '/v1/triggers',
    group: 'Triggers',
    summary: 'List the registrations.',
    scope: 'triggers:write',
    answers: { 200: { description: 'Every registration.', body: z.object({ items: z.array(Shown) }) } },
    async handle({ http, context }) {
      return http.json({ items: (await context.dependencies.records.triggers.list()).map(showTrigger) });
    },
  }),
  defineRoute({
    method: 'get',
    path: '/v1/triggers/{id}',
    group: 'Triggers',
    summary: 'One registration.',
    parameters: PATH,
    scope: 'triggers:write',
    answers: { 200: { description: 'The registration.', body: Shown } },
    errors: ['trigger.missing'],
    async handle({ http, context, path }) {
      const trigger = await context.dependencies.records.triggers.get(path.id ?? '');
      if (!trigger)
        throw new PermanentError({
          code: 'trigger.missing',
          message: `Nothing is registered under ${JSON.stringify(path.id)}.`,
          fix: 'GET /v1/triggers lists the registrations.',
        });
      return http.json(showTrigger(trigger));
    },
  }),
  defineRoute({
    method: 'put',
    path: '/v1/triggers/{id}',
    group: 'Triggers',
    summary: 'Register, or renew and change a registration.',
    description:
      'May be repeated freely; each call renews the lease. The messages carry a signature of the Standard Webhooks specification, keyed with the SHA-256 of the token that registered. kind mail also needs mail:read, the others runs:read.',
    parameters: PATH,
    scope: 'triggers:write',
    body: PutTrigger,
    answers: { 200: { description: 'It is registered until the lease ends.', body: Shown } },
    errors: [
      'input.invalid',
      'address.invalid',
      'trigger.address_taken',
      'trigger.origin_not_allowed',
      'trigger.callback_unreachable',
      'trigger.domain_unknown',
    ],
    async handle({ http, context: { configuration, dependencies }, token, path, body }) {
      const id = path.id ?? '';
      if (!ID.test(id))
        throw new PermanentError({
          code: 'input.invalid',
          message: 'id: letters, digits and _ . : - are allowed, at most 200.',
          fix: 'Choose an id that names the workflow and the node.',
          details: { field: 'id' },
        });
      demand(token, READS[body.kind]);
      const trigger = toTrigger(id, body, token.id, configuration.triggers.lease);
      await dependencies.callbacks.check(trigger.callbackUrl, http.req.raw.signal);
      return http.json(showTrigger(await dependencies.records.triggers.put(trigger, `token:${token.name}`)));
    },
  }),
  defineRoute({
    method: 'delete',
    path: '/v1/triggers/{id}',
    group: 'Triggers',
    summary: 'Remove a registration; one that is not there is removed already.',
    parameters: PATH,
    scope: 'triggers:write',
    answers: { 204: { description: 'It is gone, and its addresses with it.' } },
    async handle({ http, context: { dependencies }, token, path }) {
      await dependencies.records.triggers.remove(path.id ?? '', `token:${token.name}`);
      return http.body(null, 204);
    },
  }),
];
