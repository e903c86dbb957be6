/** The short form of `npm run fault:mail`, in both lanes; and that the reckoning sees each kind of broken promise. */
import { describe, expect, it } from 'vitest';
import { hasPostfix, NO_POSTFIX } from '../support/postfix.ts';
import { runFault } from './mail/fault.ts';
import { reckon, type Evidence, type RecordEvidence } from './mail/reckoning.ts';
import { reportText } from './mail/report.ts';
import { readAttempt } from './mail/sender.ts';

if (!hasPostfix) console.log(`skipped: ${NO_POSTFIX}`);

describe.skipIf(!hasPostfix)('while smtp, worker, Temporal and destination are killed and the disk fills', () => {
  it.each(['run', 'direct'] as const)(
    'lane %s: what got 250 arrives or bounces, and what arrives twice is marked',
    { timeout: 900_000 },
    async (lane) => {
      const report = await runFault({
        ...{ messages: 40, seconds: 20, seed: 5, lane },
        ...{ postgres: false, s3: false, temporal: 'own', machines: 1, say: () => undefined },
      });
      console.log(reportText(report));
      expect(report.broken).toEqual([]);
      expect(report.killsInAll).toBeGreaterThan(1);
      expect(report.betweenStoredAndAnswered).toBeGreaterThan(0);
    },
  );
});

const id = '<1@mail.plain.test>';
const alice = 'alice@forward.test';
const key = `${id} ${alice}`;
const mailbox = 'alice@mailbox.test';
const record: RecordEvidence = {
  ...{ id: 'r1', headerMessageId: id, recipient: alice, outcome: 'delivered', resent: false, errorCode: null },
  workflowId: null,
  deliveries: [{ destination: mailbox, state: 'delivered', resent: false }],
};
const arrival = { messageId: id, sender: 'SRS0=x@forward.test', recipients: [mailbox], about: null };
const reportBack = {
  ...{ messageId: '<2@mx>', sender: '', recipients: ['sender@plain.test'] },
  about: { messageId: id, recipients: [alice] },
};
const good: Evidence = {
  attempts: [{ at: 5_000, took: 2_000, messageId: id, recipient: alice, end: 'sent', text: '250 2.6.0 Delivered' }],
  arrivals: [arrival],
  records: [record],
  kills: [{ at: 4_000, part: 'worker', open: new Set([id]) }],
  shares: { sessions: { one: 1, two: 1 } },
  unanswered: 0,
  blobs: { stored: 1, owners: 1, lost: [], strays: 0, unowned: 0, orphans: [] },
  leaked: [],
  deaths: [],
  exitStatus: 0,
};
const brokenBy = (change: Partial<Evidence>) =>
  reckon({ ...good, ...change }).broken.map(({ promise, ids }) => [promise, ...ids]);

describe('the reckoning', () => {
  it('finds nothing where all is well', () => {
    expect(reckon(good)).toMatchObject({ broken: [], arrived: 1, accepted: 1, betweenStoredAndAnswered: 1 });
    expect(brokenBy({ arrivals: [reportBack], records: [{ ...record, outcome: 'bounced' }] })).toEqual([]);
    expect(brokenBy({ arrivals: [arrival, arrival], records: [{ ...record, resent: true }] })).toEqual([]);
  });

  it.each<[string, Partial<Evidence>, string[][]]>([
    [
      'a message that got 250 and is nowhere',
      { arrivals: [] },
      [
        ['What got 250 arrives or bounces', key],
        ['A record that says delivered, or bounced, is true', key],
      ],
    ],
    ['one that arrived twice unmarked', { arrivals: [arrival, arrival] }, [['What arrives twice is marked', key]]],
    [
      'a report that came twice unmarked',
      { arrivals: [reportBack, reportBack], records: [{ ...record, outcome: 'bounced' }] },
      [['What arrives twice is marked', key]],
    ],
    ['an open record', { records: [{ ...record, outcome: 'accepted' }] }, [['Every record comes to an end', 'r1']]],
    [
      'a record that says failed of what arrived',
      { records: [{ ...record, outcome: 'failed' }] },
      [['A record does not say failed of what got 250', key]],
    ],
    ['a missing record', { records: [] }, [['What got 250 has a record', key]]],
    [
      'blobs that are missing or left',
      { blobs: { ...good.blobs, lost: ['mail/a'], orphans: ['mail/b'] } },
      [
        ['A blob that is needed is there', 'mail/a'],
        ['No blob is orphaned', 'mail/b'],
      ],
    ],
    ['a process that is left', { leaked: ['7 node smtp'] }, [['No process is leaked', '7 node smtp']]],
    [
      'a machine that did nothing',
      { shares: { sessions: { one: 9, two: 0 } } },
      [['Every machine has its share of the work', 'sessions: nothing for two']],
    ],
    ['a hard end', { exitStatus: 1 }, [['up ends with status 0 after SIGTERM', 'status 1']]],
    [
      'a message without an answer',
      { unanswered: 1 },
      [['Every message is answered in the end', '1 are with their sender still']],
    ],
  ])('finds %s', (_what, change, broken) => {
    expect(brokenBy(change)).toEqual(broken);
  });

  it('counts a kill only while a stored message has no answer', () => {
    const between = (at: number, open: Set<string> | null) =>
      reckon({ ...good, kills: [{ at, part: 'smtp', open }] }).betweenStoredAndAnswered;
    expect([between(4_000, new Set([id])), between(4_000, new Set()), between(4_000, null)]).toEqual([1, 0, 0]);
    expect([between(2_999, new Set([id])), between(5_001, new Set([id]))]).toEqual([0, 0]);
  });
});

it("reads postfix's log", () => {
  const line = (status: string) =>
    `to=<alice@forward.test>, relay=127.0.0.1[127.0.0.1]:2525, delay=4.4, delays=0.01/0.17/0.01/4.2, dsn=2.6.0, ${status}`;
  const attempt = { recipient: alice, took: 4_200 };
  expect(readAttempt(line('status=sent (250 2.6.0 Delivered (ab))'))).toEqual({
    ...attempt,
    end: 'sent',
    text: '250 2.6.0 Delivered (ab)',
  });
  expect(readAttempt(line('status=deferred (lost connection with it)'))).toMatchObject({ end: 'deferred' });
  expect(readAttempt(line('status=bounced (host it said: 550 No)'))).toMatchObject({ end: 'refused' });
  expect(readAttempt('from=<a@b>, size=525, nrcpt=1 (queue active)')).toBeUndefined();
});
