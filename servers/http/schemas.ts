/** The records as the API shows them. Each schema is checked by the compiler against the port it shows. */
import { z } from 'zod';
import { Authentication, BlobRef, SmtpReply } from '../../activities/schemas.ts';
import { RESULT_WAIT } from './limits.ts';
import type * as port from '../../stores/records/port.ts';

/** How long an answer waits for a run: `30s`; ms. More than `RESULT_WAIT` is that. */
export const Wait = z
  .string()
  .regex(/^\d{1,3}s?$/, 'write seconds, such as 30s')
  .transform((text) => Math.min(Number.parseInt(text, 10) * 1_000, RESULT_WAIT));

const Forward = z.object({
  type: z.literal('forward'),
  destinations: z.array(z.string().min(3).max(320)).min(1).max(20),
  runs: z
    .enum(['always', 'deferred'])
    .optional()
    .describe('Whether each message is a run, or only what its session cannot finish; without it as mail.runs says.'),
});
const Drop = z.object({ type: z.literal('drop') });

/** What a person may ask for; those of triggers and report addresses follow from their registrations. */
export const WantedAction = z.union([Forward, Drop]) satisfies z.ZodType<port.RuleAction>;

export const RuleAction = z.union([
  Forward,
  Drop,
  z.object({ type: z.literal('trigger'), trigger: z.string(), name: z.string() }),
  z.object({ type: z.literal('dmarc'), domain: z.string() }),
]) satisfies z.ZodType<port.RuleAction>;

export const Rule = z.object({
  id: z.string(),
  domain: z.string(),
  localPart: z.string(),
  action: RuleAction,
  source: z.enum(['file', 'api', 'trigger', 'dmarc']),
  enabled: z.boolean(),
  createdAt: z.string(),
  updatedAt: z.string(),
}) satisfies z.ZodType<port.Rule>;

export const OUTCOMES = [
  'accepted',
  'delivered',
  'dropped',
  'rejected',
  'refused',
  'bounced',
  'failed',
] as const satisfies readonly port.Outcome[];
export const Outcome = z.enum(OUTCOMES);

export const MailActivity = z.object({
  id: z.string(),
  deliveryKey: z.string().nullable(),
  receivedAt: z.string(),
  messageId: z.string(),
  sourceAddress: z.string(),
  helo: z.string(),
  tls: z.string().nullable(),
  sender: z.string(),
  recipient: z.string(),
  headerFrom: z.string().nullable(),
  headerMessageId: z.string().nullable(),
  subject: z.string().nullable(),
  blob: BlobRef.nullable(),
  authentication: Authentication.nullable(),
  ruleId: z.string().nullable(),
  action: RuleAction.nullable(),
  outcome: Outcome,
  errorCode: z.string().nullable(),
  errorText: z.string().nullable(),
  reply: SmtpReply.nullable(),
  attempts: z.number().int(),
  resent: z.boolean(),
  workflowId: z.string().nullable(),
  closedAt: z.string().nullable(),
}) satisfies z.ZodType<port.MailActivity>;

export const Delivery = z.object({
  activityId: z.string(),
  destination: z.string(),
  state: z.enum(['pending', 'committing', 'delivered', 'deferred', 'refused']),
  attempts: z.number().int(),
  host: z.string().nullable(),
  reply: SmtpReply.nullable(),
  resent: z.boolean(),
  updatedAt: z.string(),
}) satisfies z.ZodType<port.Delivery>;

export const Token = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  createdAt: z.string(),
  lastUsedAt: z.string().nullable(),
}) satisfies z.ZodType<port.TokenRecord>;

export const AuditEntry = z.object({
  id: z.string(),
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  subject: z.string(),
  before: z.unknown(),
  after: z.unknown(),
});

export const RUN_STATUSES = [
  'RUNNING',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'TERMINATED',
  'CONTINUED_AS_NEW',
  'TIMED_OUT',
] as const;
export const Run = z.object({
  id: z.string(),
  runId: z.string(),
  workflow: z.string(),
  status: z.enum([...RUN_STATUSES, 'PAUSED', 'UNSPECIFIED', 'UNKNOWN']),
  startedAt: z.string().nullable(),
  closedAt: z.string().nullable(),
  /** The house's search attributes that the run carries. */
  attributes: z.record(z.string(), z.string()),
  /** Page of the run in the Temporal UI, null where nobody knows it. */
  url: z.string().nullable(),
  /** The same, under the name that n8n's nodes put into their output. */
  runUrl: z.string().nullable(),
});
export type Run = z.infer<typeof Run>;

/** A page or a webhook, without a password in it. */
export const HttpUrl = z
  .url({ protocol: /^https?$/, error: 'write an http or https URL' })
  .max(2_000)
  .refine((text) => !URL.parse(text)?.username, 'write the URL without a user name');

/** `2h`, `30m`, `7d` before now, or an ISO time; as an ISO time. */
export const TimeOrAge = z
  .union([
    z.iso.datetime({ offset: true }),
    z.string().regex(/^\d+[smhd]$/, 'write a time such as 2026-11-24T08:00:00Z, or an age such as 30m, 2h or 7d'),
  ])
  .transform(toTime);

const AGE = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function toTime(text: string): string {
  const age = /^(\d+)([smhd])$/.exec(text) as [string, string, keyof typeof AGE] | null;
  return new Date(age ? Date.now() - Number(age[1]) * AGE[age[2]] : Date.parse(text)).toISOString();
}
