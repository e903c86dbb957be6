/** What was promised, held against what happened. Pure: evidence in, report out. */
import { MAILBOX_DOMAIN } from '../../../cli/demo/world.ts';
import type { Delivery, MailActivity } from '../../../stores/records/port.ts';
import type { LoggedArrival } from '../../support/destination-process.ts';
import type { BlobEvidence } from './blobs.ts';
import type { Attempt } from './sender.ts';

export interface Kill {
  at: number;
  /** `smtp`, or `smtp two` where there are several machines. */
  part: string;
  /** Message-IDs of the records that were open in the store at that moment; null where it could not be asked. */
  open: Set<string> | null;
}

export type RecordEvidence = Pick<
  MailActivity,
  'id' | 'headerMessageId' | 'recipient' | 'outcome' | 'resent' | 'errorCode' | 'workflowId'
> & { deliveries: Pick<Delivery, 'destination' | 'state' | 'resent'>[] };

export interface Evidence {
  attempts: Attempt[];
  arrivals: LoggedArrival[];
  records: RecordEvidence[];
  kills: Kill[];
  /** By what is shared, and by machine: how much of it each did. */
  shares: Record<string, Record<string, number>>;
  /** Messages that the sender holds still. */
  unanswered: number;
  blobs: BlobEvidence;
  /** Command lines of processes that are left. */
  leaked: string[];
  /** Processes that ended though nobody killed them. */
  deaths: string[];
  /** Exit status of `up` after SIGTERM. */
  exitStatus: number | null;
}

/** Numbers count recipients of messages: each has an answer and an end of its own. */
export interface Report {
  kills: Partial<Record<string, number>>;
  /** Of them, those that fell while a stored message had no answer yet. */
  betweenStoredAndAnswered: number;
  killsInAll: number;
  sent: number;
  accepted: number;
  refused: number;
  /** Attempts after which the sender kept the message. */
  deferrals: number;
  /** What the sender was told then, or what happened, most frequent first. */
  reasons: [string, number][];
  arrived: number;
  bounced: number;
  /** Arrived or bounced more than once. */
  duplicates: number;
  duplicatesMarked: number;
  /** Marked as sent again, and here once: what came of the first time was not known. */
  markedButOnce: number;
  /** Told 5xx, though an attempt whose end nobody knew had brought it there. */
  refusedYetArrived: number;
  /** Told 5xx, though the record says only that an attempt failed; each with what was told. */
  refusedYetFailed: string[];
  records: Partial<Record<string, number>>;
  blobs: Omit<BlobEvidence, 'lost' | 'orphans'>;
  shares: Evidence['shares'];
  deaths: string[];
  /** Promises that broke, each with the ids. Empty is good. */
  broken: { promise: string; ids: string[] }[];
}

const keyOf = (messageId: string, recipient: string): string => `${messageId} ${recipient.toLowerCase()}`;
/** The rules keep the local part. */
const destinationOf = (recipient: string): string => `${recipient.slice(0, recipient.indexOf('@'))}@${MAILBOX_DOMAIN}`;

