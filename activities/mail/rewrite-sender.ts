/** The Sender Rewriting Scheme: a forwarded message leaves with an envelope sender of ours, so that SPF passes and bounces find the way back. */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { reverseSender, rewriteSender } from '../../protocols/mail/srs.ts';

/** Name of the secret behind every SRS hash of this installation. */
const SECRET = 'srs';
const DAY = 86_400_000;

/**
 * Domain of senders that stand in an activity record, by its id: what is too long to be carried in an address. Nobody's
 * domain (RFC 2606, 2).
 */
const RECORDED = 'activity.invalid';

type Part = Pick<Dependencies, 'configuration' | 'keys'>;

/**
 * The envelope sender that a message forwarded by `domain` leaves with; the null sender stays null.
 * @param activityId of the message's record, which a bounce finds the way by where the sender is too long
 * @throws PermanentError `address.invalid`; without a record `srs.too_long`, `srs.reserved`
 */
export async function rewriteForDomain(
  sender: string,
  domain: string,
  dependencies: Part,
  activityId?: string,
): Promise<string> {
  if (sender === '') return '';
  const srs = { ...(await options(dependencies)), alias: domain };
  try {
    // Or a stranger could name any record as their sender, and its own sender would get what they write.
    if (parseAddress(sender).domain === RECORDED) throw reserved(sender);
    return rewriteSender(sender, srs);
  } catch (thrown) {
    const canBeFound = thrown instanceof PermanentError && BY_RECORD.has(thrown.code) && activityId !== undefined;
    if (canBeFound) return rewriteSender(`${activityId}@${RECORDED}`, srs);
    throw thrown;
  }
}

const BY_RECORD = new Set(['srs.too_long', 'srs.reserved']);

const reserved = (sender: string): PermanentError =>
  new PermanentError({
    code: 'srs.reserved',
    message: `${JSON.stringify(sender.slice(0, 100))} is in a domain that stands for the records of this installation.`,
    fix: 'Nobody has an address there (RFC 2606, 2): leave a sender address of this domain instead.',
  });

/**
 * Who a mail to one of our SRS addresses is really for.
 * @throws PermanentError `srs.invalid`, `srs.expired`
 */
export async function originalSender(
  address: string,
  { records, ...dependencies }: Part & Pick<Dependencies, 'records'>,
): Promise<string> {
  const original = reverseSender(address, await options(dependencies));
  const { localPart, domain } = parseAddress(original);
  if (domain !== RECORDED) return original;
  const record = await records.activity.get(localPart);
  if (record) return record.sender;
  throw new PermanentError({
    code: 'srs.expired',
    message: `The activity record of ${JSON.stringify(address)} is no longer kept.`,
    fix: 'Nothing is owed to a bounce this late; raise mail.keepActivity if they are wanted.',
  });
}

/** The secret never changes. */
const secrets = new WeakMap<Part['keys'], Promise<KeyObject>>();

function secretOf(keys: Part['keys']): Promise<KeyObject> {
  const known = secrets.get(keys);
  if (known) return known;
  const asked = keys.secret(SECRET).then(createSecretKey);
  secrets.set(keys, asked);
  asked.catch(() => secrets.delete(keys));
  return asked;
}

async function options({ configuration, keys }: Part) {
  return { secret: await secretOf(keys), now: Date.now(), maxAgeDays: configuration.mail.srsMaxAge / DAY };
}

export const rewriteSenderStep = defineStep({
  name: 'mail.rewriteSender',
  summary: 'Rewrite an envelope sender with SRS, or find the original sender behind an SRS address.',
  input: z.object({
    sender: z.string().max(320).describe('Envelope sender to rewrite, or the rewritten address to reverse.'),
    domain: z
      .string()
      .max(255)
      .optional()
      .describe('The forwarding domain; without it the host name of this installation. Not needed to reverse.'),
    direction: z
      .enum(['forward', 'reverse'])
      .default('forward')
      .describe('Whether to rewrite a sender or to find the original behind a rewritten one.'),
  }),
  output: z.object({ sender: z.string() }),
  needs: ['configuration', 'keys', 'records'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:read',
  errors: [
    'srs.invalid',
    'srs.expired',
    'srs.too_long',
    'srs.reserved',
    'address.invalid',
    'records.unavailable',
    'input.invalid',
  ],
  async run({ sender, domain, direction }, dependencies) {
    if (direction === 'reverse') return { sender: await originalSender(sender, dependencies) };
    return { sender: await rewriteForDomain(sender, domain ?? dependencies.configuration.hostname, dependencies) };
  },
});
