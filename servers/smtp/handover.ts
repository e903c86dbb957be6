/**
 * From the session to the runs. A message has one answer and may have many recipients: any accepted is 250 and the
 * refused ones bounce; none accepted is the refusal; anything of ours down is 451 (design, 'Mail').
 */
import { createHash } from 'node:crypto';
import type { MailActivity } from '../../stores/records/port.ts';
import type { SmtpReply } from '../../protocols/mail/reply.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';
import { routeMailId, taskQueues, type RouteMailInput } from '../../workflows/mail/contract.ts';
import { routeMailInput, type MessageShape } from '../mail/run-input.ts';
import type { Reception } from './receive.ts';
import { localTrouble, replyError } from './reply.ts';
import { askRun, settleRun } from './runs.ts';

/** One recipient whose message goes to a run. */
export interface Handover {
  record: MailActivity;
  shape: MessageShape;
}

type Answer =
  | { answer: 'delivered' | 'queued' }
  /** `run` waits for the settlement; `record` is what an earlier run left. */
  | { answer: 'refused'; reply: SmtpReply; from: 'run' | 'record' };

/** The runs of one message are asked side by side, but not all hundred at once. */
const PARALLEL = 10;

/**
 * Hands every recipient over and makes the one answer.
 * @param dropped recipients that a rule dropped: they count as accepted
 * @returns the text of the 250
 */
export async function deliver(handovers: Handover[], dropped: number, reception: Reception): Promise<string> {
  const settlement = handovers.length + dropped > 1 ? 'session' : 'alone';
  let answers: Answer[];
  try {
    answers = await mapInParallel(handovers, (one) => handOver(one, settlement, reception));
  } catch (thrown) {
    throw unreachable(thrown, reception);
  }

  const refused = handovers.flatMap((handover, i) => {
    const answer = answers[i];
    return answer?.answer === 'refused' ? [{ handover, answer }] : [];
  });
  const first = refused[0];
  if (first && refused.length === handovers.length && dropped === 0) {
    if (settlement === 'session')
      await Promise.all(refused.map((one) => passBack(one.handover, one.answer, reception)));
    throw replyError(first.answer.reply);
  }
  try {
    await mapInParallel(refused, ({ handover, answer }) => bounce(handover, answer, reception));
  } catch (thrown) {
    throw unreachable(thrown, reception);
  }
  const id = handovers[0]?.record.messageId;
  if (handovers.length === 0) return 'Accepted';
  return answers.every(({ answer }) => answer === 'delivered') ? `Delivered (${id})` : `Queued as ${id}`;
}

/** sha256 over sender, recipient and message: the same message again is the same delivery. */
export function deliveryKeyOf({ sender, recipient, blob }: MailActivity): string {
  return createHash('sha256')
    .update(`${sender}\0${recipient}\0${blob?.sha256 ?? ''}`)
    .digest('hex');
}

/** Outcomes for which the same message again has nothing left to do. */
const DONE = new Set(['delivered', 'dropped']);

async function handOver(
  handover: Handover,
  settlement: RouteMailInput['settlement'],
  reception: Reception,
): Promise<Answer> {
  const { records } = reception.dependencies;
  const deliveryKey = deliveryKeyOf(handover.record);
  const known = await records.activity.byDeliveryKey(deliveryKey);
  if (known && DONE.has(known.outcome)) return { answer: 'delivered' };
  if (known && (known.outcome === 'refused' || known.outcome === 'bounced')) {
    const reply = known.reply ?? {
      code: 554,
      enhanced: '5.4.7',
      text: known.errorText ?? 'The message could not be delivered before',
    };
    return {
      answer: 'refused',
      reply: reply.code >= 500 ? reply : { code: 554, enhanced: '5.4.7', text: reply.text },
      from: 'record',
    };
  }
  if (known?.outcome === 'accepted') handover.record = known;
  else handover.record = await openRecord(handover.record, deliveryKey, reception);
  return ask(handover, deliveryKey, settlement, undefined, reception);
}

async function openRecord(
  record: MailActivity,
  deliveryKey: string,
  { dependencies: { blobs, records, configuration } }: Reception,
): Promise<MailActivity> {
  const opened = { ...record, deliveryKey, workflowId: routeMailId(deliveryKey) };
  const owner = `activity:${opened.id}`;
  // Before the record, since whoever finds an open record delivers its blob; longer than any run: closing shortens it.
  if (opened.blob) {
    const expires = Date.now() + configuration.mail.retry.giveUpAfter * 2 + configuration.mail.keepActivity;
    await keepBlob({ blobs, records }, opened.blob, owner, new Date(expires).toISOString());
  }
  try {
    await records.activity.open([opened]);
  } catch (thrown) {
    // The same message in another session at the same time: it is the same delivery.
    const other =
      thrown instanceof PermanentError && thrown.code === 'activity.exists'
        ? await records.activity.byDeliveryKey(deliveryKey)
        : undefined;
    if (!other) throw thrown;
    if (opened.blob) await records.blobOwners.disown(opened.blob.key, owner);
    return other;
  }
  return opened;
}

async function ask(
  { record, shape }: Handover,
  deliveryKey: string,
  settlement: RouteMailInput['settlement'],
  refusedBefore: SmtpReply | undefined,
  { client, dependencies, log }: Reception,
): Promise<Answer> {
  const { configuration } = dependencies;
  const input = routeMailInput(record, shape, configuration, settlement, refusedBefore);
  const answer = await askRun(client, taskQueues(configuration.temporal.taskQueue).main, deliveryKey, input);
  log.info(
    { message: record.messageId, run: routeMailId(deliveryKey), recipient: record.recipient, answer },
    'answered by its run',
  );
  return answer.answer === 'refused' ? { ...answer, from: 'run' } : answer;
}

type Refused = Extract<Answer, { answer: 'refused' }>;

/** Another recipient was accepted, so this refusal becomes a bounce; it must be certain before the 250. */
async function bounce({ record, shape }: Handover, { reply, from }: Refused, reception: Reception): Promise<void> {
  const deliveryKey = deliveryKeyOf(record);
  if (from === 'run') {
    const settled = await settleRun(reception.client, deliveryKey, 'bounce');
    if (settled === 'bounce') return;
    throw new Error('an earlier session passed the refusal back; the next try starts the bounce');
  }
  const known = await reception.dependencies.records.activity.byDeliveryKey(deliveryKey);
  if (known?.outcome === 'bounced') return;
  const reopened = await openRecord(
    { ...record, closedAt: null, outcome: 'accepted', reply: null, errorCode: null, errorText: null },
    deliveryKey,
    reception,
  );
  await ask({ record: reopened, shape }, deliveryKey, 'accepted', reply, reception);
}

/** Best effort: a run that hears nothing ends as refused by itself. */
async function passBack({ record }: Handover, { from }: Refused, { client, log }: Reception): Promise<void> {
  if (from === 'record') return;
  await settleRun(client, deliveryKeyOf(record), 'passed-back').catch((thrown: unknown) =>
    log.warn(
      { message: record.messageId, error: messageOf(thrown) },
      'the run was not told that its refusal was passed back',
    ),
  );
}

function unreachable(thrown: unknown, { log }: Reception) {
  log.error(
    { error: messageOf(thrown), cause: thrown instanceof Error ? messageOf(thrown.cause) : undefined },
    'a run could not be reached: 451',
  );
  return replyError(localTrouble('The message could not be handed over, please try again'));
}

async function mapInParallel<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array<R>(items.length);
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, lane));
  return results;
}
