/** `switchyard dmarc summary`: what was reported of late, here or as a mail. */
import { createHash } from 'node:crypto';
import { summarize } from '../../activities/dmarc/summarize.ts';
import { send } from '../../activities/mail/send.ts';
import { openDependencies, type OpenDependencies } from '../../activities/open.ts';
import type { StepContext } from '../../activities/step.ts';
import { PermanentError } from '../../protocols/errors.ts';
import { createLog } from '../../servers/log.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import { UsageError } from '../usage.ts';

export interface SummaryOptions {
  domain?: string;
  /** As typed. */
  days?: string;
  /** Who gets it, with commas between them; printed where nobody does. */
  send?: string;
  from?: string;
  json: boolean;
}

export async function summary(options: SummaryOptions, configuration: Configuration): Promise<number> {
  const dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  const log = createLog('dmarc', 'warn');
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  const step = (idempotencyKey: string): StepContext => ({
    signal: stop.signal,
    report: () => undefined,
    log,
    idempotencyKey,
  });
  try {
    const days = options.days === undefined ? undefined : daysOf(options.days);
    const found = await summarize.call({ domain: options.domain ?? null, days }, dependencies, step('cli'));
    if (options.send === undefined) {
      process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : found.text);
      return 0;
    }
    const { subject, text, html } = found;
    const from = options.from ?? (await senderOf(dependencies));
    const message = { from, to: options.send.split(',').map((one) => one.trim()), subject, text, html };
    // The same mail again, as from a command that is repeated, is sent once.
    const key = createHash('sha256').update(JSON.stringify(message)).digest('hex');
    const { recipients } = await send.call(message, dependencies, step(`cli/dmarc-summary/${key}`));
    for (const { recipient, status } of recipients) process.stdout.write(`${recipient}: ${status}\n`);
    return 0;
  } finally {
    await dependencies.close();
  }
}

function daysOf(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new UsageError('--days is a number, such as 7.');
}

/** @throws PermanentError `dmarc.sender_needed` */
async function senderOf({ records }: Pick<OpenDependencies, 'records'>): Promise<string> {
  const [first] = await records.rules.domains();
  if (first !== undefined) return `Switchyard <dmarc@${first}>`;
  throw new PermanentError({
    code: 'dmarc.sender_needed',
    message: 'There is no mail domain here that the summary could be sent from.',
    fix: 'Declare one under mail.domains in switchyard.yaml and start again.',
  });
}
