/** Mail that an n8n workflow decides about, inside the SMTP session: real processes, real SMTP, n8n over the wire. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { eventually, simpleMessage } from '../support/house.ts';
import { CUT, isSignedWith, verdict } from '../support/fake-n8n.ts';
import { activity } from '../stores/contract/activity.ts';
import { at, openTriggerHouse, type TriggerHouse } from './house.ts';

let world: TriggerHouse;
beforeAll(async () => {
  world = await openTriggerHouse();
});
afterAll(() => world?.close());

const send = (to: string | string[], message?: string) =>
  world.house.send({ to: [to].flat(), ...(message ? { message } : {}) });
const arrivals = (localPart: string) =>
  world.house.destination.received.filter((one) => one.recipients.includes(`${localPart}@${MAILBOX_DOMAIN}`));

describe('the verdict of a workflow', () => {
  it('accept: the sender has its 250 and the workflow the message', async () => {
    const { id, address, path } = await world.mailTrigger('accept');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    const message = simpleMessage(address, 'Invoice 4711');
    expect((await send(address, message)).data).toMatch(/^250 2\.6\.0 Delivered \(/);
    const [call] = world.n8n.calls(path);
    expect(call && isSignedWith(world.token, call)).toBe(true);
    expect(call && isSignedWith('sy_another', call)).toBe(false);
    const record = await world.house.finalRecord(address);
    expect(record).toMatchObject({ outcome: 'delivered', workflowId: null, action: { type: 'trigger', trigger: id } });
    const sha256 = createHash('sha256').update(message).digest('hex');
    expect(call?.body).toMatchObject({
      type: 'mail',
      id: record.id,
      delivery: record.deliveryKey,
      trigger: id,
      resent: false,
      sender: `sender@${PLAIN_DOMAIN}`,
      recipient: address,
      sourceAddress: world.house.world.senders.plain.address,
      helo: world.house.world.senders.plain.helo,
      tls: null,
      protocol: 'ESMTP',
      eightBit: false,
      utf8: false,
      message: { sha256, size: Buffer.byteLength(message) },
      subject: 'Invoice 4711',
      authentication: { spf: { result: 'pass' }, dmarc: { policy: 'none' } },
      disposition: 'none',
    });
    expect(Date.parse(call?.body.answerBefore)).toBeGreaterThan(Date.parse(record.receivedAt));
    // The reference is good at the address that came with it.
    const blob = await fetch(`${call?.body.api}/v1/blobs/${call?.body.message.key}`, {
      headers: { authorization: `Bearer ${world.token}` },
    });
    expect(
      createHash('sha256')
        .update(Buffer.from(await blob.arrayBuffer()))
        .digest('hex'),
    ).toBe(sha256);
  });

  it('reject: the code and the words are those of the workflow, also for the message sent again', async () => {
    const { address, path } = await world.mailTrigger('reject');
    world.n8n.on(path, () =>
      verdict({ verdict: 'reject', code: 552, enhanced: '5.2.2', text: 'Kein Platz für\r\n250 OK' }),
    );
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toBe('552 5.2.2 Kein Platz fur 250 OK');
    expect((await send(address, message)).data).toBe('552 5.2.2 Kein Platz fur 250 OK');
    expect(world.n8n.calls(path)).toHaveLength(1);
    expect(await world.house.finalRecord(address)).toMatchObject({
      outcome: 'rejected',
      errorCode: 'trigger.rejected',
      reply: { code: 552, enhanced: '5.2.2' },
    });
  });

  it('reject without words is 550 5.7.1', async () => {
    const { address, path } = await world.mailTrigger('plain-reject');
    world.n8n.on(path, () => verdict({ verdict: 'reject' }));
    expect((await send(address)).data).toMatch(/^550 5\.7\.1 \w/);
  });

  it('reject with a 4xx asks the sender to come again, and the workflow again', async () => {
    const { address, path } = await world.mailTrigger('greylist');
    world.n8n.on(path, (_call, times) =>
      times === 1 ? verdict({ verdict: 'reject', code: 450, text: 'Greylisted' }) : verdict({ verdict: 'accept' }),
    );
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^450 4\.\d+\.\d+ Greylisted/);
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path).map(({ body }) => body.resent)).toEqual([false, true]);
  });

  it("forward: a run brings the message there, and its answer is the session's", async () => {
    const { address, path } = await world.mailTrigger('forward');
    const destinations = [`alice@${MAILBOX_DOMAIN}`, `bob@${MAILBOX_DOMAIN}`];
    world.n8n.on(path, () => verdict({ verdict: 'forward', destinations }));
    expect((await send(address)).data).toMatch(/^250 2\.6\.0 Delivered/);
    expect(await world.house.finalRecord(address)).toMatchObject({
      outcome: 'delivered',
      action: { type: 'forward', destinations },
      workflowId: expect.stringMatching(/^mail\//),
    });
    expect([arrivals('alice').length, arrivals('bob').length]).toEqual([1, 1]);
    world.house.destination.behave(`dave@${MAILBOX_DOMAIN}`, { does: 'refuse', reply: '550 5.1.1 No such user' });
    world.n8n.on(path, () => verdict({ verdict: 'forward', destinations: [`dave@${MAILBOX_DOMAIN}`] }));
    expect((await send(address)).data).toBe('550 5.1.1 No such user');
  });

  it('drop: accepted and gone', async () => {
    const { address, path } = await world.mailTrigger('drop');
    world.n8n.on(path, () => verdict({ verdict: 'drop' }));
    expect((await send(address)).data).toMatch(/^250 /);
    expect(await world.house.finalRecord(address)).toMatchObject({ outcome: 'dropped' });
  });

  it('of two recipients, one rejected by its workflow, is 250 and a bounce', async () => {
    const one = await world.mailTrigger('two-accept');
    const two = await world.mailTrigger('two-reject');
    world.n8n.on(one.path, () => verdict({ verdict: 'accept' }));
    world.n8n.on(two.path, () => verdict({ verdict: 'reject', text: 'Not here' }));
    expect((await send([one.address, two.address])).data).toMatch(/^250 /);
    const bounce = await eventually(
      () => world.house.destination.received.find((one) => one.sender === '' && /two-reject@/.test(one.raw.toString())),
      'the bounce',
    );
    expect(bounce.raw.toString()).toMatch(/Diagnostic-Code: \S+; ?550 5\.7\.1 Not here/);
    expect(await world.house.finalRecord(two.address)).toMatchObject({ outcome: 'bounced' });
    expect((await send([two.address, one.address])).data).toMatch(/^250 /);
  });

  it('of two recipients, both rejected, is the refusal and no bounce', async () => {
    const one = await world.mailTrigger('both-one');
    const two = await world.mailTrigger('both-two');
    for (const { path } of [one, two]) world.n8n.on(path, () => verdict({ verdict: 'reject', text: 'Not here' }));
    expect((await send([one.address, two.address])).data).toBe('550 5.7.1 Not here');
    for (const { address } of [one, two])
      expect(await world.house.finalRecord(address)).toMatchObject({ outcome: 'rejected' });
  });
});

describe('without a verdict the sender is asked to come again', () => {
  it.each([
    ['fails', { status: 500, body: { message: 'Error in workflow' } }],
    ['ends', { status: 204 }],
    ['ends-with-words', { status: 200, body: { message: 'Workflow was started' } }],
    ['forged', { status: 200, body: { verdict: 'accept' } }],
    ['wrong', verdict({ verdict: 'maybe' })],
    ['wrong-code', verdict({ verdict: 'reject', code: 250 })],
    ['nowhere', verdict({ verdict: 'forward' })],
    ['no-address', verdict({ verdict: 'forward', destinations: ['nobody'] })],
    ['chatty', verdict({ verdict: 'accept', text: 'x'.repeat(100_000) })],
    ['killed', CUT],
    ['not-registered', null],
  ] as const)('%s', async (name, answer) => {
    const { address, path } = await world.mailTrigger(name);
    if (answer) world.n8n.on(path, () => answer);
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^451 4\.3\.0 /);
    expect(await world.house.finalRecord(address)).toMatchObject({
      outcome: 'failed',
      errorCode: 'trigger.no_verdict',
      reply: { code: 451 },
    });
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path).map(({ body }) => body.resent)).toEqual([false, true]);
    // Both calls speak of one record, which the graph may hold on to.
    expect(new Set(world.n8n.calls(path).map(({ body }) => body.id)).size).toBe(1);
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path)).toHaveLength(2);
  });

  it('n8n is away, then back', async () => {
    const { address, path } = await world.mailTrigger('away');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    const message = simpleMessage(address);
    await world.n8n.goAway();
    try {
      expect((await send(address, message)).data).toMatch(/^451 4\.3\.0 /);
    } finally {
      await world.n8n.comeBack();
    }
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('with the reply that the workflow has set, which may be a refusal', async () => {
    const soft = await world.mailTrigger('soft', { trouble: { code: 450, text: 'Busy' } });
    expect((await send(soft.address)).data).toMatch(/^450 4\.\d+\.\d+ Busy/);
    const hard = await world.mailTrigger('hard', { trouble: { code: 554, text: 'Broken' } });
    expect((await send(hard.address)).data).toMatch(/^554 5\.\d+\.\d+ Broken/);
    expect(await world.house.finalRecord(hard.address)).toMatchObject({
      outcome: 'failed',
      errorCode: 'trigger.no_verdict',
    });
  });

  it('also another recipient of the message, which has been delivered and is not again', async () => {
    const { address, path } = await world.mailTrigger('half');
    const message = simpleMessage(address);
    const before = arrivals('carol').length;
    expect((await send([at('carol'), address], message)).data).toMatch(/^451 /);
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    expect((await send([at('carol'), address], message)).data).toMatch(/^250 /);
    expect(arrivals('carol')).toHaveLength(before + 1);
  });
});

describe('a verdict that takes its time', () => {
  it('comes after the 451 and holds for the message sent again, which runs once', async () => {
    const { address, path } = await world.mailTrigger('late', { timeout: 1 });
    let answer = (): void => undefined;
    world.n8n.on(
      path,
      () => new Promise((resolve) => (answer = () => resolve(verdict({ verdict: 'reject', text: 'No' })))),
    );
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^451 /);
    answer();
    await eventually(async () => (await send(address, message)).data === '550 5.7.1 No', 'the late verdict');
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('is waited for by the message sent again while the graph still works', async () => {
    const { address, path } = await world.mailTrigger('joined', { timeout: 2 });
    let answer = (): void => undefined;
    world.n8n.on(path, () => new Promise((resolve) => (answer = () => resolve(verdict({ verdict: 'accept' })))));
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^451 /);
    const again = send(address, message);
    setTimeout(() => answer(), 500);
    expect((await again).data).toMatch(/^250 /);
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('is asked for once when the message comes in three sessions at the same time', async () => {
    const { address, path } = await world.mailTrigger('thrice');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    const message = simpleMessage(address);
    const replies = await Promise.all([1, 2, 3].map(() => send(address, message)));
    for (const { data } of replies) expect(data).toMatch(/^250 /);
    expect(world.n8n.calls(path)).toHaveLength(1);
  });
});

describe('a message that another process is asking about', () => {
  /** The record of a session that waits elsewhere, or died. */
  async function asked(address: string, message: string, agoMs: number): Promise<string> {
    const sender = `sender@${PLAIN_DOMAIN}`;
    const sha256 = createHash('sha256').update(message).digest('hex');
    const deliveryKey = createHash('sha256').update(`${sender}\0${address}\0${sha256}`).digest('hex');
    const row = activity({
      deliveryKey,
      sender,
      recipient: address,
      workflowId: null,
      receivedAt: new Date(Date.now() - agoMs).toISOString(),
      action: { type: 'trigger', trigger: 'x', name: 'x' },
    });
    await world.house.records.activity.open([row]);
    return deliveryKey;
  }

  it('gets the verdict that comes there', async () => {
    const { id, address, path } = await world.mailTrigger('elsewhere');
    const message = simpleMessage(address);
    const deliveryKey = await asked(address, message, 0);
    const reply = send(address, message);
    const judged = { verdict: 'reject' as const, reply: { code: 550, enhanced: '5.7.1', text: 'Elsewhere' } };
    await world.house.records.verdicts.put({ deliveryKey, triggerId: id, verdict: judged });
    expect((await reply).data).toBe('550 5.7.1 Elsewhere');
    expect(world.n8n.calls(path)).toEqual([]);
  });

  it('is asked about here once nobody can be waiting there any more', async () => {
    const { address, path } = await world.mailTrigger('died');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    const message = simpleMessage(address);
    await asked(address, message, 60_000);
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path).map(({ body }) => body.resent)).toEqual([true]);
  });
});

describe('an address of a workflow', () => {
  it('is refused once the workflow is deactivated', async () => {
    const { id, address, path } = await world.mailTrigger('gone');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    expect((await send(address)).data).toMatch(/^250 /);
    expect((await world.call('DELETE', `/v1/triggers/${id}`)).status).toBe(204);
    expect((await world.call('DELETE', `/v1/triggers/${id}`)).status).toBe(204);
    expect((await send(address)).rcpt[0]).toMatch(/^550 5\.1\.1 /);
  });

  it('survives a restart of Switchyard without a word from n8n', async () => {
    const { address, path } = await world.mailTrigger('restart');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    await world.house.restart();
    expect((await send(address)).data).toMatch(/^250 /);
    expect(world.n8n.calls(path)).toHaveLength(1);
  });
});
