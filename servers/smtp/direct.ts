/**
 * The direct lane: a message whose only action is one forward is delivered inside its session, and the destination's
 * answer is the sender's. Nothing needs to last that the sender still holds; only what must not be forgotten is on the
 * disk before the final dot: that the message may have been delivered. What a session cannot finish becomes a run.
 */
import { attempt, type Prepared, type RelayInput } from '../../activities/mail/relay.ts';
import type { End } from '../../activities/mail/close-activity.ts';
import type { TransmissionResult } from '../../activities/network/dialer.ts';
import { parseAddress } from '../../protocols/mail/address.ts';
import { saidBy, type SmtpReply } from '../../protocols/mail/reply.ts';
import { messageOf, SwitchyardError } from '../../protocols/errors.ts';
import type { BlobRef } from '../../stores/blobs/port.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { keepBlob } from '../../stores/sweep.ts';
import { routeMailId, taskQueues } from '../../workflows/mail/contract.ts';
import { inSessionFor } from '../mail/direct-record.ts';
import { keptUntil, routeMailInput } from '../mail/run-input.ts';
import { startRun } from '../mail/start-run.ts';
import { startDeliveryWait } from './delivery-wait.ts';
import { answerOfRecord, ask, deliveryKeyOf, unreachable, type Handover } from './handover.ts';
import type { Reception, Transaction } from './receive.ts';
import { localTrouble, replyError } from './reply.ts';

/** What the sender is told. */
export type Told = { answer: 'delivered' | 'queued'; id: string } | { answer: 'refused'; reply: SmtpReply };

/** What this process delivers now, by delivery key: the same message in another session waits for the same answer. */
export type UnderWay = Map<string, Promise<Told>>;

/** A message with its verdict and signatures. Without `bytes` it is in the store already. */
export type Held = Pick<Prepared, 'bytes' | 'signed'>;

/** ms between two looks for what another process makes of the same message. */
const LOOK_EVERY = 500;
/** ms between the tries to write down an end that the sender has been told. */
const WRITE_AGAIN = [1_000, 5_000, 20_000, 60_000];

/** Where the message goes, when its session may bring it there. */
export function directDestination({ recipients }: Transaction, { mail }: Configuration): string | undefined {
  const [only, ...others] = recipients;
  if (!only || others.length > 0) return undefined;
  const { route } = only;
  if (route.kind !== 'forward' && route.kind !== 'srs') return undefined;
  const runs = (route.kind === 'forward' ? route.runs : undefined) ?? mail.runs;
  return runs === 'deferred' && route.destinations.length === 1 ? route.destinations[0] : undefined;
}

/**
 * Delivers, or hands over to a run what takes too long.
 * @returns the text of the 250
 * @throws the error that makes smtp-server send the refusal
 */
export async function deliverDirectly(
  handover: Handover,
  destination: string,
  held: Held,
  reception: Reception,
): Promise<string> {
  const deliveryKey = deliveryKeyOf(handover.record);
  const { underWay } = reception;
  let telling = underWay.get(deliveryKey);
  if (!telling) {
    const direct = new DirectDelivery(handover, destination, held, reception);
    telling = direct.tell().finally(() => underWay.delete(deliveryKey));
    underWay.set(deliveryKey, telling);
  }
  const told = await telling;
  if (told.answer === 'refused') throw replyError(told.reply);
  return told.answer === 'delivered' ? `Delivered (${told.id})` : `Queued as ${told.id}`;
}

class DirectDelivery {
  readonly #handover: Handover;
  readonly #destination: string;
  readonly #held: Held;
  readonly #reception: Reception;
  readonly #deliveryKey: string;
  readonly #blob: BlobRef;
  /** The record is in the store, open. */
  #opened = false;

  constructor(handover: Handover, destination: string, held: Held, reception: Reception) {
    this.#handover = handover;
    this.#destination = destination;
    this.#held = held;
    this.#reception = reception;
    this.#deliveryKey = deliveryKeyOf(handover.record);
    this.#blob = handover.record.blob as BlobRef;
  }

