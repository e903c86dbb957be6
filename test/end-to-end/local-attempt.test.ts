/**
 * The first attempt inside the workflow task: it needs no event of its own, holds up nobody, and what cannot end
 * there soon ends as an activity, without a second copy.
 */
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN } from '../../cli/demo/world.ts';
import { LOCAL_WAITS } from '../../servers/worker/activities.ts';
import { replayEnded } from '../support/history.ts';
import { eventually, openHouse, type House } from '../support/house.ts';
import { startPeer, type Answer, type Peer } from '../support/smtp-peer.ts';

/** Longer than the 7 s after which an attempt moves on, and than the renewal of its task. */
const SESSION_WAIT = 16_000;

let house: House;
let client: Client;
const peers: Record<'greetsLate' | 'silent' | 'answersLate' | 'answersTooLate', Peer> = {} as never;

const late =
  (ms: number): Answer =>
  (socket) =>
    void setTimeout(() => socket.write('250 2.0.0 Taken\r\n'), ms);

beforeAll(async () => {
  peers.greetsLate = await startPeer({
    greeting: (socket) => {
      if (peers.greetsLate.connections > 1) socket.write('220 late.test\r\n');
    },
  });
  peers.silent = await startPeer({ greeting: 'hang' });
  peers.answersLate = await startPeer({ dot: late(11_000) });
  peers.answersTooLate = await startPeer({ dot: late(SESSION_WAIT + 12_000) });
  const names = Object.keys(peers) as (keyof typeof peers)[];
  house = await openHouse({
    mail: {
      sessionWait: `${SESSION_WAIT}ms`,
      retry: { delays: ['1s'], giveUpAfter: '5d' },
      limits: { connectionsPerAddress: 500 },
      domains: {
        [FORWARD_DOMAIN]: {
          rules: [
            ...['alice', 'bob', 'carol'].map((address) => ({ address, forward: [`${address}@${MAILBOX_DOMAIN}`] })),
            ...names.map((name) => ({ address: name, forward: [`box@${name}.test`] })),
          ],
        },
      },
    },
    outbound: {
      connectionsPerDestination: LOCAL_WAITS + 50,
      transport: Object.fromEntries(names.map((name) => [`${name}.test`, `127.0.0.1:${peers[name].port}`])),
    },
  });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
});
afterAll(async () => {
  await client?.connection.close();
  await house?.close();
  await Promise.all(Object.values(peers).map((peer) => peer.close()));
});

const at = (name: string) => `${name}@${FORWARD_DOMAIN}`;

async function runOf(recipient: string): Promise<WorkflowHandle> {
  const [record] = await house.records.activity.list({ recipient });
  return client.workflow.getHandle(record?.workflowId ?? '');
}

/** Kinds of the events that a run caused by what it did: activities, timers, local activities. */
async function doings(handle: WorkflowHandle): Promise<string[]> {
  const { events } = await handle.fetchHistory();
  return (events ?? []).flatMap(
    ({
      activityTaskScheduledEventAttributes: activity,
      timerStartedEventAttributes,
      markerRecordedEventAttributes,
    }) => [
      ...(activity ? [`activity ${activity.activityType?.name}`] : []),
      ...(timerStartedEventAttributes ? ['timer'] : []),
      ...(markerRecordedEventAttributes ? ['local'] : []),
    ],
  );
}

it('delivers without an activity and without a timer', async () => {
  const { data } = await house.send({ to: [at('alice')] });
  expect(data).toMatch(/^250 .*Delivered/);
  const run = await runOf(at('alice'));
  await replayEnded(run, 'routeMail.delivered-in-task');
  expect(await doings(run)).toEqual(['local', 'local']);
});

it('passes a refusal back', async () => {
  house.destination.behave(`bob@${MAILBOX_DOMAIN}`, { does: 'refuse', reply: '550 5.1.1 Gone' });
  const { data } = await house.send({ to: [at('bob')] });
  expect(data).toMatch(/^550 5\.1\.1 Gone/);
  await replayEnded(await runOf(at('bob')), 'routeMail.refused-in-task');
});

it('goes on by timers and activities where the destination defers', async () => {
  house.destination.behave(`carol@${MAILBOX_DOMAIN}`, { does: 'defer', times: 1 });
  const { data } = await house.send({ to: [at('carol')] });
  expect(data).toMatch(/^250 .*Queued/);
  expect(await house.finalRecord(at('carol'))).toMatchObject({ outcome: 'delivered', attempts: 2, resent: false });
  const run = await runOf(at('carol'));
  await replayEnded(run, 'routeMail.deferred-in-task');
  expect(await doings(run)).toEqual(['local', 'timer', 'activity mail.relay', 'local']);
});

it.concurrent('begins again as an activity where the destination is slow before the message', async ({ expect }) => {
  const { data } = await house.send({ to: [at('greetsLate')] });
  expect(data).toMatch(/^250 .*Delivered/);
  expect(peers.greetsLate.messages).toHaveLength(1);
  expect(await house.finalRecord(at('greetsLate'))).toMatchObject({ outcome: 'delivered', resent: false });
  const run = await runOf(at('greetsLate'));
  await replayEnded(run, 'routeMail.moved');
  expect(await doings(run)).toContain('activity mail.relay');
});

it.concurrent(
  'waits for the answer to the final dot, since the destination may have the message',
  async ({ expect }) => {
    const { data } = await house.send({ to: [at('answersLate')] });
    expect(data).toMatch(/^250 .*Delivered/);
    expect(peers.answersLate.messages).toHaveLength(1);
    expect(await house.finalRecord(at('answersLate'))).toMatchObject({
      outcome: 'delivered',
      attempts: 1,
      resent: false,
    });
  },
);

it.concurrent('answers the sender in time although the attempt goes on', async ({ expect }) => {
  const { data } = await house.send({ to: [at('answersTooLate')] });
  expect(data).toMatch(/^250 .*Queued/);
  expect(peers.answersTooLate.messages).toHaveLength(1);
  expect(await house.finalRecord(at('answersTooLate'))).toMatchObject({
    outcome: 'delivered',
    attempts: 1,
    resent: false,
  });
  await replayEnded(await runOf(at('answersTooLate')), 'routeMail.session-timer-in-task');
  expect(peers.answersTooLate.messages).toHaveLength(1);
});

it('delivers to others while more destinations are silent than there are places in tasks', async () => {
  const silent = Array.from({ length: LOCAL_WAITS + 10 }, () => house.send({ to: [at('silent')] }));
  await eventually(() => peers.silent.open.size > LOCAL_WAITS, 'more at the silent destination than there are places');
  house.destination.behave(`alice@${MAILBOX_DOMAIN}`, { does: 'accept' });
  const { data } = await house.send({ to: [at('alice')] });
  expect(data).toMatch(/^250 .*Delivered/);
  expect(peers.silent.open.size).toBeGreaterThan(LOCAL_WAITS);
  for (const { data } of await Promise.all(silent)) expect(data).toMatch(/^250 .*Queued/);
}, 120_000);
