/** The Sender Rewriting Scheme: a forwarded message leaves with an envelope sender of ours, so that SPF passes and bounces find the way back. */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { reverseSender, rewriteSender } from '../../protocols/mail/srs.ts';

/** Name of the secret behind every SRS hash of this installation. */
const SECRET = 'srs';
const DAY = 86_400_000;

type Part = Pick<Dependencies, 'configuration' | 'keys'>;

/** The envelope sender that a message forwarded by `domain` leaves with; the null sender stays null. */
export async function rewriteForDomain(sender: string, domain: string, dependencies: Part): Promise<string> {
  if (sender === '') return '';
  return rewriteSender(sender, { ...(await options(dependencies)), alias: domain });
}

/**
 * Who a mail to one of our SRS addresses is really for.
 * @throws PermanentError `srs.invalid`, `srs.expired`
 */
export async function originalSender(address: string, dependencies: Part): Promise<string> {
  return reverseSender(address, await options(dependencies));
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
  needs: ['configuration', 'keys'],
  takes: 'cpu',
  repeat: 'safe',
  scope: 'mail:read',
  errors: ['srs.invalid', 'srs.expired', 'address.invalid', 'input.invalid'],
  async run({ sender, domain, direction }, dependencies) {
    if (direction === 'reverse') return { sender: await originalSender(sender, dependencies) };
    return { sender: await rewriteForDomain(sender, domain ?? dependencies.configuration.hostname, dependencies) };
  },
});
