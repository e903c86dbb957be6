/**
 * Every ending of `routeMail`, for real: the outcome, what the sender was told, and that the history replays with the
 * code as it is. `RECORD_HISTORIES=1` keeps the histories for test/workflows/replay.test.ts.
 */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN } from '../../cli/demo/world.ts';
import type { Behaviour } from '../../cli/demo/destination.ts';
import { replayEnded } from '../support/history.ts';
import { openHouse, type House } from '../support/house.ts';

let house: House;
let client: Client;
beforeAll(async () => {
  house = await openHouse({
    mail: { sessionWait: '2s', retry: { delays: ['1s'], giveUpAfter: '8s' } },
    outbound: { dataTimeout: '4s' },
  });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
});
afterAll(async () => {
  await client?.connection.close();
  await house?.close();
});

const ENDINGS: { name: string; to: string; behaviour: Behaviour; reply: RegExp; outcome: object; cancel?: true }[] = [
  {
    name: 'delivered',
    to: 'alice',
    behaviour: { does: 'accept' },
    reply: /^250 .*Delivered/,
    outcome: { outcome: 'delivered', attempts: 1 },
  },
  {
    name: 'retried',
    to: 'bob',
    behaviour: { does: 'defer', times: 2 },
    reply: /^250 .*Queued/,
    outcome: { outcome: 'delivered', attempts: 3 },
  },
  {
    name: 'refused',
    to: 'carol',
    behaviour: { does: 'refuse', reply: '550 5.1.1 Gone' },
    reply: /^550 5\.1\.1 Gone/,
    outcome: { outcome: 'refused' },
  },
  {
    name: 'session-timer-first',
    to: 'dave',
    behaviour: { does: 'hang', times: 1 },
    reply: /^250 .*Queued/,
    outcome: { outcome: 'delivered', attempts: 2, resent: true },
  },
  {
    name: 'expired-with-bounce',
    to: 'erin',
    behaviour: { does: 'defer', times: 1_000 },
    reply: /^250 .*Queued/,
    outcome: { outcome: 'bounced', reply: { code: 451 } },
  },
  {
    name: 'cancelled',
    to: 'frank',
    behaviour: { does: 'defer', times: 1_000 },
    reply: /^250 .*Queued/,
    outcome: { outcome: 'bounced', errorCode: 'mail.cancelled' },
    cancel: true,
  },
];

it.for(ENDINGS)(
  '$name: ends as it must, and its history replays',
  async ({ name, to, behaviour, reply, outcome, cancel }) => {
    const recipient = `${to}@${FORWARD_DOMAIN}`;
    house.destination.behave(`${to}@${MAILBOX_DOMAIN}`, behaviour);
    const { data } = await house.send({ to: [recipient] });
    expect(data).toMatch(reply);
    const [record] = await house.records.activity.list({ recipient });
    const handle = client.workflow.getHandle(record?.workflowId ?? '');
    if (cancel) await handle.cancel();
    expect(await house.finalRecord(recipient)).toMatchObject(outcome);
    await replayEnded(handle, `routeMail.${name}`);
  },
);
