/**
 * From the session to the runs. A message has one answer and may have many recipients: any accepted is 250 and the
 * refused ones bounce; none accepted is the refusal; anything of ours down is 451 (design, 'Mail').
 */
import { createHash } from 'node:crypto';
import { closeRecord, type End } from '../../activities/mail/close-activity.ts';
import type { MailActivity, Trigger } from '../../stores/records/port.ts';
import { enhancedFor, type SmtpReply } from '../../protocols/mail/reply.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { messageOf, PermanentError } from '../../protocols/errors.ts';
import { ingestDmarcReportId } from '../../workflows/dmarc/contract.ts';
import { routeMailId, taskQueues, type RouteMailInput } from '../../workflows/mail/contract.ts';
import { ingestionInput, startIngestion } from '../dmarc/ingestion.ts';
import { keptUntil, routeMailInput, type MessageShape } from '../mail/run-input.ts';
import type { Reception } from './receive.ts';
import { localTrouble, replyError } from './reply.ts';
import { countReportMail } from './report-quota.ts';
import { askRun, settleRun } from './runs.ts';
import { askForVerdict, awaitVerdict, isFinal, type Judgement } from './verdict.ts';

/** One recipient whose message goes to a run. */
export interface Handover {
  record: MailActivity;
  shape: MessageShape;
}

type Answer =
  | { answer: 'delivered' | 'queued' }
  /** `run` waits for the settlement; `record` is what an earlier run left. */
  | { answer: 'refused'; reply: SmtpReply; from: 'run' | 'record' }
  /** An n8n workflow refused it; the record is still open and ends so. */
  | { answer: 'refused'; reply: SmtpReply; from: 'graph'; end: End };

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
    await Promise.all(refused.map((one) => passBack(one.handover, one.answer, settlement, reception)));
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
/** Outcomes that are told once more. */
const REFUSED = new Set(['refused', 'bounced', 'rejected']);

