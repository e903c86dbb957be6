/**
 * The leases of triggers. A try in the editor goes with its lease. Any other whose lease is over is asked whether it is
 * still there: n8n may have lost the loop that renews, or have deactivated the workflow without a word.
 */
import type { Logger } from 'pino';
import type { Dependencies } from '../../activities/dependencies.ts';
import type { CallbackAnswer } from '../../activities/triggers/callbacks.ts';
import { messageOf } from '../../protocols/errors.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import type { Trigger } from '../../stores/records/port.ts';

export interface LeaseOptions {
  dependencies: Pick<Dependencies, 'configuration' | 'records' | 'callbacks'>;
  log: Logger;
}

/** Actor of the audit log. */
const ACTOR = 'lease';
/** One that does not answer is asked again no sooner than this. */
const LONGEST_PAUSE = 60_000;
const PING_TIMEOUT = 10_000;

/** @param asked when each trigger was asked last, kept between the sweeps */
export async function sweepLeases(options: LeaseOptions, asked: Map<string, number>, now: number): Promise<void> {
  const { records, configuration } = options.dependencies;
  const over = (await records.triggers.list()).filter(
    // An execution that waits has no lease: nobody could renew it.
    ({ kind, leaseUntil }) => kind === 'resume' || Date.parse(leaseUntil) <= now,
  );
  for (const id of asked.keys()) if (!over.some((one) => one.id === id)) asked.delete(id);
  for (const trigger of over) {
    const sinceAsked = now - (asked.get(trigger.id) ?? 0);
    if (trigger.test) await remove(trigger, 'its try is over', options);
    else if (trigger.kind === 'resume') await forget(trigger, trigger.createdAt, options, now);
    else if (sinceAsked >= Math.min(configuration.triggers.lease, LONGEST_PAUSE)) {
      asked.set(trigger.id, now);
      await probe(trigger, options, now);
    }
  }
}

async function probe(trigger: Trigger, options: LeaseOptions, now: number): Promise<void> {
  const { records, callbacks, configuration } = options.dependencies;
  let answer: CallbackAnswer;
  try {
    const message = { id: uuidv7(), body: { type: 'ping' } };
    answer = await callbacks.post(trigger, message, AbortSignal.timeout(PING_TIMEOUT));
  } catch (thrown) {
    options.log.warn({ trigger: trigger.id, name: trigger.name, error: messageOf(thrown) }, 'a trigger is not reached');
    return forget(trigger, trigger.leaseUntil, options, now);
  }
  if (isPong(answer)) {
    await records.triggers.renew(trigger.id, new Date(now + configuration.triggers.lease).toISOString());
  } else if (answer.status === 404 && parse(answer.body) !== undefined) {
    // JSON comes from n8n itself; while it starts, the same status is a page.
    await remove(trigger, 'n8n does not know its webhook', options);
  } else {
    options.log.warn({ trigger: trigger.id, name: trigger.name, status: answer.status }, 'a trigger gives no answer');
    await forget(trigger, trigger.leaseUntil, options, now);
  }
}

const isPong = ({ status, body }: CallbackAnswer): boolean => {
  const answer = status === 200 ? parse(body) : undefined;
  return typeof answer === 'object' && answer !== null && 'pong' in answer && answer.pong === true;
};

async function forget(trigger: Trigger, since: string, options: LeaseOptions, now: number): Promise<void> {
  if (Date.parse(since) + options.dependencies.configuration.triggers.forgetAfter > now) return;
  await remove(trigger, 'it was not reached for too long', options);
}

async function remove(trigger: Trigger, why: string, { dependencies: { records }, log }: LeaseOptions): Promise<void> {
  const gone = await records.triggers.remove(trigger.id, ACTOR, (now) => now.leaseUntil === trigger.leaseUntil);
  if (gone) log.info({ trigger: trigger.id, name: trigger.name, why }, 'a trigger is removed');
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
