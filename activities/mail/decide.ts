/** Who a recipient is, and what the rules and the policy say about a message for them. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import { Authentication, SmtpReply } from '../schemas.ts';
import type { Dependencies } from '../dependencies.ts';
import { originalSender } from './rewrite-sender.ts';
import { normalizeLocalPart, parseAddress } from '../../protocols/mail/address.ts';
import { isSrsAddress } from '../../protocols/mail/srs.ts';
import { judge } from '../../protocols/mail/policy.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { Rule } from '../../stores/records/port.ts';

export const RecipientRoute = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('forward'),
    domain: z.string(),
    ruleId: z.string(),
    destinations: z.array(z.string()),
    runs: z
      .enum(['always', 'deferred'])
      .optional()
      .describe('Whether each message is a run, or only what its session cannot finish.'),
  }),
  z.object({ kind: z.literal('drop'), domain: z.string(), ruleId: z.string() }),
  /** An n8n workflow decides, or takes the message. */
  z.object({
    kind: z.literal('trigger'),
    domain: z.string(),
    ruleId: z.string(),
    trigger: z.string(),
    name: z.string(),
  }),
  /** A report address: what comes is read for reports about a domain. */
  z.object({
    kind: z.literal('dmarc'),
    domain: z.string(),
    ruleId: z.string(),
    about: z.string().describe('The domain that the reports are about.'),
  }),
  /** One of our SRS addresses: what comes back goes to the original sender. */
  z.object({ kind: z.literal('srs'), domain: z.string(), destinations: z.array(z.string()) }),
  z.object({ kind: z.literal('unknown'), reply: SmtpReply, code: z.string() }),
]);
export type RecipientRoute = z.output<typeof RecipientRoute>;

const Verdict = z.discriminatedUnion('verdict', [
  z.object({ verdict: z.literal('accept'), disposition: z.enum(['none', 'quarantine', 'reject']) }),
  z.object({ verdict: z.literal('reject'), reply: SmtpReply, code: z.string() }),
  z.object({ verdict: z.literal('defer'), reply: SmtpReply, code: z.string() }),
]);

/** The one recipient that SMTP knows without a domain (RFC 5321, 4.1.1.3 and 4.5.1), in any spelling. */
const POSTMASTER = 'postmaster';

/**
 * The route of one recipient, from the rules alone. `postmaster` without a domain is that of our host name, or of the
 * first domain that has one; the route names the domain.
 */
export async function routeRecipient(
  recipient: string,
  dependencies: Pick<Dependencies, 'configuration' | 'records' | 'keys'>,
): Promise<RecipientRoute> {
  if (recipient.toLowerCase() === POSTMASTER) return routePostmaster(dependencies);
  let localPart: string;
  let domain: string;
  try {
    ({ localPart, domain } = parseAddress(recipient));
  } catch (thrown) {
    if (!(thrown instanceof PermanentError)) throw thrown;
    return { kind: 'unknown', code: thrown.code, reply: { code: 553, enhanced: '5.1.3', text: thrown.message } };
  }
  const { rules } = dependencies.records;
  const isSrs = isSrsAddress(recipient);
  // A rule names a domain of ours: one look is enough for nearly all mail.
  const rule = isSrs ? undefined : await rules.find(domain, normalizeLocalPart(localPart));
  if (rule) return routeOf(rule);
  if (!(await rules.isLocalDomain(domain))) {
    // RFC 3463, X.7.1: never an open relay.
    return {
      kind: 'unknown',
      code: 'mail.relay_denied',
      reply: { code: 550, enhanced: '5.7.1', text: `We do not relay mail for ${domain}` },
    };
  }
  return isSrs ? srsRoute(recipient, domain, dependencies) : unknownRecipient(recipient);
}

async function routePostmaster({
  configuration,
  records,
}: Pick<Dependencies, 'configuration' | 'records'>): Promise<RecipientRoute> {
  const own = await records.rules.find(configuration.hostname.toLowerCase(), POSTMASTER);
  if (own) return routeOf(own);
  const enabled = (await records.rules.list()).filter((rule) => rule.enabled);
  const rule =
    enabled.find(({ localPart }) => localPart === POSTMASTER) ?? enabled.find(({ localPart }) => localPart === '*');
  return rule ? routeOf(rule) : unknownRecipient(POSTMASTER);
}

function routeOf({ id, domain, action }: Rule): RecipientRoute {
  if (action.type === 'drop') return { kind: 'drop', domain, ruleId: id };
  if (action.type === 'trigger')
    return { kind: 'trigger', domain, ruleId: id, trigger: action.trigger, name: action.name };
  if (action.type === 'dmarc') return { kind: 'dmarc', domain, ruleId: id, about: action.domain };
  const { destinations, runs } = action;
  return { kind: 'forward', domain, ruleId: id, destinations, ...(runs ? { runs } : {}) };
}

const unknownRecipient = (recipient: string): RecipientRoute => ({
  kind: 'unknown',
  code: 'mail.unknown_recipient',
  reply: { code: 550, enhanced: '5.1.1', text: `No rule for ${recipient}` },
});

async function srsRoute(
  recipient: string,
  domain: string,
  dependencies: Pick<Dependencies, 'configuration' | 'records' | 'keys'>,
): Promise<RecipientRoute> {
  try {
    return { kind: 'srs', domain, destinations: [await originalSender(recipient, dependencies)] };
  } catch (thrown) {
    if (!(thrown instanceof PermanentError)) throw thrown;
    return { kind: 'unknown', code: thrown.code, reply: { code: 550, enhanced: '5.1.1', text: thrown.message } };
  }
}

export const decide = defineStep({
  name: 'mail.decide',
  summary: 'What the rules say about a recipient, and what the policy says about a verified message.',
  input: z.object({
    recipient: z.string().max(320).describe('Address of the recipient.'),
    verified: z
      .object({
        authentication: Authentication,
        temporary: z.boolean().describe('Whether a DNS error hides a result that might have passed.'),
        authorProblem: z.string().nullable().describe('Why DMARC cannot be evaluated, if it cannot.'),
      })
      .optional()
      .describe('What mail.verify found; without it only the rules are asked.'),
  }),
  output: z.object({ route: RecipientRoute, verdict: Verdict.nullable() }),
  needs: ['configuration', 'records', 'keys'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:read',
  errors: ['records.unavailable', 'input.invalid'],
  async run({ recipient, verified }, dependencies) {
    const route = await routeRecipient(recipient, dependencies);
    const verdict = verified
      ? judge({ ...verified, isSrsReturn: route.kind === 'srs' }, dependencies.configuration.mail.policy)
      : null;
    return { route, verdict };
  },
});
