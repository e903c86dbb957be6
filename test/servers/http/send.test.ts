/** mail.send over HTTP: at once, and as a run that retries by itself. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createLog } from '../../../servers/log.ts';
import type { RunningServer } from '../../../servers/server.ts';
import { startWorker } from '../../../servers/worker/server.ts';
import { openKeys } from '../../../stores/keys/open.ts';
import { sharedTemporal } from '../../setup/temporal.ts';
import { eventually } from '../../support/house.ts';
import { startPeer, type Peer, type PeerOptions } from '../../support/smtp-peer.ts';
import { startService, type Service } from './service.ts';

let service: Service;
let worker: RunningServer;
let client: Client;
let b: Peer;
let c: Peer;
const behaviour: { b: PeerOptions; c: PeerOptions } = { b: {}, c: {} };

beforeAll(async () => {
  b = await startPeer(behaviour.b);
  c = await startPeer(behaviour.c);
  const temporal = await sharedTemporal();
  service = await startService({
    temporal,
    configuration: {
      mail: { send: { to: ['*@b.test', '*@c.test'] }, retry: { delays: ['1s'], giveUpAfter: '1d' } },
      outbound: { transport: { 'b.test': `127.0.0.1:${b.port}`, 'c.test': `127.0.0.1:${c.port}` } },
    },
  });
  await service.records.rules.applyDeclared([{ domain: 'own.test', rules: [] }]);
  await (await openKeys(service.records, service.configuration)).create('own.test');
  const { configuration, addresses } = service;
  worker = await startWorker({ configuration, addresses, log: createLog('test', 'silent') });
  client = new Client({ connection: await Connection.connect({ address: temporal }) });
});
afterAll(async () => {
  await client?.connection.close();
  await worker?.close();
  await service?.close();
  await b?.close();
  await c?.close();
});
beforeEach(() => {
  for (const [options, peer] of [
    [behaviour.b, b],
    [behaviour.c, c],
  ] as const) {
    delete options.rcpt;
    peer.messages.length = 0;
  }
});

const input = (change: object = {}) => ({
  from: 'desk@own.test',
  to: ['bob@b.test', 'carol@c.test'],
  subject: 'Hello',
  text: 'Hello.',
  ...change,
});
const post = (body: object, key?: string) =>
  service.call('POST', '/v1/steps/mail.send', { body, headers: key ? { 'idempotency-key': key } : {} });
const start = (id: string, body: object) =>
  service.call('POST', '/v1/runs', { body: { workflow: 'runStep', id, input: { step: 'mail.send', input: body } } });
const result = (id: string) => service.call('GET', `/v1/runs/${encodeURIComponent(id)}/result?wait=60s`);

describe('at once', () => {
  test('needs a key, sends once for it, and refuses another message under it', async () => {
    expect(await post(input())).toMatchObject({ status: 400, json: { code: 'step.key_required' } });
    const first = await post(input(), 'one');
    expect(first).toMatchObject({
      status: 200,
      json: { recipients: [{ recipient: 'bob@b.test', status: 'delivered' }, { recipient: 'carol@c.test' }] },
    });
    expect((await post(input(), 'one')).json).toEqual(first.json);
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
    expect(await post(input({ subject: 'Other' }), 'one')).toMatchObject({
      status: 409,
      json: { code: 'mail.key_reused' },
    });
  });

  test.each([
    ['a stranger', { to: ['eve@elsewhere.test'] }, 403, 'mail.recipient_not_declared'],
    ['a foreign sender', { from: 'eve@b.test' }, 403, 'mail.sender_not_own'],
    ['a line end in the subject', { subject: 'a\r\nBcc: eve@elsewhere.test' }, 400, 'input.invalid'],
    ['a field that there is not', { body: 'Hello' }, 400, 'input.invalid'],
  ])('answers %s with what is wrong and what to do', async (_what, change, status, code) => {
    expect(await post(input(change), randomUUID())).toMatchObject({
      status,
      json: { status, code, fix: expect.stringMatching(/\w/) },
    });
    expect(b.messages.length).toBe(0);
  });

  test('says when to try again what was deferred, and the page that it is up to the caller', async () => {
    behaviour.c.rcpt = '451 4.7.1 Greylisted';
    const deferred = await post(input(), 'two');
    expect(deferred).toMatchObject({ status: 503, json: { code: 'mail.deferred', recipient: 'carol@c.test' } });
    expect(deferred.headers.get('retry-after')).toBe('1');
    const page = await service.call('GET', `/mail/${deferred.json.activity}`);
    expect(page.text).toContain('whoever sent it has to try again');
    expect(page.text).not.toMatch(/Received|HELO|refused before/);
    expect(page.text).toContain('DKIM signature');

    delete behaviour.c.rcpt;
    expect((await post(input(), 'two')).status).toBe(200);
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
    expect((await service.call('GET', '/mail')).text).toContain('sent from here');
  });
});

describe('as a run', () => {
  test('it goes on by itself with those that are left, and its records link to it', async () => {
    const id = `n8n/${randomUUID()}/1/Send`;
    behaviour.c.rcpt = '451 4.7.1 Greylisted';
    expect((await start(id, input())).status).toBe(200);
    await eventually(
      () => b.messages.length > 0 && c.commands.filter((line) => line.startsWith('RCPT')).length > 1,
      'a retry',
    );
    delete behaviour.c.rcpt;
    const { json } = await result(id);
    expect(json).toMatchObject({
      status: 'COMPLETED',
      result: { recipients: [{ status: 'delivered' }, { status: 'delivered' }] },
    });
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
    const [record] = await service.records.activity.list({ recipient: 'carol@c.test', limit: 1 });
    expect(record).toMatchObject({ workflowId: id, outcome: 'delivered' });
  });

  test('begun again under its id after a person ended it, it sends to nobody twice', async () => {
    const id = randomUUID();
    behaviour.c.rcpt = '451 4.7.1 Greylisted';
    const first = await start(id, input());
    await eventually(
      async () =>
        (await service.records.activity.list({ recipient: 'bob@b.test', limit: 1 }))[0]?.workflowId === id &&
        b.messages.length > 0,
      'the first delivery',
    );
    await client.workflow.getHandle(id).terminate('enough');
    delete behaviour.c.rcpt;
    const again = await start(id, input());
    expect(again.json.runId).not.toBe(first.json.runId);
    expect((await result(id)).json.status).toBe('COMPLETED');
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
  });

  test('refused by everyone, it fails with the answer', async () => {
    behaviour.b.rcpt = '550 5.1.1 No such user';
    const id = randomUUID();
    await start(id, input({ to: ['bob@b.test'] }));
    const failed = await result(id);
    expect(failed.json).toMatchObject({ status: 422, code: 'mail.refused', run: id });
    expect(failed.json.detail).toContain('550 5.1.1 No such user');
  });
});
