/** Mail that is accepted at once and handed to an n8n workflow by a run. */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAILBOX_DOMAIN } from '../../cli/demo/world.ts';
import { eventually, simpleMessage } from '../support/house.ts';
import { CUT, isSignedWith, verdict } from '../support/fake-n8n.ts';
import { openTriggerHouse, type TriggerHouse } from './house.ts';

let world: TriggerHouse;
let temporal: Client;
beforeAll(async () => {
  world = await openTriggerHouse({ mail: { sessionWait: '3s', retry: { delays: ['1s'], giveUpAfter: '5d' } } });
  temporal = new Client({
    connection: await Connection.connect({ address: world.house.installation.addresses.temporal }),
  });
});
afterAll(async () => {
  await temporal?.connection.close();
  await world?.close();
});

const taken = (name: string, change: Record<string, unknown> = {}) =>
  world.mailTrigger(name, { answer: 'taken', ...change });
const send = (to: string, message?: string) => world.house.send({ to: [to], ...(message ? { message } : {}) });
const finalRecord = (address: string) => world.house.finalRecord(address);
const arrivals = (localPart: string) =>
  world.house.destination.received.filter((one) => one.recipients.includes(`${localPart}@${MAILBOX_DOMAIN}`));
const give = (activityId: string, destinations: string[], more: Record<string, unknown> = {}) =>
  world.call('POST', '/v1/runs', { workflow: 'routeMail', input: { activityId, destinations }, ...more });

