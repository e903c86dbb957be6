/** Runs that ended are told: to workflows that watch, and to executions that wait. Real workers, real Temporal, n8n over the wire. */
import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MAILBOX_DOMAIN } from '../../cli/demo/world.ts';
import { eventually } from '../support/house.ts';
import { isSignedWith, type Call } from '../support/fake-n8n.ts';
import { at, openTriggerHouse, type TriggerHouse } from './house.ts';

let world: TriggerHouse;
let temporal: Client;
let message: unknown;
beforeAll(async () => {
  world = await openTriggerHouse({ mail: { sessionWait: '2s', retry: { delays: ['1s'], giveUpAfter: '5d' } } });
  temporal = new Client({
    connection: await Connection.connect({ address: world.house.installation.addresses.temporal }),
  });
  message = await upload('Subject: Invoice 4711\r\n\r\nx\r\n');
});
afterAll(async () => {
  await temporal?.connection.close();
  await world?.close();
});

const upload = async (body: string): Promise<unknown> => {
  const { host, port } = world.house.installation.addresses.http;
  const headers = { authorization: `Bearer ${world.token}` };
  return (await fetch(`http://${host}:${port}/v1/blobs`, { method: 'POST', headers, body })).json();
};
/** A message whose description is longer than a notice may be. */
const manyAttachments = (count: number): string =>
  [
    'Subject: Many',
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary=b',
    '',
    ...Array.from({ length: count }, (_, i) => [
      '--b',
      'Content-Type: application/octet-stream',
      `Content-Disposition: attachment; filename="${'日'.repeat(150)}${i}.bin"`,
      '',
      'x',
    ]).flat(),
    '--b--',
    '',
  ].join('\r\n');

/** Long enough for several looks of the worker: what is told twice would have been by then. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 6_000));
const register = async (id: string, body: Record<string, unknown>) => {
  const answer = await world.call('PUT', `/v1/triggers/${id}`, body);
  expect(answer).toMatchObject({ status: 200 });
};
const parse = (id: string, input: unknown = { message }) =>
  world.call('POST', '/v1/runs', { workflow: 'runStep', id, input: { step: 'mail.parse', input } });
const parseMissing = (id: string) =>
  parse(id, { message: { key: `uploads/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 } });
const told = (path: string, id: string): Promise<Call> =>
  eventually(() => world.n8n.calls(path).find((call) => call.body.id === id), `the message about ${id}`);
/** A run that nobody works on. */
const stuck = async (workflow = 'runStep'): Promise<string> => {
  const id = `stuck/${randomUUID()}`;
  await temporal.workflow.start(workflow, {
    workflowId: id,
    taskQueue: randomUUID(),
    args: [{ step: 'mail.parse', input: { message } }],
    staticSummary: 'a run that waits',
  });
  return id;
};

