/** The life of one destination of one message: attempts, waits, the end. */
import { ActivityFailure, ApplicationFailure, isCancellation, sleep, TemporalFailure } from '@temporalio/workflow';
import { saidBy } from '../../protocols/mail/reply.ts';
import type { SmtpReply } from '../../stores/records/port.ts';
import { deliveries, deliveriesNow, type HouseActivities } from '../activities.ts';
import type { RouteMailInput } from './contract.ts';

type RelayInput = Parameters<HouseActivities['mail.relay']>[0];
type RelayOutput = Awaited<ReturnType<HouseActivities['mail.relay']>>;

/** Where one destination stands. */
export interface Delivery {
  readonly destination: string;
  readonly kind: RelayInput['kind'];
  readonly message: RouteMailInput['message'];
  readonly eightBit: boolean;
  readonly utf8: boolean;
  state: 'pending' | 'delivered' | 'deferred' | 'refused' | 'expired' | 'cancelled';
  attempts: number;
  host: string | null;
  reply: SmtpReply | null;
  code: string | null;
  text: string;
  nextAttemptAt: number | null;
}

export function newDelivery(
  destination: string,
  kind: RelayInput['kind'],
  body: Pick<Delivery, 'message' | 'eightBit' | 'utf8'>,
): Delivery {
  return {
    destination,
    kind,
    ...body,
    state: 'pending',
    attempts: 0,
    host: null,
    reply: null,
    code: null,
    text: '',
    nextAttemptAt: null,
  };
}

export const isOver = (delivery: Delivery): boolean => delivery.state !== 'pending' && delivery.state !== 'deferred';

/** A destination at our own cap on connections is asked again soon: it has not failed. */
const BUSY_WAIT = 10_000;

/**
 * One attempt on the given queue; its end is written into `delivery`. Only a cancellation is thrown.
 * @param local try it inside the workflow task first
 */
export async function attempt(
  delivery: Delivery,
  run: RouteMailInput,
  taskQueue: string,
  local = false,
): Promise<void> {
  delivery.attempts += 1;
  delivery.nextAttemptAt = null;
  const result = await relay(delivery, run, taskQueue, local);
  delivery.state = result.status === 'unknown' ? 'deferred' : result.status;
  delivery.host = result.host;
  delivery.reply = result.reply;
  delivery.code = result.code;
  delivery.text = result.text;
}

async function relay(delivery: Delivery, run: RouteMailInput, taskQueue: string, local: boolean): Promise<RelayOutput> {
  const input: RelayInput = {
    activityId: run.activityId,
    kind: delivery.kind,
    message: delivery.message,
    destination: delivery.destination,
    sender: run.sender,
    recipient: run.recipient,
    domain: run.domain,
    sourceAddress: run.sourceAddress,
    helo: run.helo,
    messageId: run.messageId,
    receivedAt: run.receivedAt,
    protocol: run.protocol,
    tls: run.tls,
    eightBit: delivery.eightBit,
    utf8: delivery.utf8,
    authentication: delivery.kind === 'bounce' ? null : run.authentication,
  };
  const before = delivery.reply ? `, after ${replyLine(delivery)}` : '';
  const words = `${delivery.kind === 'bounce' ? 'bounce' : `attempt ${delivery.attempts}`} to ${nameOf(delivery, run)}${before}`;
  const summary = cut(words, SUMMARY_BYTES);
  // What an n8n workflow does with a message takes its time.
  const isAddress = run.names?.[delivery.destination] === undefined;
  if (local && isAddress) {
    try {
      return await deliveriesNow['mail.relay'].executeWithOptions({ summary }, [input]);
    } catch (thrown) {
      // A local activity fails with its own error, in no ActivityFailure.
      if (isCancellation(thrown) || !(thrown instanceof TemporalFailure)) throw thrown;
    }
  }
  try {
    return await deliveries(taskQueue)['mail.relay'].executeWithOptions({ taskQueue, summary }, [input]);
  } catch (thrown) {
    if (isCancellation(thrown) || !(thrown instanceof ActivityFailure)) throw thrown;
    return lost(thrown);
  }
}

/** An attempt that ended in neither an answer nor a result: refused where no repeat can help, else deferred. */
function lost(failure: ActivityFailure): RelayOutput {
  const cause = failure.cause;
  if (cause instanceof ApplicationFailure && cause.nonRetryable) {
    const reply = { code: 554, enhanced: '5.3.0', text: cause.message };
    return {
      status: 'refused',
      host: null,
      reply,
      code: cause.type ?? 'mail.attempt_failed',
      text: cause.message,
      resent: false,
    };
  }
  return {
    status: 'deferred',
    host: null,
    reply: null,
    code: 'mail.attempt_lost',
    text: cause?.message ?? failure.message,
    resent: false,
  };
}

/** Waits and tries again until the destination took the message, refused it, or the time is up. */
export async function retryUntilOver(delivery: Delivery, run: RouteMailInput, giveUpAt: number): Promise<void> {
  let step = 0;
  while (!isOver(delivery)) {
    const busy = delivery.code === 'mail.destination_busy';
    const delays = run.policy.retryDelays;
    const wait = busy ? BUSY_WAIT : (delays[Math.min(step, delays.length - 1)] ?? BUSY_WAIT);
    if (!busy) step += 1;
    if (Date.now() + wait > giveUpAt) {
      delivery.state = 'expired';
      delivery.code = 'mail.expired';
      return;
    }
    delivery.nextAttemptAt = Date.now() + wait;
    await sleep(wait, {
      summary: cut(`next attempt to ${nameOf(delivery, run)}, after ${replyLine(delivery)}`, SUMMARY_BYTES),
    });
    await attempt(delivery, run, run.taskQueues.retry);
  }
}

/** The destination as people call it. */
export const nameOf = ({ destination }: Delivery, { names }: RouteMailInput): string =>
  names?.[destination] ?? destination;

/** Temporal's limit on a summary. */
const SUMMARY_BYTES = 380;
const cut = (text: string, bytes: number): string => (text.length > bytes / 2 ? `${text.slice(0, bytes / 2)}…` : text);

/** `mx1.b.example: 451 4.7.1 greylisted`, or the trouble in words. */
export function replyLine({ host, reply, text }: Delivery): string {
  return saidBy(host, reply, text);
}