export function reckon(evidence: Evidence): Report {
  const { attempts, records, kills, blobs } = evidence;
  const arrived = countArrivals(evidence.arrivals);
  const told = new Map<string, Attempt['end']>();
  const recipients = new Map<string, Attempt>();
  for (const attempt of attempts) {
    const key = keyOf(attempt.messageId, attempt.recipient);
    recipients.set(key, attempt);
    if (told.get(key) !== 'sent') told.set(key, attempt.end);
  }
  const keys = [...recipients.keys()];
  const times = (key: string): { arrived: number; bounced: number } => {
    const { messageId, recipient } = recipients.get(key) as Attempt;
    return {
      arrived: arrived.messages.get(keyOf(messageId, destinationOf(recipient))) ?? 0,
      bounced: arrived.reports.get(key) ?? 0,
    };
  };
  const recordsOf = Map.groupBy(records, (one) => keyOf(one.headerMessageId ?? '', one.recipient));
  const isMarked = (key: string): boolean =>
    recordsOf.get(key)?.some((one) => one.resent || one.deliveries.some(({ resent }) => resent)) ?? false;

  const accepted = keys.filter((key) => told.get(key) === 'sent');
  const refused = keys.filter((key) => told.get(key) === 'refused');
  const twice = keys.filter((key) => times(key).arrived > 1 || times(key).bounced > 1);
  const between = kills.filter((kill) => isBetween(kill, attempts));
  const broken = [
    {
      promise: 'What got 250 arrives or bounces',
      ids: accepted.filter((key) => times(key).arrived + times(key).bounced === 0),
    },
    { promise: 'What arrives twice is marked', ids: twice.filter((key) => !isMarked(key)) },
    {
      promise: 'Every record comes to an end',
      ids: records.filter(({ outcome }) => outcome === 'accepted').map(({ id }) => id),
    },
    {
      promise: 'A record that says delivered, or bounced, is true',
      ids: keys.filter((key) =>
        recordsOf
          .get(key)
          ?.some(
            ({ outcome }) =>
              (outcome === 'delivered' && times(key).arrived === 0) ||
              (outcome === 'bounced' && times(key).bounced === 0),
          ),
      ),
    },
    {
      promise: 'A record does not say failed of what got 250',
      ids: accepted.filter((key) => recordsOf.get(key)?.some(({ outcome }) => outcome === 'failed')),
    },
    { promise: 'What got 250 has a record', ids: accepted.filter((key) => !recordsOf.has(key)) },
    {
      promise: 'Every message is answered in the end',
      ids: evidence.unanswered > 0 ? [`${evidence.unanswered} are with their sender still`] : [],
    },
    { promise: 'A blob that is needed is there', ids: blobs.lost },
    { promise: 'No blob is orphaned', ids: blobs.orphans },
    { promise: 'No process is leaked', ids: evidence.leaked },
    {
      promise: 'Every machine has its share of the work',
      ids: Object.entries(evidence.shares).flatMap(([what, shares]) =>
        Object.entries(shares).flatMap(([machine, count]) => (count === 0 ? [`${what}: nothing for ${machine}`] : [])),
      ),
    },
    {
      promise: 'up ends with status 0 after SIGTERM',
      ids: evidence.exitStatus === 0 ? [] : [`status ${evidence.exitStatus}`],
    },
    {
      promise: 'The supervisor does not end by itself',
      ids: evidence.deaths.filter((line) => line.includes('supervisor')),
    },
  ];
  const { stored, owners, strays, unowned } = blobs;
  return {
    kills: countBy(kills.map(({ part }) => part)),
    killsInAll: kills.length,
    betweenStoredAndAnswered: between.length,
    sent: keys.length,
    accepted: accepted.length,
    refused: refused.length,
    deferrals: attempts.filter(({ end }) => end === 'deferred').length,
    reasons: Object.entries(countBy(attempts.filter(({ end }) => end === 'deferred').map(reasonOf))).sort(
      ([, one = 0], [, other = 0]) => other - one,
    ) as [string, number][],
    arrived: keys.filter((key) => times(key).arrived > 0).length,
    bounced: keys.filter((key) => times(key).bounced > 0).length,
    duplicates: twice.length,
    duplicatesMarked: twice.filter(isMarked).length,
    markedButOnce: keys.filter((key) => isMarked(key) && !twice.includes(key)).length,
    refusedYetArrived: refused.filter((key) => times(key).arrived > 0).length,
    refusedYetFailed: refused
      .filter((key) => recordsOf.get(key)?.some(({ outcome }) => outcome === 'failed'))
      .map((key) => `${key}: ${recipients.get(key)?.text}`),
    records: countBy(records.map(({ outcome }) => outcome)),
    blobs: { stored, owners, strays, unowned },
    shares: evidence.shares,
    deaths: evidence.deaths,
    broken: broken.filter(({ ids }) => ids.length > 0),
  };
}

/** Without what differs from message to message. */
function reasonOf({ text }: Attempt): string {
  return text
    .replace(/^(?:host \S+ said: |connect to \S+: |delivery temporarily suspended: )+/, '')
    .replace(/ \(in reply to .*$/, '')
    .replace(/\S+\[[\d.]+\](?::\d+)?/g, 'it')
    .slice(0, 100);
}

function countArrivals(arrivals: LoggedArrival[]) {
  const messages = new Map<string, number>();
  const reports = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { messageId, recipients, about } of arrivals) {
    if (about) for (const one of about.recipients) count(reports, keyOf(about.messageId, one));
    else for (const one of recipients) count(messages, keyOf(messageId, one));
  }
  return { messages, reports };
}

/** A message was in the store, and its sender waited for the answer to the final dot. */
function isBetween({ at, open }: Kill, attempts: Attempt[]): boolean {
  return attempts.some(
    (attempt) => attempt.at - attempt.took <= at && at <= attempt.at && open?.has(attempt.messageId) === true,
  );
}

function countBy<Name extends string>(names: Name[]): Partial<Record<Name, number>> {
  const counts: Partial<Record<Name, number>> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
