/** Hands a mail to an n8n workflow that takes it at once: one attempt of a run, like one to a mail server. */
import { SwitchyardError, TemporaryError, messageOf } from '../../protocols/errors.ts';
import type { MailActivity, Trigger } from '../../stores/records/port.ts';
import type { Dependencies } from '../dependencies.ts';
import type { TransmissionResult } from '../network/dialer.ts';
import { mailMessage } from './mail-message.ts';

export interface Taking {
  trigger: string;
  activityId: string;
  protocol: string;
  eightBit: boolean;
  utf8: boolean;
  resent: boolean;
}

/** ms for an answer where the registration does not say. */
const TIMEOUT = 30_000;

/**
 * Posts the message once. A 2xx is the receiver's word that it has it.
 * @param beforeSending awaited before the first byte: after a crash from there on it is sent again and marked
 */
export async function handToTrigger(
  { trigger: id, activityId, ...shape }: Taking,
  { records, callbacks }: Pick<Dependencies, 'records' | 'callbacks'>,
  signal: AbortSignal,
  beforeSending: (host: string) => Promise<void>,
): Promise<TransmissionResult> {
  const [trigger, record] = await Promise.all([records.triggers.get(id), records.activity.get(activityId)]);
  if (!trigger) return deferred(null, 'trigger.missing', 'The n8n workflow is not active');
  if (!record) return deferred(null, 'activity.missing', 'The activity record is gone');
  return post(trigger, record, shape, { callbacks, signal, beforeSending });
}

async function post(
  trigger: Trigger,
  record: MailActivity,
  shape: Omit<Taking, 'trigger' | 'activityId'>,
  {
    callbacks,
    signal,
    beforeSending,
  }: Pick<Dependencies, 'callbacks'> & { signal: AbortSignal; beforeSending: (host: string) => Promise<void> },
): Promise<TransmissionResult> {
  const { host } = new URL(trigger.callbackUrl);
  const body = mailMessage(record, { ...shape, trigger: trigger.id, answerBefore: null, api: callbacks.api });
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(trigger.timeoutMs ?? TIMEOUT)]);
  await beforeSending(host);
  try {
    const { status } = await callbacks.post(trigger, { id: `mail/${record.id}`, body }, deadline);
    if (status >= 200 && status < 300) return delivered(host, status);
    return deferred(host, 'trigger.not_taken', `n8n answered HTTP ${status}`);
  } catch (thrown) {
    signal.throwIfAborted();
    if (!(thrown instanceof SwitchyardError)) {
      if (!deadline.aborted) throw thrown;
      return unknown(host, 'n8n gave no answer in time');
    }
    if (thrown instanceof TemporaryError && thrown.details.sent === true) return unknown(host, messageOf(thrown));
    return deferred(host, thrown.code, thrown.message);
  }
}

const delivered = (host: string, status: number): TransmissionResult => ({
  status: 'delivered',
  host,
  reply: { code: 250, enhanced: null, text: `Taken by n8n (HTTP ${status})` },
  tls: null,
});
const deferred = (host: string | null, code: string, text: string): TransmissionResult => ({
  status: 'deferred',
  host,
  reply: null,
  code,
  text,
});
const unknown = (host: string, text: string): TransmissionResult => ({
  status: 'unknown',
  host,
  code: 'mail.outcome_unknown',
  text,
});