/** What the record of the same message says to it; undefined while it is open and where it may be tried anew. */
export function answerOfRecord(known: MailActivity): Exclude<Answer, { from: 'graph' }> | undefined {
  if (DONE.has(known.outcome)) return { answer: 'delivered' };
  if (!REFUSED.has(known.outcome)) return undefined;
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

async function handOver(
  handover: Handover,
  settlement: RouteMailInput['settlement'],
  reception: Reception,
): Promise<Answer> {
  const { records } = reception.dependencies;
  const deliveryKey = deliveryKeyOf(handover.record);
  const known = await records.activity.byDeliveryKey(deliveryKey);
  const before = known && answerOfRecord(known);
  if (before) return before;
  const { action } = handover.record;
  if (action?.type === 'dmarc') return handToIngestion(handover, { known, deliveryKey, settlement }, reception);
  const hasRun = known?.outcome === 'accepted' && known.workflowId !== null;
  if (action?.type === 'trigger' && !hasRun) {
    const trigger = await records.triggers.get(action.trigger);
    if (trigger?.mode !== 'taken') return askGraph(handover, { known, trigger, deliveryKey, settlement }, reception);
  }
  if (known?.outcome === 'accepted') handover.record = known;
  else handover.record = await openRecord(handover.record, deliveryKey, reception);
  return ask(handover, settlement, undefined, reception);
}

/** Reports are nobody's mail: the run exists, and that is all that the session waits for. */
async function handToIngestion(
  handover: Handover,
  { known, deliveryKey, settlement }: Omit<GraphFacts, 'trigger'>,
  reception: Reception,
): Promise<Answer> {
  const { client, log } = reception;
  const run = ingestDmarcReportId(deliveryKey);
  const isOpen = known?.outcome === 'accepted';
  const { domain } = ingestionInput(handover.record);
  if (!isOpen) await countReportMail(handover.record, { domain, deliveryKey }, reception.dependencies);
  const record = isOpen ? known : await openRecord(handover.record, deliveryKey, reception, run);
  handover.record = record;
  // Another session was faster, and its run has ended by now.
  if (record.outcome !== 'accepted') return handOver(handover, settlement, reception);
  const { taskQueue } = reception.dependencies.configuration.temporal;
  await client.withDeadline(Date.now() + START_WITHIN, () =>
    startIngestion(client, taskQueues(taskQueue).main, run, ingestionInput(record)),
  );
  log.info({ message: record.messageId, run, recipient: record.recipient }, 'reports go to their run');
  return { answer: 'queued' };
}

/** ms until Temporal has the run; past it the sender comes again. */
const START_WITHIN = 10_000;

interface GraphFacts {
  known: MailActivity | undefined;
  /** Undefined when the workflow was deactivated while the message came. */
  trigger: Trigger | undefined;
  deliveryKey: string;
  settlement: RouteMailInput['settlement'];
}

/** An n8n workflow decides, inside the session. */
async function askGraph(
  handover: Handover,
  { known, trigger, deliveryKey, settlement }: GraphFacts,
  reception: Reception,
): Promise<Answer> {
  const { records } = reception.dependencies;
  const isOpen = known?.outcome === 'accepted';
  // The graph may hold the id and come back with it: the message sent again keeps it.
  const record = isOpen
    ? known
    : await openRecord({ ...handover.record, id: known?.id ?? handover.record.id }, deliveryKey, reception, null);
  handover.record = record;
  // Another session was faster, and its end is known by now.
  if (record.outcome !== 'accepted') return handOver(handover, settlement, reception);

  const judgement = await judgementOf(handover, { known, trigger, deliveryKey, isOpen }, reception);
  // A graph may give the message to a run of its own: then that answers.
  const now = (await records.activity.get(record.id)) ?? record;
  if (now.workflowId !== null) {
    if (now.outcome !== 'accepted') return { answer: now.outcome === 'delivered' ? 'delivered' : 'queued' };
    handover.record = now;
    return ask(handover, settlement, undefined, reception);
  }
  if (!('none' in judgement) && judgement.verdict === 'forward') {
    const action = { type: 'forward' as const, destinations: judgement.destinations };
    handover.record = (await records.activity.giveTo(record.id, routeMailId(deliveryKey), action)) ?? record;
    return ask(handover, settlement, undefined, reception);
  }
  return endOf(handover, judgement, trigger, reception);
}

async function judgementOf(
  { record, shape }: Handover,
  { known, trigger, deliveryKey, isOpen }: Omit<GraphFacts, 'settlement'> & { isOpen: boolean },
  reception: Reception,
): Promise<Judgement> {
  const recorded = await reception.dependencies.records.verdicts.get(deliveryKey);
  if (recorded) return recorded.verdict;
  if (!trigger) return { none: 'the workflow is no longer active' };
  const timeoutMs = trigger.timeoutMs ?? 0;
  const question = { record, shape, trigger, deliveryKey, timeoutMs, resent: known !== undefined };
  const isYoung = Date.now() < Date.parse(record.receivedAt) + timeoutMs;
  const elsewhere = isOpen && isYoung && !reception.pending.has(deliveryKey);
  return elsewhere ? awaitVerdict(question, reception) : askForVerdict(question, reception);
}

/** The verdict becomes the answer and the end of the record. */
async function endOf(
  { record }: Handover,
  judgement: Exclude<Judgement, { verdict: 'forward' }>,
  trigger: Trigger | undefined,
  reception: Reception,
): Promise<Answer> {
  const close = (end: End) => closeRecord(record.id, end, reception.dependencies, null);
  if ('none' in judgement) {
    const { code, text } = trigger?.troubleReply ?? { code: 451, text: 'Temporary failure, please try again' };
    const reply = { code, enhanced: enhancedFor(code), text };
    const end = { outcome: 'failed' as const, errorCode: 'trigger.no_verdict', errorText: judgement.none, reply };
    if (code >= 500) return { answer: 'refused', reply, from: 'graph', end };
    await close(end);
    throw replyError(reply);
  }
  if (judgement.verdict !== 'reject') {
    const outcome = judgement.verdict === 'accept' ? ('delivered' as const) : ('dropped' as const);
    await close({ outcome, errorCode: null, errorText: null, reply: null });
    return { answer: 'delivered' };
  }
  const { reply } = judgement;
  const end = { errorCode: 'trigger.rejected', errorText: 'The n8n workflow refused the message', reply };
  if (isFinal(judgement)) return { answer: 'refused', reply, from: 'graph', end: { ...end, outcome: 'rejected' } };
  await close({ ...end, outcome: 'failed' });
  throw replyError(reply);
}

/** @param workflowId null while nobody knows whether there will be a run */
async function openRecord(
  record: MailActivity,
  deliveryKey: string,
  { dependencies: { blobs, records, configuration } }: Reception,
  workflowId: string | null = routeMailId(deliveryKey),
): Promise<MailActivity> {
  const opened = { ...record, deliveryKey, workflowId };
  const owner = `activity:${opened.id}`;
  // Before the record, since whoever finds an open record delivers its blob; longer than any run: closing shortens it.
  if (opened.blob) await keepBlob({ blobs, records }, opened.blob, owner, keptUntil(configuration));
  try {
    await records.activity.open([opened]);
  } catch (thrown) {
    // The same message in another session at the same time: it is the same delivery.
    const other =
      thrown instanceof PermanentError && thrown.code === 'activity.exists'
        ? await records.activity.byDeliveryKey(deliveryKey)
        : undefined;
    if (!other) throw thrown;
    if (opened.blob && other.id !== opened.id) await records.blobOwners.disown(opened.blob.key, owner);
    return other;
  }
  return opened;
}

/** Starts the run of the record, or meets it, and waits for its answer. */
export async function ask(
  { record, shape }: Handover,
  settlement: RouteMailInput['settlement'],
  refusedBefore: SmtpReply | undefined,
  { client, dependencies, log }: Reception,
): Promise<Exclude<Answer, { from: 'graph' }>> {
  const { configuration } = dependencies;
  const input = routeMailInput(record, shape, configuration, settlement, refusedBefore);
  const run = runOf(record);
  const answer = await askRun(client, taskQueues(configuration.temporal.taskQueue).main, run, input);
  log.info({ message: record.messageId, run, recipient: record.recipient, answer }, 'answered by its run');
  return answer.answer === 'refused' ? { ...answer, from: 'run' } : answer;
}

const runOf = (record: MailActivity): string => record.workflowId ?? routeMailId(deliveryKeyOf(record));

type Refused = Extract<Answer, { answer: 'refused' }>;

/** Another recipient was accepted, so this refusal becomes a bounce; it must be certain before the 250. */
async function bounce({ record, shape }: Handover, { reply, from }: Refused, reception: Reception): Promise<void> {
  const deliveryKey = deliveryKeyOf(record);
  const { activity } = reception.dependencies.records;
  if (from === 'run') {
    const settled = await settleRun(reception.client, runOf(record), 'bounce');
    if (settled === 'bounce') return;
    throw new Error('an earlier session passed the refusal back; the next try starts the bounce');
  }
  if (from === 'graph' && record.action) {
    const given = (await activity.giveTo(record.id, routeMailId(deliveryKey), record.action)) ?? record;
    await ask({ record: given, shape }, 'accepted', reply, reception);
    return;
  }
  const known = await activity.byDeliveryKey(deliveryKey);
  if (known?.outcome === 'bounced') return;
  const reopened = await openRecord(
    { ...record, closedAt: null, outcome: 'accepted', reply: null, errorCode: null, errorText: null },
    deliveryKey,
    reception,
  );
  await ask({ record: reopened, shape }, 'accepted', reply, reception);
}

/** Best effort: a run that hears nothing ends as refused by itself, and a record that stays open is settled by the sweep. */
async function passBack(
  { record }: Handover,
  answer: Refused,
  settlement: RouteMailInput['settlement'],
  { client, dependencies, log }: Reception,
): Promise<void> {
  if (answer.from === 'record' || (answer.from === 'run' && settlement === 'alone')) return;
  const told: Promise<unknown> =
    answer.from === 'graph'
      ? closeRecord(record.id, answer.end, dependencies, null)
      : settleRun(client, runOf(record), 'passed-back');
  await told.catch((thrown: unknown) =>
    log.warn(
      { message: record.messageId, error: messageOf(thrown) },
      'the run was not told that its refusal was passed back',
    ),
  );
}

export function unreachable(thrown: unknown, { log }: Reception) {
  // The graph's own 4xx, or what it set for the case that there is no verdict.
  if (thrown instanceof Error && 'responseCode' in thrown) return thrown;
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
