/** Durable items: awaited for a while, then the execution waits and is resumed once. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { IDataObject, INodeExecutionData } from 'n8n-workflow';
import { signCallback } from '../../activities/triggers/sign.ts';
import { createHash } from 'node:crypto';
import { hasN8n, stage, startRecorder, withDefaults, type Recorded, type Recorder, type Stage } from './n8n.ts';

const TOKEN = 'sy_test';
const MESSAGE = { key: `mail/${'a'.repeat(64)}`, sha256: 'a'.repeat(64), size: 12 };
const idOf = (item: number) => `n8n/instance-1/flow-1/7/node-1/0/${item}`;

let recorder: Recorder | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await recorder?.close();
});

type RunState = 'open' | 'ended' | 'failed';

/** Switchyard with runs in the given states, by item. Each look at an open one takes as long as the node will wait. */
async function switchyard(states: RunState[]): Promise<Recorder> {
  vi.useFakeTimers({ toFake: ['Date'] });
  const run = (id: string) => ({ id, status: 'RUNNING', workflow: 'runStep', url: `http://temporal.test/${id}` });
  recorder = await startRecorder({
    answer: ({ method, path, body }: Recorded) => {
      if (path === '/v1/runs') return { status: 200, body: run((body as { id: string }).id) };
      if (method === 'PUT') return { status: 200, body: {} };
      const id = decodeURIComponent(path.split('/')[3] ?? '');
      const state = states[Number(id.split('/').at(-1))];
      if (state === 'ended')
        return { status: 200, body: { id, status: 'COMPLETED', result: { text: `of ${id.at(-1)}` } } };
      if (state === 'failed')
        return {
          status: 422,
          body: { status: 422, code: 'mail.malformed', detail: `The run ${id} failed: bad mail`, fix: 'mend it' },
        };
      vi.setSystemTime(Date.now() + 20_000);
      return { status: 202, body: run(id) };
    },
  });
  return recorder;
}

const items = (count: number): INodeExecutionData[] =>
  Array.from({ length: count }, (_, n) => ({ json: { message: MESSAGE, n } }));

async function run(options: Partial<Stage>) {
  const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
  const node = new SwitchyardMail();
  const double = stage({
    credential: { baseUrl: recorder?.url ?? '', token: TOKEN },
    parameters: withDefaults(node, { operation: 'parse', durable: true, message: MESSAGE }),
    ...options,
  });
  return { ...double, output: await node.execute.call(double.context) };
}

/** Switchyard's call to the execution that waits. */
async function resume(options: Partial<Stage> & { body: IDataObject; signedWith?: string; executeData?: object }) {
  const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
  const node = new SwitchyardMail();
  const { context } = stage({
    credential: { baseUrl: recorder?.url ?? '', token: TOKEN },
    parameters: withDefaults(node, { operation: 'parse', durable: true }),
    ...options,
  });
  const raw = JSON.stringify(options.body);
  const key = createHash('sha256')
    .update(options.signedWith ?? TOKEN)
    .digest();
  const answers: { status: number; body: unknown }[] = [];
  Object.assign(context, {
    executeData: options.executeData,
    getRequestObject: () => ({ rawBody: Buffer.from(raw), headers: signCallback('m1', raw, key, Date.now()) }),
    getResponseObject: () => ({
      status: (status: number) => ({ json: (body: unknown) => answers.push({ status, body }) }),
    }),
  });
  return { result: await node.webhook.call(context), answers };
}

describe.skipIf(!hasN8n)('a durable item', () => {
  it('is a run with a name that a retry meets again, another for each item and each round of a loop', async () => {
    const { calls } = await switchyard(['ended', 'ended']);
    await run({ items: items(2) });
    await run({ items: items(1) });
    await run({ items: items(1), runIndex: 1 });
    const ids = calls.filter(({ path }) => path === '/v1/runs').map(({ body }) => (body as { id: string }).id);
    expect(ids).toEqual([idOf(0), idOf(1), idOf(0), idOf(0).replace('/0/0', '/1/0')]);
    expect(calls[0]?.body).toMatchObject({
      origin: { name: 'My flow', url: 'http://n8n.test/workflow/flow-1/executions/7' },
    });
  });

  it('has its result, its pair and the link to its run when it ends soon', async () => {
    await switchyard(['ended', 'ended']);
    const { output, told } = await run({ items: items(2) });
    expect(output).toEqual([
      [0, 1].map((n) => ({
        json: { message: MESSAGE, n, text: `of ${n}`, runUrl: `http://temporal.test/${idOf(n)}` },
        pairedItem: { item: n },
      })),
    ]);
    expect(told.waits).toEqual([]);
    expect(told.hints[0]?.message).toContain(`href="http://temporal.test/${idOf(0)}"`);
  });

  it('puts the execution to wait when it takes long, and asks to be resumed once for what is open', async () => {
    const { calls } = await switchyard(['ended', 'open', 'open']);
    const { told } = await run({ items: items(3) });
    expect(told.waits).toHaveLength(1);
    const registrations = calls.filter(({ method }) => method === 'PUT');
    expect(registrations).toMatchObject([
      {
        path: `/v1/triggers/${encodeURIComponent('n8n:instance-1:flow-1:node-1:7:0')}`,
        body: { kind: 'resume', callbackUrl: 'http://n8n.test/webhook-waiting/7', runs: [idOf(1), idOf(2)] },
      },
    ]);
  });

  it('gives an agent the handle instead of letting it wait', async () => {
    await switchyard(['open']);
    const { output, told } = await run({ items: items(1), isTool: true });
    expect(told.waits).toEqual([]);
    expect(output[0]?.[0]?.json).toEqual({
      status: 'RUNNING',
      id: idOf(0),
      runUrl: `http://temporal.test/${idOf(0)}`,
    });
  });

  it('fails with the words of its run, the fix, the status and the item', async () => {
    await switchyard(['ended', 'failed']);
    await expect(run({ items: items(2) })).rejects.toMatchObject({
      message: 'bad mail',
      description: `mend it (mail.malformed) <a href="http://temporal.test/${idOf(1)}" target="_blank">Open the run in Temporal</a>`,
      httpCode: '422',
      context: { itemIndex: 1 },
    });
  });

  it('leaves the list of n8n alone, which n8n empties where it sorts out errors', async () => {
    await switchyard(['open']);
    const given = items(1);
    const { output } = await run({ items: given });
    output[0]?.splice(0);
    expect(given).toHaveLength(1);
  });
});