describe('a workflow that takes mail', () => {
  it('is told once, signed, and the sender has its 250', async () => {
    const { id, address, path } = await taken('taken');
    world.n8n.on(path, () => ({ status: 200, body: { message: 'Workflow was started' } }));
    const message = simpleMessage(address, 'Order 12');
    expect((await send(address, message)).data).toMatch(/^250 2\.6\.0 Delivered/);
    expect((await send(address, message)).data).toMatch(/^250 /);
    const [call, ...more] = world.n8n.calls(path);
    expect(more).toEqual([]);
    expect(call && isSignedWith(world.token, call)).toBe(true);
    const record = await finalRecord(address);
    expect(call?.body).toMatchObject({
      type: 'mail',
      id: record.id,
      trigger: id,
      resent: false,
      subject: 'Order 12',
      answerBefore: null,
    });
    expect(record).toMatchObject({ outcome: 'delivered', attempts: 1, action: { type: 'trigger', name: 'taken' } });
  });

  it('is waited for while n8n is away: the sender has its 250, and n8n the mail when it is back', async () => {
    const { address, path } = await taken('away');
    world.n8n.on(path, () => ({ status: 200 }));
    await world.n8n.goAway();
    try {
      expect((await send(address)).data).toMatch(/^250 .*Queued/);
    } finally {
      await world.n8n.comeBack();
    }
    expect(await finalRecord(address)).toMatchObject({ outcome: 'delivered', resent: false });
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('is told again while it answers no 2xx', async () => {
    const { address, path } = await taken('later');
    world.n8n.on(path, (_call, times) => ({ status: times < 3 ? 500 : 204 }));
    expect((await send(address)).data).toMatch(/^250 .*Queued/);
    expect(await finalRecord(address)).toMatchObject({ outcome: 'delivered', attempts: 3, resent: false });
    const ids = world.n8n.calls(path).map(({ headers }) => headers['webhook-id']);
    expect(new Set(ids).size).toBe(1);
  });

  it('is told again, marked, when nobody knows whether it has taken it', async () => {
    const { address, path } = await taken('cut');
    world.n8n.on(path, (_call, times) => (times === 1 ? CUT : { status: 200 }));
    await send(address);
    expect(await finalRecord(address)).toMatchObject({ outcome: 'delivered', resent: true });
    expect(world.n8n.calls(path).map(({ body }) => body.resent)).toEqual([false, true]);
  });

  it('shows the workflow by its name in the run', async () => {
    const { address, path } = await taken('by-name', { name: 'Orders [1]' });
    world.n8n.on(path, () => ({ status: 200 }));
    await send(address);
    const record = await finalRecord(address);
    const details = await temporal.workflow.getHandle(record.workflowId ?? '').fetchHistory();
    const summaries = details.events?.flatMap(({ userMetadata }) =>
      userMetadata?.summary?.data ? [Buffer.from(userMetadata.summary.data).toString()] : [],
    );
    expect(summaries?.join('\n')).toContain('attempt 1 to n8n workflow Orders [1]');
  });

  it('does not give a bounced message back: after the time is up the sender is told', async () => {
    const { address } = await taken('never');
    // No webhook: 404 for ever. The operator ends the run.
    await send(address);
    const [record] = await world.house.records.activity.list({ recipient: address });
    await temporal.workflow.getHandle(record?.workflowId ?? '').cancel();
    expect(await finalRecord(address)).toMatchObject({ outcome: 'bounced' });
  });
});

describe('a mail that a graph gives to a run', () => {
  it('goes where the graph says, with a link back to the execution', async () => {
    const { address, path } = await taken('onward');
    world.n8n.on(path, () => ({ status: 200 }));
    await send(address);
    await finalRecord(address);
    const activityId = world.n8n.calls(path)[0]?.body.id as string;
    const origin = { name: 'Forward [it]', url: 'http://127.0.0.1:5678/workflow/1/executions/(7)' };
    const run = await give(activityId, [`frank@${MAILBOX_DOMAIN}`], { origin });
    expect([run.status, run.json]).toEqual([200, expect.objectContaining({ workflow: 'routeMail' })]);
    expect(run.json.runUrl).toBe(run.json.url);
    const record = await eventually(async () => {
      const now = await world.house.records.activity.get(activityId);
      return now?.action?.type === 'forward' && now.outcome === 'delivered' && now;
    }, 'the delivery');
    expect(record.workflowId).toBe(run.json.id);
    expect(arrivals('frank')).toHaveLength(1);
    const described = await temporal.workflow.getHandle(run.json.id as string).describe();
    expect(described.memo).toEqual({ origin });
    // A retry of the node, and the message sent again, act once.
    expect((await give(activityId, [`frank@${MAILBOX_DOMAIN}`])).json.runId).toBe(run.json.runId);
    expect(arrivals('frank')).toHaveLength(1);
  });

  it('before it says that it has taken it, has the end of the run that it was given to', async () => {
    const { address, path } = await taken('early');
    const destination = `judy@${MAILBOX_DOMAIN}`;
    world.house.destination.behave(destination, {
      does: 'defer',
      times: 1,
      then: { does: 'refuse', reply: '550 5.1.1 No such user' },
    });
    world.n8n.on(path, async ({ body }) => {
      await give(body.id, [destination]);
      return { status: 200 };
    });
    await send(address);
    expect(await finalRecord(address)).toMatchObject({
      outcome: 'bounced',
      reply: { code: 550 },
      action: { type: 'forward', destinations: [destination] },
    });
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('inside a verdict session answers for the message', async () => {
    const { address, path } = await world.mailTrigger('durable');
    world.n8n.on(path, async ({ body }) => {
      const given = await give(body.id, [`grace@${MAILBOX_DOMAIN}`]);
      return given.status === 200 ? verdict({ verdict: 'accept' }) : { status: 500 };
    });
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect(await finalRecord(address)).toMatchObject({ outcome: 'delivered', workflowId: expect.any(String) });
    expect(arrivals('grace')).toHaveLength(1);
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect([arrivals('grace').length, world.n8n.calls(path).length]).toEqual([1, 1]);
  });

  it('inside a verdict session answers for the message also when the graph fails afterwards', async () => {
    const { address, path } = await world.mailTrigger('given-then-failed');
    world.n8n.on(path, async ({ body }) => {
      await give(body.id, [`ivan@${MAILBOX_DOMAIN}`]);
      return { status: 500 };
    });
    expect((await send(address)).data).toMatch(/^250 /);
    expect(await finalRecord(address)).toMatchObject({ outcome: 'delivered' });
    expect([arrivals('ivan').length, world.n8n.calls(path).length]).toEqual([1, 1]);
  });

  it('is delivered once also when the graph was too slow for its session', async () => {
    const { address, path } = await world.mailTrigger('slow', { timeout: 1 });
    let hand = (): void => undefined;
    world.n8n.on(path, async ({ body }) => {
      await new Promise<void>((resolve) => (hand = resolve));
      await give(body.id, [`heidi@${MAILBOX_DOMAIN}`]);
      return { status: 500 };
    });
    const message = simpleMessage(address);
    expect((await send(address, message)).data).toMatch(/^451 /);
    hand();
    await eventually(() => arrivals('heidi').length === 1, 'the delivery');
    expect((await send(address, message)).data).toMatch(/^250 /);
    expect([arrivals('heidi').length, world.n8n.calls(path).length]).toEqual([1, 1]);
  });

  it('is refused when there is no such mail, no address, or an end already', async () => {
    expect((await give('no-id', ['a@b.test'])).json).toMatchObject({ status: 404, code: 'activity.missing' });
    const { address, path } = await world.mailTrigger('ended');
    world.n8n.on(path, () => verdict({ verdict: 'drop' }));
    await send(address);
    const { id } = await finalRecord(address);
    expect((await give(id, ['a@b.test'])).json).toMatchObject({ status: 409, code: 'activity.closed' });
    expect((await give(id, ['nowhere'])).json).toMatchObject({ status: 422, code: 'address.invalid' });
  });
});

describe('who starts a step durably', () => {
  it('stands in the details of the run, as text and not as markup', async () => {
    const blob = await fetch(`http://127.0.0.1:${world.house.installation.addresses.http.port}/v1/blobs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${world.token}` },
      body: 'Subject: x\r\n\r\nx\r\n',
    });
    const origin = { name: 'A](http://evil.test) **b**', url: 'http://127.0.0.1:5678/x)y' };
    const input = { step: 'mail.parse', input: { message: await blob.json() } };
    const run = await world.call('POST', '/v1/runs', { workflow: 'runStep', id: 'n8n/1/2/3/Parse/0/0', input, origin });
    expect(run.json).toMatchObject({ id: 'n8n/1/2/3/Parse/0/0' });
    const handle = temporal.workflow.getHandle(run.json.id as string);
    await handle.result();
    const details = await handle.query<string>('__temporal_workflow_metadata').then(JSON.stringify);
    expect(details).toContain(
      'from [A\\\\]\\\\(http://evil.test\\\\) \\\\*\\\\*b\\\\*\\\\*](http://127.0.0.1:5678/x%29y)',
    );
    const described = await handle.describe();
    expect(described.memo).toEqual({ origin });
    // Neither the name nor the URL ends the link early.
    expect(await described.staticDetails()).toMatch(
      /Started from \[A\\\]\\\(http:\/\/evil\.test\\\) \\\*\\\*b\\\*\\\*\]\(http:\/\/127\.0\.0\.1:5678\/x%29y\)\.$/,
    );
    expect(
      (await world.call('POST', '/v1/runs', { workflow: 'runStep', input, origin: { name: 'x', url: 'javascript:1' } }))
        .json,
    ).toMatchObject({ status: 400, field: 'origin.url' });
  });
});