describe('a workflow that watches runs', () => {
  const path = '/webhook/watch/run';
  beforeAll(async () => {
    world.n8n.on(path, () => ({ status: 200 }));
    await parseMissing('before/1');
    await temporal.workflow
      .getHandle('before/1')
      .result()
      .catch(() => undefined);
    // What ended before somebody watched is nobody's.
    await register('n8n:i:watch:1', {
      kind: 'run',
      name: 'Watch',
      callbackUrl: world.n8n.url(path),
      link: 'http://127.0.0.1:5678/workflow/9',
    });
  });

  it('is told, signed, of a run that failed, with the error of its step', async () => {
    const run = await parseMissing('failing/1');
    const call = await told(path, 'failing/1');
    expect(isSignedWith(world.token, call)).toBe(true);
    expect(call.body).toEqual({
      type: 'run',
      trigger: 'n8n:i:watch:1',
      id: 'failing/1',
      runId: run.json.runId,
      workflow: 'runStep',
      status: 'failed',
      outcome: null,
      startedAt: expect.any(String),
      closedAt: expect.any(String),
      summary: 'mail.parse',
      attributes: { SwitchyardStep: 'mail.parse' },
      result: null,
      truncated: false,
      error: { code: 'blob.missing', message: expect.any(String), fix: expect.any(String) },
      runUrl: run.json.url,
    });
  });

  it('is told of a run that a person terminated, and of one that was cancelled', async () => {
    const ended = await stuck();
    await temporal.workflow.getHandle(ended).terminate('enough');
    expect((await told(path, ended)).body).toMatchObject({
      status: 'terminated',
      summary: 'a run that waits',
      error: { code: 'run.failed' },
    });
    // A step that no worker has is tried again for a while, so that there is time to cancel.
    const handle = await temporal.workflow.start('runStep', {
      workflowId: 'cancelled/1',
      taskQueue: 'switchyard',
      args: [{ step: 'no.such', input: {} }],
    });
    await handle.cancel();
    expect((await told(path, 'cancelled/1')).body).toMatchObject({
      status: 'cancelled',
      error: { code: 'run.cancelled' },
    });
    const listed = await world.call('GET', '/v1/runs?status=CANCELLED');
    expect(listed.json.items).toEqual([expect.objectContaining({ id: 'cancelled/1', status: 'CANCELLED' })]);
  });

  it('is told of mail that bounced, though its run went as it should', async () => {
    world.house.destination.behave(`alice@${MAILBOX_DOMAIN}`, {
      does: 'defer',
      times: 1,
      then: { does: 'refuse', reply: '550 5.7.1 Never' },
    });
    expect((await world.house.send({ to: [at('alice')] })).data).toMatch(/^250 .*Queued/);
    const record = await world.house.finalRecord(at('alice'));
    const { body } = await told(path, record.workflowId ?? '');
    expect(body).toMatchObject({
      workflow: 'routeMail',
      status: 'completed',
      outcome: 'bounced',
      result: { outcome: 'bounced', attempts: 3 },
      error: null,
      attributes: { SwitchyardRecipient: at('alice') },
    });
  });

  it('is told each once, nothing that ended well, nothing from before, and nothing of its own messages', async () => {
    await parse('fine/1');
    await temporal.workflow.getHandle('fine/1').result();
    await quiet();
    const ids = world.n8n.calls(path).map(({ body }) => body.id as string);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).not.toContain('fine/1');
    expect(ids).not.toContain('before/1');
    expect(ids.filter((id) => id.startsWith('notify/'))).toEqual([]);
  });

  it('hears what ended while it was away, once it is back', async () => {
    await world.n8n.goAway();
    try {
      await parseMissing('away/1');
      await temporal.workflow
        .getHandle('away/1')
        .result()
        .catch(() => undefined);
      const notices = () =>
        temporal.workflow.list({ query: `WorkflowType = 'notifyTrigger' AND ExecutionStatus = 'Running'` });
      await eventually(async () => {
        for await (const one of notices()) if (one.workflowId.includes('watch')) return true;
        return false;
      }, 'the message that waits');
    } finally {
      await world.n8n.comeBack();
    }
    await told(path, 'away/1');
    await quiet();
    expect(world.n8n.calls(path).filter(({ body }) => body.id === 'away/1')).toHaveLength(1);
  });

  it('hears what ended while no worker ran', async () => {
    const id = await stuck();
    // The worker is down while the run ends.
    await world.house.installation.stop().then(() => world.house.restart());
    const client = new Client({
      connection: await Connection.connect({ address: world.house.installation.addresses.temporal }),
    });
    await temporal.connection.close();
    temporal = client;
    await temporal.workflow.getHandle(id).terminate();
    await told(path, id);
  });

  it('hears nothing any more once it is deactivated', async () => {
    await world.call('DELETE', '/v1/triggers/n8n:i:watch:1');
    const before = world.n8n.calls(path).length;
    await parseMissing('after/1');
    await temporal.workflow
      .getHandle('after/1')
      .result()
      .catch(() => undefined);
    await quiet();
    expect(world.n8n.calls(path)).toHaveLength(before);
  });

  it('chooses by type and end', async () => {
    const chosen = '/webhook/chosen/run';
    world.n8n.on(chosen, () => ({ status: 200 }));
    await register('n8n:i:chosen:1', {
      kind: 'run',
      name: 'Chosen',
      callbackUrl: world.n8n.url(chosen),
      workflows: ['routeMail'],
      outcomes: ['delivered'],
    });
    await parse('fine/2');
    await parseMissing('failing/2');
    expect((await world.house.send({ to: [at('bob')] })).data).toMatch(/^250 /);
    const record = await world.house.finalRecord(at('bob'));
    expect((await told(chosen, record.workflowId ?? '')).body).toMatchObject({ outcome: 'delivered' });
    expect(world.n8n.calls(chosen)).toHaveLength(1);
    await world.call('DELETE', '/v1/triggers/n8n:i:chosen:1');
  });
});

