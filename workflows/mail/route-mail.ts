/**
 * `routeMail`: one accepted recipient of one message. The first attempts are part of the SMTP session, which asks for
 * their end with the update `firstAnswer`; what is then accepted ends delivered or bounced (design, 'Mail').
 */
import {
  ActivityFailure,
  allHandlersFinished,
  CancellationScope,
  condition,
  defineQuery,
  defineUpdate,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { SmtpReply } from '../../stores/records/port.ts';
import { bookkeeping, bookkeepingNow, type HouseActivities } from '../activities.ts';
import {
  FIRST_ANSWER,
  PROGRESS,
  SETTLE,
  TASK_RENEWAL,
  type FirstAnswer,
  type RouteMailInput,
  type RouteMailProgress,
  type RouteMailResult,
  type Settlement,
} from './contract.ts';
import { attempt, isOver, newDelivery, replyLine, retryUntilOver, type Delivery } from './delivery.ts';
import { describeRun } from './details.ts';

const firstAnswer = defineUpdate<FirstAnswer>(FIRST_ANSWER);
const settle = defineUpdate<Settlement, [Settlement]>(SETTLE);
const progress = defineQuery<RouteMailProgress>(PROGRESS);
const outcomeAttribute = defineSearchAttributeKey('SwitchyardOutcome', SearchAttributeType.KEYWORD);

/** A session that has not settled a refusal by then is gone, and its client never got a 250. */
const SETTLEMENT_WAIT = '1 hour';

export async function routeMail(input: RouteMailInput): Promise<RouteMailResult> {
  const body = { message: input.message, eightBit: input.eightBit, utf8: input.utf8 };
  const forwards = input.destinations.map((destination) => newDelivery(destination, input.kind, body));
  const all: Delivery[] = [...forwards];
  let answer: FirstAnswer | undefined;
  let settlement: Settlement | undefined;
  let phase: RouteMailProgress['phase'] = 'first attempt';

  setHandler(firstAnswer, async () => {
    await condition(() => answer !== undefined);
    return answer as FirstAnswer;
  });
  setHandler(
    settle,
    (asked) => {
      settlement ??= asked;
      return settlement;
    },
    {
      validator: (_asked) => {
        if (answer?.answer !== 'refused') throw new Error('There is no refusal to settle.');
      },
    },
  );
  setHandler(progress, () => ({ phase, destinations: all.map(shown), nextAttemptAt: soonest(all) }));

  const show = (next: RouteMailProgress['phase'], words: string): void => {
    phase = next;
    setCurrentDetails(describeRun(input, words, all));
  };
  const finish = async (
    outcome: RouteMailResult['outcome'],
    failed: Delivery | undefined,
  ): Promise<RouteMailResult> => {
    answer ??= { answer: 'queued' };
    const errorCode = outcome === 'delivered' ? null : (failed?.code ?? null);
    const books = input.local?.includes('close') ? bookkeepingNow : bookkeeping;
    await books['mail.closeActivity'].executeWithOptions({ summary: outcome }, [
      {
        activityId: input.activityId,
        outcome,
        errorCode,
        errorText: failed ? replyLine(failed).slice(0, 500) : null,
        reply: failed?.reply ?? null,
        workflowId: workflowInfo().workflowId,
      },
    ]);
    upsertSearchAttributes([{ key: outcomeAttribute, value: outcome }]);
    show(
      'closed',
      outcome.replace(/^./, (letter) => letter.toUpperCase()),
    );
    await condition(allHandlersFinished);
    return { outcome, attempts: all.reduce((sum, one) => sum + one.attempts, 0), errorCode };
  };

  try {
    show('first attempt', 'First attempt');
    if (input.refusedBefore) for (const one of forwards) refuse(one, input.refusedBefore);
    else answer = await firstAttempts(input, forwards, (early) => (answer ??= early));

    const refused = forwards.every((one) => one.state === 'refused');
    if (refused && !input.refusedBefore && answer?.answer === 'refused') {
      if (input.settlement === 'session') await condition(() => settlement !== undefined, SETTLEMENT_WAIT);
      const passedBack = input.settlement === 'alone' || (input.settlement === 'session' && settlement !== 'bounce');
      if (passedBack) return await finish('refused', forwards[0]);
    }
    answer ??= { answer: 'queued' };

    const giveUpAt = Date.parse(input.receivedAt) + input.policy.giveUpAfter;
    if (!forwards.every(isOver)) show('waiting', 'Waiting for the next attempt');
    await Promise.all(forwards.map((one) => retryUntilOver(one, input, giveUpAt)));
  } catch (thrown) {
    if (!isCancellation(thrown)) throw thrown;
    for (const one of forwards) if (!isOver(one)) cancel(one);
  }

  // Also after a cancellation: what was accepted ends delivered or bounced.
  return CancellationScope.nonCancellable(async () => {
    answer ??= { answer: 'queued' };
    const failed = forwards.filter((one) => one.state !== 'delivered');
    if (failed.length === 0) return finish('delivered', undefined);
    if (!input.bounceAllowed) return finish('failed', failed[0]);
    show('bouncing', 'Telling the sender');
    const report = await tellSender(input, failed);
    if (!report) return finish('failed', failed[0]);
    all.push(report);
    await attempt(report, input, input.taskQueues.retry);
    show('bouncing', 'Telling the sender');
    await retryUntilOver(report, input, Date.now() + input.policy.giveUpAfter);
    return finish(report.state === 'delivered' ? 'bounced' : 'failed', failed[0]);
  });
}

/** Runs the first attempt of every destination; answers early when the session's time is up. */
async function firstAttempts(
  input: RouteMailInput,
  forwards: Delivery[],
  answerEarly: (answer: FirstAnswer) => void,
): Promise<FirstAnswer> {
  const local = input.local?.includes('attempt') ?? false;
  const timer = new CancellationScope();
  let early = false;
  const sessionOver = timer.run(async () => {
    const { sessionWait } = input.policy;
    await sleep(local ? sessionWait - TASK_RENEWAL : sessionWait, { summary: 'the session waits until here' });
    // From here on the sender has its 250: a refusal must bounce.
    early = true;
    answerEarly({ answer: 'queued' });
  });
  sessionOver.catch(() => undefined);
  try {
    await Promise.all(forwards.map((one) => attempt(one, input, input.taskQueues.first, local)));
  } finally {
    timer.cancel();
  }
  if (early || input.settlement === 'accepted') return { answer: 'queued' };
  if (forwards.some((one) => one.state === 'delivered')) return { answer: 'delivered' };
  const refusal = forwards[0]?.reply;
  if (forwards.every((one) => one.state === 'refused') && refusal) return { answer: 'refused', reply: refusal };
  return { answer: 'queued' };
}

/** Undefined when the report cannot be written, since its message is no more: a run that fails of it would be begun again without end. */
async function tellSender(input: RouteMailInput, failed: Delivery[]): Promise<Delivery | undefined> {
  try {
    return newDelivery(input.sender, 'bounce', await writeReport(input, failed));
  } catch (thrown) {
    if (isCancellation(thrown) || !(thrown instanceof ActivityFailure)) throw thrown;
    return undefined;
  }
}

function writeReport(input: RouteMailInput, failed: Delivery[]): ReturnType<HouseActivities['mail.bounce']> {
  return bookkeeping['mail.bounce'].executeWithOptions(
    { summary: `non-delivery report to ${input.sender}`.slice(0, 190) },
    [
      {
        message: input.message,
        sender: input.sender,
        recipient: input.recipient,
        domain: input.domain,
        receivedAt: input.receivedAt,
        reportedAt: new Date().toISOString(),
        reason: failed.map((one) => ENDS[one.state]).find((words) => words !== undefined),
        failures: failed.map((one) => ({
          destination: one.destination,
          host: one.host,
          reply: one.reply,
          text: one.text || one.state,
        })),
      },
    ],
  );
}

const ENDS: Partial<Record<Delivery['state'], string>> = {
  expired: 'The destination did not take the message in time.',
  cancelled: 'The delivery was cancelled by the operator.',
};

function refuse(delivery: Delivery, reply: SmtpReply): void {
  delivery.state = 'refused';
  delivery.reply = reply;
  delivery.code = 'mail.refused';
  delivery.text = reply.text;
}

function cancel(delivery: Delivery): void {
  delivery.state = 'cancelled';
  delivery.code = 'mail.cancelled';
  delivery.nextAttemptAt = null;
}

const shown = (one: Delivery) => ({
  destination: one.destination,
  state: one.state,
  attempts: one.attempts,
  lastReply: one.attempts ? replyLine(one) : null,
});

function soonest(all: Delivery[]): string | null {
  const times = all.map((one) => one.nextAttemptAt).filter((at) => at !== null);
  return times.length > 0 ? new Date(Math.min(...times)).toISOString() : null;
}