  async tell(): Promise<Told> {
    const { activity } = this.#reception.dependencies.records;
    try {
      for (;;) {
        const known = await activity.byDeliveryKey(this.#deliveryKey);
        const told = (known && (await this.#met(known))) ?? (await this.#attempt(known));
        if (told) return told;
      }
    } catch (thrown) {
      if (thrown instanceof SwitchyardError && thrown.code.startsWith('blob.')) throw thrown;
      throw unreachable(thrown, this.#reception);
    }
  }

  /** What became of the message before; undefined where it may be tried anew. */
  async #met(known: MailActivity): Promise<Told | undefined> {
    const before = answerOfRecord(known);
    if (before) return before.answer === 'refused' ? before : { answer: 'delivered', id: known.messageId };
    if (known.outcome !== 'accepted') return undefined;
    if (known.workflowId !== null) return this.#askRun(known);
    return this.#leftOpen(known);
  }

  /** Another process is at it, or one died at it; when the first cannot be any more, a run sends it again, marked. */
  async #leftOpen(known: MailActivity): Promise<Told | undefined> {
    const { dependencies } = this.#reception;
    const { activity } = dependencies.records;
    const over = Date.parse(known.receivedAt) + inSessionFor(dependencies.configuration);
    const patience = Date.now() + dependencies.configuration.mail.sessionWait;
    while (Date.now() < over) {
      if (Date.now() > patience)
        return {
          answer: 'refused',
          reply: localTrouble('Another session is delivering the message, please try again'),
        };
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
      const now = await activity.get(known.id);
      if (now?.outcome !== 'accepted' || now.workflowId !== null) return undefined;
    }
    await this.#makeDurable(known.id);
    return this.#askRun(await this.#giveToRun(known));
  }

  async #askRun(record: MailActivity): Promise<Told> {
    const answer = await ask({ ...this.#handover, record }, 'alone', undefined, this.#reception);
    return answer.answer === 'refused' ? answer : { answer: answer.answer, id: record.messageId };
  }

  /** One attempt, or undefined when the message has a record by now. */
  async #attempt(before: MailActivity | undefined): Promise<Told | undefined> {
    const { dependencies, log } = this.#reception;
    const { configuration } = dependencies;
    const record = { ...this.#handover.record, deliveryKey: this.#deliveryKey, attempts: 1 };
    record.resent = before !== undefined && (await this.#mayHaveArrived(before));
    this.#handover.record = record;
    const stored = this.#store(false);
    stored.catch(() => undefined);
    let exists: unknown;
    // It goes on when the client hangs up: what became of the message is in the record, for when it comes again.
    const wait = startDeliveryWait(configuration, this.#reception.ending);
    const hooks = {
      stage: wait.stage,
      log,
      resent: record.resent,
      beforeFinalDot: async (host: string) => {
        await stored;
        await this.#write('committing', host, null, null).catch((thrown: unknown) => {
          if (thrown instanceof SwitchyardError && thrown.code === 'activity.exists') exists = thrown;
          throw thrown;
        });
      },
    };
    const input = relayInput(this.#handover, this.#destination);
    const prepared = { ...this.#held, slotWait: configuration.mail.sessionWait };
    const result = await attempt(input, dependencies, wait.signal, hooks, prepared).finally(wait.end);
    if (exists) return undefined;
    const told = await this.#settle(result, wait.signal.aborted);
    log.info({ message: record.messageId, recipient: record.recipient, told }, 'answered in its session');
    return told;
  }

  async #settle(result: TransmissionResult, patienceOver: boolean): Promise<Told | undefined> {
    const id = this.#handover.record.messageId;
    if (result.status === 'delivered') {
      const end = { outcome: 'delivered' as const, errorCode: null, errorText: null, reply: null };
      // Delivered is delivered, whatever our own store says.
      await this.#writeAgain(() => this.#write('delivered', result.host, result.reply, end));
      return { answer: 'delivered', id };
    }
    if (result.status === 'unknown' || (result.status === 'deferred' && patienceOver)) return this.#becomeRun(result);
    const errorText = saidBy(result.host, result.reply, result.text).slice(0, 500);
    const refused = result.status === 'refused';
    const reply = refused ? result.reply : comeAgain(result);
    const end = {
      outcome: refused ? ('refused' as const) : ('failed' as const),
      errorCode: result.code,
      errorText,
      reply,
    };
    try {
      await this.#write(result.status, result.host, result.reply, end);
    } catch (thrown) {
      if (thrown instanceof SwitchyardError && thrown.code === 'activity.exists') return undefined;
      throw thrown;
    }
    await this.#keepRefused();
    return { answer: 'refused', reply };
  }

  /** The session's patience is over, or nobody knows what the destination made of it: the sender gets its 250 for a run. */
  async #becomeRun(result: Exclude<TransmissionResult, { status: 'delivered' | 'refused' }>): Promise<Told> {
    const { client, dependencies, log } = this.#reception;
    const { configuration } = dependencies;
    const { id } = this.#handover.record;
    await this.#makeDurable(id);
    if (!this.#opened) await this.#write('deferred', result.host, 'reply' in result ? result.reply : null, null);
    const given = await this.#giveToRun(this.#handover.record);
    log.info(
      { message: given.messageId, run: given.workflowId, code: result.code, text: result.text },
      'becomes a run',
    );
    const input = routeMailInput(given, this.#handover.shape, configuration, 'accepted');
    await startRun(client, taskQueues(configuration.temporal.taskQueue).main, routeMailId(this.#deliveryKey), input);
    return { answer: 'queued', id: given.messageId };
  }

  async #giveToRun(record: MailActivity): Promise<MailActivity> {
    const { activity } = this.#reception.dependencies.records;
    const action = record.action ?? { type: 'forward' as const, destinations: [this.#destination] };
    return (await activity.giveTo(record.id, routeMailId(this.#deliveryKey), action)) ?? record;
  }

  /** Opens the record, or changes it; the end of both comes in the same commit. */
  async #write(
    state: 'committing' | 'delivered' | 'deferred' | 'refused',
    host: string | null,
    reply: SmtpReply | null,
    end: End | null,
  ): Promise<void> {
    const { inSession } = this.#reception.dependencies.records;
    const { record } = this.#handover;
    if (this.#opened) return inSession.settle(record.id, this.#destination, { state, host, reply }, end);
    const closed = end ? { ...end, closedAt: new Date().toISOString() } : {};
    await inSession.open({ record: { ...record, ...closed }, destination: this.#destination, state, host, reply });
    this.#opened = true;
  }

  async #writeAgain(write: () => Promise<void>): Promise<void> {
    const { log } = this.#reception;
    const again = async (tries: number): Promise<void> => {
      try {
        await write();
      } catch (thrown) {
        const wait = WRITE_AGAIN[tries];
        log.error({ record: this.#handover.record.id, error: messageOf(thrown), wait }, 'the end was not written down');
        if (wait !== undefined) setTimeout(() => void again(tries + 1), wait).unref();
      }
    };
    await again(0);
  }

  /** An end that was written with its attempt at the final dot: nobody knows what came of that. */
  async #mayHaveArrived(before: MailActivity): Promise<boolean> {
    const row = await this.#reception.dependencies.records.deliveries.get(before.id, this.#destination);
    return row?.state === 'committing' || (row?.resent ?? false);
  }

  async #store(durable: boolean): Promise<void> {
    const { bytes } = this.#held;
    if (!bytes) return;
    const { blobs } = this.#reception.dependencies;
    await blobs.write(once(bytes), { prefix: 'mail', maxBytes: bytes.byteLength, durable });
  }

  /** Stored so that a 250 is true, and kept for as long as its run may last. */
  async #makeDurable(recordId: string): Promise<void> {
    const { dependencies } = this.#reception;
    await this.#store(true);
    await keepBlob(dependencies, this.#blob, `activity:${recordId}`, keptUntil(dependencies.configuration));
  }

  /** A refused message is kept as long as its record; a delivered one a day, like every blob without an owner. */
  async #keepRefused(): Promise<void> {
    const { dependencies, log } = this.#reception;
    const { id } = this.#handover.record;
    const until = new Date(Date.now() + dependencies.configuration.mail.keepActivity).toISOString();
    await this.#store(false)
      .then(() => keepBlob(dependencies, this.#blob, `activity:${id}`, until))
      .catch((thrown: unknown) => log.warn({ record: id, error: messageOf(thrown) }, 'a refused message is not kept'));
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function relayInput({ record, shape }: Handover, destination: string): RelayInput {
  return {
    activityId: record.id,
    kind: record.ruleId === null ? 'srs' : 'forward',
    message: record.blob as BlobRef,
    destination,
    sender: record.sender,
    recipient: record.recipient,
    domain: parseAddress(record.recipient).domain,
    sourceAddress: record.sourceAddress,
    helo: record.helo,
    messageId: record.messageId,
    receivedAt: record.receivedAt,
    tls: record.tls,
    authentication: record.authentication,
    ...shape,
  };
}

/**
 * A temporary refusal on its way back to the sender, which keeps the message. 421 would end the sender's session, and a
 * 5xx to the connection is no word about the message.
 */
function comeAgain({ reply, code }: Extract<TransmissionResult, { status: 'deferred' }>): SmtpReply {
  if (!reply) return OURS.test(code) ? localTrouble(TRY_AGAIN) : { code: 451, enhanced: '4.4.1', text: UNREACHED };
  if (reply.code >= 400 && reply.code < 500 && reply.code !== 421) return reply;
  return { code: 451, enhanced: '4.4.0', text: reply.text };
}

/** Codes of what is ours to mend, and not of the way to the destination. */
const OURS = /^(?:key|configuration|mail\.verification)/;
const TRY_AGAIN = 'The message cannot be forwarded now, please try again';
const UNREACHED = 'The next mail host cannot be reached now, please try again';
