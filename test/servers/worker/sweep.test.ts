/** What happens to a record whose run is no more. */
import { truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../../cli/demo/world.ts';
import { settleOpen } from '../../../servers/worker/sweep.ts';
import type { BlobRef } from '../../../stores/blobs/port.ts';
import { uuidv7 } from '../../../stores/records/ids.ts';
import { activity } from '../../stores/contract/activity.ts';
import { eventually, openHouse, simpleMessage, type House } from '../../support/house.ts';

let house: House;
let client: Client;
let dependencies: OpenDependencies;
beforeAll(async () => {
  house = await openHouse({ mail: { sessionWait: '2s', retry: { delays: ['1s'], giveUpAfter: '5d' } } });
  client = new Client({ connection: await Connection.connect({ address: house.installation.addresses.temporal }) });
  dependencies = await openDependencies(house.installation.configuration, house.installation.addresses);
});
afterAll(async () => {
  await dependencies?.close();
  await client?.connection.close();
  await house?.close();
});

const LATER = 600_000;
const sweep = () =>
  settleOpen({ dependencies, client, log: pino({ level: 'silent' }), taskQueue: 'switchyard' }, Date.now() + LATER);

async function queuedRun(localPart: string): Promise<string> {
  house.destination.behave(`${localPart}@${MAILBOX_DOMAIN}`, { does: 'defer', times: 1_000 });
  expect((await house.send({ to: [`${localPart}@${FORWARD_DOMAIN}`] })).data).toMatch(/^250 .*Queued/);
  const [record] = await house.records.activity.list({ recipient: `${localPart}@${FORWARD_DOMAIN}` });
  return record?.workflowId ?? '';
}

it('leaves a record alone while its run goes on', async () => {
  const id = await queuedRun('alice');
  expect(await sweep()).toBe(0);
  house.destination.behave(`alice@${MAILBOX_DOMAIN}`, { does: 'accept' });
  expect(await house.finalRecord(`alice@${FORWARD_DOMAIN}`)).toMatchObject({ outcome: 'delivered', workflowId: id });
});

it('tells the sender of a message whose run a person terminated', async () => {
  await client.workflow.getHandle(await queuedRun('bob')).terminate('not wanted');
  expect(await sweep()).toBe(1);
  expect(await house.finalRecord(`bob@${FORWARD_DOMAIN}`)).toMatchObject({ outcome: 'bounced', reply: { code: 554 } });
  const bounce = house.destination.received.find(
    (one) => one.sender === '' && one.recipients.includes(`sender@${PLAIN_DOMAIN}`),
  );
  expect(bounce?.raw.toString()).toContain('ended by the operator');
  expect(await sweep()).toBe(0);
});

it('begins again where the run is gone, as after a lost Temporal database', async () => {
  const id = await queuedRun('carol');
  const handle = client.workflow.getHandle(id);
  await handle.terminate('about to be deleted');
  await client.workflowService.deleteWorkflowExecution({ namespace: 'default', workflowExecution: { workflowId: id } });
  await eventually(
    () =>
      handle.describe().then(
        () => false,
        () => true,
      ),
    'the deletion of the run',
  );
  house.destination.behave(`carol@${MAILBOX_DOMAIN}`, { does: 'accept' });
  expect(await sweep()).toBe(1);
  expect((await house.finalRecord(`carol@${FORWARD_DOMAIN}`)).outcome).toBe('delivered');
  expect(house.destination.received.filter((one) => one.recipients.includes(`carol@${MAILBOX_DOMAIN}`))).toHaveLength(
    1,
  );
});

/** As after a disk that lost a part of the blob folder. */
async function loseMessage(localPart: string): Promise<void> {
  const [record] = await house.records.activity.list({ recipient: `${localPart}@${FORWARD_DOMAIN}`, limit: 1 });
  await dependencies.blobs.remove(record?.blob?.key ?? '');
}

it('settles the others where one message is lost, and says so of it', async () => {
  for (const one of ['dave', 'erin']) await client.workflow.getHandle(await queuedRun(one)).terminate('lost');
  await loseMessage('dave');
  expect(await sweep()).toBe(2);
  expect(await house.finalRecord(`dave@${FORWARD_DOMAIN}`)).toMatchObject({
    outcome: 'failed',
    errorCode: 'blob.missing',
  });
  expect(await house.finalRecord(`erin@${FORWARD_DOMAIN}`)).toMatchObject({ outcome: 'bounced' });
  expect(await sweep()).toBe(0);
});

it('ends a run that cannot write its report, instead of failing again and again', async () => {
  const handle = client.workflow.getHandle(await queuedRun('frank'));
  await loseMessage('frank');
  await handle.cancel();
  expect(await house.finalRecord(`frank@${FORWARD_DOMAIN}`)).toMatchObject({ outcome: 'failed' });
  await expect(handle.result()).resolves.toMatchObject({ outcome: 'failed' });
});

it('closes what an n8n workflow was asked about when the session died, so that the message may come again', async () => {
  const waiting = activity({
    workflowId: null,
    recipient: `judged@${FORWARD_DOMAIN}`,
    action: { type: 'trigger', trigger: 'n8n:1', name: 'Sales' },
  });
  await dependencies.records.activity.open([waiting]);
  expect(await sweep()).toBe(1);
  expect(await house.finalRecord(waiting.recipient)).toMatchObject({
    outcome: 'failed',
    errorCode: 'trigger.no_verdict',
  });
  await dependencies.records.activity.open([{ ...waiting, receivedAt: new Date().toISOString() }]);
  expect(await dependencies.records.activity.get(waiting.id)).toMatchObject({ outcome: 'accepted' });
  await dependencies.records.activity.close(waiting.id, {
    outcome: 'dropped',
    errorCode: null,
    errorText: null,
    reply: null,
  });
});

/** What a session of the direct lane leaves that dies at its final dot. */
async function leaveAtFinalDot(localPart: string): Promise<BlobRef> {
  const message = Buffer.from(simpleMessage(`${localPart}@${FORWARD_DOMAIN}`));
  const blob = await dependencies.blobs.write(Readable.from([message]), { prefix: 'mail', maxBytes: 10_000 });
  const destination = `${localPart}@${MAILBOX_DOMAIN}`;
  const record = activity({
    workflowId: null,
    blob,
    attempts: 1,
    sender: `sender@${PLAIN_DOMAIN}`,
    recipient: `${localPart}@${FORWARD_DOMAIN}`,
    deliveryKey: uuidv7().replaceAll('-', '').padEnd(64, '0'),
    action: { type: 'forward', destinations: [destination] },
    receivedAt: new Date().toISOString(),
  });
  await dependencies.records.inSession.open({ record, destination, state: 'committing', host: null, reply: null });
  return blob;
}

it('sends again, marked, what a session had at its final dot when it died; a refusal then needs no bounce', async () => {
  await leaveAtFinalDot('grace');
  house.destination.behave(`heidi@${MAILBOX_DOMAIN}`, { does: 'refuse', reply: '550 5.1.1 Gone' });
  await leaveAtFinalDot('heidi');
  const bounces = house.destination.received.filter((one) => one.sender === '').length;
  expect(await sweep()).toBe(2);
  expect(await house.finalRecord(`grace@${FORWARD_DOMAIN}`)).toMatchObject({
    outcome: 'delivered',
    attempts: 2,
    resent: true,
    workflowId: expect.stringMatching(/^mail\//),
  });
  expect(await house.finalRecord(`heidi@${FORWARD_DOMAIN}`)).toMatchObject({ outcome: 'refused', resent: true });
  expect(house.destination.received.filter((one) => one.sender === '')).toHaveLength(bounces);
  expect(await sweep()).toBe(0);
});

it('sends nothing of a message whose bytes a power cut took', async () => {
  const { key, sha256 } = await leaveAtFinalDot('ivan');
  const file = join(house.installation.configuration.state, 'blobs', 'mail', sha256.slice(0, 2), sha256);
  expect(key.endsWith(sha256)).toBe(true);
  await truncate(file, 40);
  expect(await sweep()).toBe(1);
  expect(await house.finalRecord(`ivan@${FORWARD_DOMAIN}`)).toMatchObject({
    outcome: 'failed',
    errorCode: 'blob.missing',
  });
  expect(house.destination.received.some((one) => one.recipients.includes(`ivan@${MAILBOX_DOMAIN}`))).toBe(false);
});