describe.skipIf(!hasN8n)('the resumption of an execution', () => {
  const waiting = (count: number) => ({ data: { main: [items(count)] } });
  const closed = (item: number, more: IDataObject = {}) => ({
    id: idOf(item),
    status: 'completed',
    result: { text: `told of ${item}` },
    error: null,
    runUrl: null,
    ...more,
  });

  it('gives every item in its order: those told of, those that ended before, those that failed before', async () => {
    await switchyard(['ended', 'open', 'open']);
    const { contexts } = await run({
      items: [...items(3), { json: {} }],
      perItem: [{}, {}, {}, { message: 'none' }],
      node: { onError: 'continueRegularOutput' },
    });
    const { result } = await resume({
      body: { type: 'resume', runs: [closed(2), closed(1)] },
      contexts,
      executeData: waiting(4),
      node: { onError: 'continueRegularOutput' },
    });
    const output = result.workflowData?.[0] ?? [];
    expect(output.map(({ pairedItem }) => pairedItem)).toEqual([0, 1, 2, 3].map((item) => ({ item })));
    expect(output.map(({ json }) => json.text ?? json.error)).toEqual([
      'of 0',
      'told of 1',
      'told of 2',
      'There is no message in this item.',
    ]);
    expect(output[1]?.json).toMatchObject({ n: 1, runUrl: `http://temporal.test/${idOf(1)}` });
  });

  it('works from the names of the runs alone where n8n lost what the node kept', async () => {
    await switchyard([]);
    const { result } = await resume({
      body: { type: 'resume', runs: [closed(1), closed(0)] },
      executeData: waiting(2),
    });
    expect(result.workflowData?.[0]?.map(({ json }) => json.text)).toEqual(['told of 0', 'told of 1']);
  });

  it('fetches a result that was too large to be told', async () => {
    await switchyard(['ended']);
    const { result } = await resume({
      body: { type: 'resume', runs: [closed(0, { result: null, truncated: true })] },
      executeData: waiting(1),
    });
    expect(result.workflowData?.[0]?.[0]?.json.text).toBe('of 0');
  });

  it('fails the node as n8n fails one that waited for a sub-workflow', async () => {
    await switchyard(['ended', 'failed']);
    const executeData: { data: object; metadata?: { resumeError?: Error } } = waiting(2);
    const { result } = await resume({
      body: { type: 'resume', runs: [closed(0), closed(1, { status: 'failed', result: null })] },
      executeData,
    });
    expect(executeData.metadata?.resumeError).toMatchObject({ message: 'bad mail', httpCode: '422' });
    expect(result.workflowData?.[0]).toHaveLength(2);
  });

  it('goes on where the node continues on errors', async () => {
    await switchyard(['ended', 'failed']);
    const { result } = await resume({
      body: { type: 'resume', runs: [closed(0), closed(1, { status: 'terminated', result: null })] },
      executeData: waiting(2),
      node: { onError: 'continueErrorOutput' },
    });
    expect(result.workflowData?.[0]?.[1]).toMatchObject({
      json: { error: 'bad mail', details: { code: 'mail.malformed', fix: 'mend it' } },
      pairedItem: { item: 1 },
    });
  });

  it('starts nothing for a call that is not signed with the token', async () => {
    await switchyard([]);
    const { result, answers } = await resume({
      body: { type: 'resume', runs: [closed(0)] },
      signedWith: 'another',
      executeData: waiting(1),
    });
    expect(result).toEqual({ noWebhookResponse: true });
    expect(answers).toMatchObject([{ status: 401 }]);
  });
});