describe('an execution that waits', () => {
  const wait = (id: string, path: string, runs: string[]) =>
    register(id, { kind: 'resume', callbackUrl: world.n8n.url(path), runs });
  const isGone = (id: string) =>
    eventually(async () => (await world.call('GET', `/v1/triggers/${id}`)).status === 404, 'the end of the wait');

  it('goes on when all its runs have ended, with their results in the order asked', async () => {
    const path = '/webhook-waiting/1?signature=abc';
    world.n8n.on(path, () => ({ status: 200 }));
    await parse('wait/good');
    await parseMissing('wait/bad');
    const last = await stuck();
    await wait('wait-1', path, [last, 'wait/good', 'wait/bad', 'wait/never-was']);
    await quiet();
    expect(world.n8n.calls(path)).toEqual([]);
    await temporal.workflow.getHandle(last).terminate();
    const call = await eventually(() => world.n8n.calls(path)[0], 'the resume');
    expect(isSignedWith(world.token, call)).toBe(true);
    expect(call.body).toMatchObject({
      type: 'resume',
      runs: [
        { id: last, status: 'terminated', result: null, error: { code: 'run.failed' } },
        { id: 'wait/good', status: 'completed', result: { subject: 'Invoice 4711' }, error: null },
        { id: 'wait/bad', status: 'failed', result: null, error: { code: 'blob.missing' } },
        { id: 'wait/never-was', status: 'missing', error: { code: 'run.missing' } },
      ],
    });
    await isGone('wait-1');
    await quiet();
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it.each([
    ['is running already', 409, { message: 'The execution "7" is running already.' }],
    ['is not there yet', 404, { message: 'The execution "7" does not exist.' }],
    ['belongs to an n8n that starts', 503, { message: 'n8n is starting up' }],
  ])('that %s is called again', async (what, status, body) => {
    const path = `/webhook-waiting/${status}`;
    world.n8n.on(path, (_call, times) => (times < 3 ? { status, body } : { status: 200 }));
    await parse(`wait/${status}`);
    await wait(`wait-${status}`, path, [`wait/${status}`]);
    await isGone(`wait-${status}`);
    expect([what, world.n8n.calls(path).length]).toEqual([what, 3]);
    expect(new Set(world.n8n.calls(path).map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  });

  it.each(['already', 'with error'])('that has finished %s is left alone', async (how) => {
    const name = `ended-${how.replace(' ', '-')}`;
    const path = `/webhook-waiting/${name}`;
    world.n8n.on(path, () => ({ status: 409, body: { message: `The execution "7" has finished ${how}.` } }));
    await parse(`wait/${name}`);
    await wait(`wait-${name}`, path, [`wait/${name}`]);
    await isGone(`wait-${name}`);
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('goes on when n8n is back, which was killed meanwhile', async () => {
    const path = '/webhook-waiting/killed';
    world.n8n.on(path, () => ({ status: 200 }));
    const id = await stuck();
    await wait('wait-killed', path, [id]);
    await world.n8n.goAway();
    try {
      await temporal.workflow.getHandle(id).terminate();
      await eventually(async () => {
        const query = `WorkflowType = 'notifyTrigger' AND ExecutionStatus = 'Running'`;
        for await (const one of temporal.workflow.list({ query }))
          if (one.workflowId.includes('wait-killed')) return true;
        return false;
      }, 'the message that waits');
    } finally {
      await world.n8n.comeBack();
    }
    await isGone('wait-killed');
    expect(world.n8n.calls(path)).toHaveLength(1);
  });

  it('may wait again under the same id', async () => {
    const path = '/webhook-waiting/twice';
    world.n8n.on(path, () => ({ status: 200 }));
    await parse('wait/twice');
    for (const times of [1, 2]) {
      await wait('wait-twice', path, ['wait/twice']);
      await isGone('wait-twice');
      expect(world.n8n.calls(path)).toHaveLength(times);
    }
  });

  it('learns nothing of workflows that are not of this house', async () => {
    const path = '/webhook-waiting/foreign';
    world.n8n.on(path, () => ({ status: 200 }));
    const id = await stuck('payroll');
    await wait('wait-foreign', path, [id]);
    const call = await eventually(() => world.n8n.calls(path)[0], 'the resume');
    expect(call.body.runs).toEqual([expect.objectContaining({ id, status: 'missing', result: null })]);
    await temporal.workflow.getHandle(id).terminate();
  });

  it('gets a result that is too large for a message as null, and says so', async () => {
    const path = '/webhook-waiting/large';
    world.n8n.on(path, () => ({ status: 200 }));
    await parse('wait/large', { message: await upload(manyAttachments(100)) });
    await wait('wait-large', path, ['wait/large']);
    const call = await eventually(() => world.n8n.calls(path)[0], 'the resume');
    expect(call.body.runs[0]).toMatchObject({ status: 'completed', result: null, truncated: true });
  });
});
