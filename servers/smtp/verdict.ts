/**
 * The verdict of an n8n workflow, asked for inside the session. A message is judged once: while the graph works the
 * same message again waits for the same answer, and a verdict that comes too late for its session holds for the next.
 */
import { mailMessage, triggerDestination } from '../../activities/triggers/mail-message.ts';
import { readVerdict } from '../../activities/triggers/verdict.ts';
import { messageOf } from '../../protocols/errors.ts';
import { uuidv7 } from '../../stores/records/ids.ts';
import type { MailActivity, Trigger, Verdict } from '../../stores/records/port.ts';
import type { MessageShape } from '../mail/run-input.ts';
import type { Reception } from './receive.ts';

/** A verdict, or in words why there is none. */
export type Judgement = Verdict | { none: string };

/** Verdicts that this process waits for, by delivery key. */
export type Pending = Map<string, Promise<Judgement>>;

/** A graph that answers no later than this is heard, though its session has been told to come again. */
const LATEST = 600_000;
/** ms between two looks for a verdict that another process waits for. */
const LOOK_EVERY = 500;

export interface Question {
  record: MailActivity;
  deliveryKey: string;
  shape: MessageShape;
  trigger: Trigger;
  /** The graph may have seen the message before. */
  resent: boolean;
  /** ms that this session waits. */
  timeoutMs: number;
}

/** Asks the graph, or joins who asks already. Never throws for what happens at n8n. */
export async function askForVerdict(question: Question, reception: Reception): Promise<Judgement> {
  const { deliveryKey, timeoutMs } = question;
  let pending = reception.pending.get(deliveryKey);
  if (!pending) {
    pending = ask(question, reception).finally(() => reception.pending.delete(deliveryKey));
    reception.pending.set(deliveryKey, pending);
  }
  return within(timeoutMs, pending);
}

/** Waits for the verdict of a message that another process asks about. */
export async function awaitVerdict(question: Question, reception: Reception): Promise<Judgement> {
  const until = Date.now() + question.timeoutMs;
  for (;;) {
    const recorded = await reception.dependencies.records.verdicts.get(question.deliveryKey);
    if (recorded) return recorded.verdict;
    if (Date.now() > until) return noAnswer(question.timeoutMs);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  }
}

async function within(timeoutMs: number, pending: Promise<Judgement>): Promise<Judgement> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<Judgement>((resolve) => {
    timer = setTimeout(() => resolve(noAnswer(timeoutMs)), timeoutMs);
  });
  return Promise.race([pending, over]).finally(() => clearTimeout(timer));
}

const noAnswer = (timeoutMs: number): Judgement => ({
  none: `the workflow gave no answer within ${timeoutMs / 1_000} s`,
});

async function ask(
  { record, deliveryKey, shape, trigger, resent, timeoutMs }: Question,
  { dependencies: { callbacks, records }, log }: Reception,
): Promise<Judgement> {
  const destination = triggerDestination(trigger.id);
  try {
    await records.deliveries.begin(record.id, destination);
    const body = mailMessage(record, {
      ...shape,
      trigger: trigger.id,
      resent,
      answerBefore: new Date(Date.now() + timeoutMs).toISOString(),
      api: callbacks.api,
    });
    const answer = await callbacks.post(trigger, { id: uuidv7(), body }, AbortSignal.timeout(LATEST));
    const judgement = readVerdict(answer);
    log.info({ message: record.messageId, trigger: trigger.id, status: answer.status, judgement }, 'judged by n8n');
    if ('none' in judgement) {
      await records.deliveries.set(record.id, destination, { state: 'deferred', host: hostOf(trigger) });
      return judgement;
    }
    // A 4xx asks the sender to come again, and the graph to judge again.
    if (isFinal(judgement)) await records.verdicts.put({ deliveryKey, triggerId: trigger.id, verdict: judgement });
    await records.deliveries.set(record.id, destination, {
      state: judgement.verdict !== 'reject' ? 'delivered' : isFinal(judgement) ? 'refused' : 'deferred',
      host: hostOf(trigger),
      ...(judgement.verdict === 'reject' ? { reply: judgement.reply } : {}),
    });
    return judgement;
  } catch (thrown) {
    log.warn({ message: record.messageId, trigger: trigger.id, error: messageOf(thrown) }, 'no verdict from n8n');
    return { none: messageOf(thrown) };
  }
}

export const isFinal = (verdict: Verdict): boolean => verdict.verdict !== 'reject' || verdict.reply.code >= 500;

const hostOf = ({ callbackUrl }: Trigger): string => new URL(callbackUrl).host;
