/** Every ending of `notifyTrigger`, and a mail that n8n took: what the run says of it, and that its history replays. */
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newMemory, notifyOfRuns, notifyWaiting } from '../../servers/worker/notify.ts';
import { eventually } from '../support/house.ts';
import { replayEnded } from '../support/history.ts';
import { openTriggerHouse, type TriggerHouse } from './house.ts';

let world: TriggerHouse;
let temporal: Client;
beforeAll(async () => {
  world = await openTriggerHouse({
    triggers: { forgetAfter: '6s' },
    mail: { sessionWait: '2s', retry: { delays: ['1s'], giveUpAfter: '5d' } },
  });
  temporal = new Client({
    connection: await Connection.connect({ address: world.house.installation.addresses.temporal }),
  });
});
afterAll(async () => {
  await temporal?.connection.close();
  await world?.close();
});

const wait = (id: string, path: string) =>
  world.call('PUT', `/v1/triggers/${id}`, {
    kind: 'resume',
    callbackUrl: world.n8n.url(path),
    link: 'http://127.0.0.1:5678/workflow/1/executions/7',
    // A run that never was is over.
    runs: ['never-was'],
  });
const notices = async (trigger: string) => {
  const found = [];
  for await (const one of temporal.workflow.list({ query: `WorkflowType = 'notifyTrigger'` }))
    if (one.workflowId.startsWith(`notify/${trigger}/`)) found.push(temporal.workflow.getHandle(one.workflowId));
  return found;
};
const noticeTo = (trigger: string) => eventually(async () => (await notices(trigger))[0], 'the notice');
/** The current details, as the Temporal UI asks for them. */
const detailsOf = async (handle: Awaited<ReturnType<typeof noticeTo>>): Promise<string> =>
  (await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata')).currentDetails ?? '';

describe('a notice', () => {
  it('is taken, at the second try', async () => {
    world.n8n.on('/taken', (_call, times) =>
      times === 1 ? { status: 409, body: { message: 'The execution "7" is running already.' } } : { status: 200 },
    );
    await wait('w-taken', '/taken');
    const handle = await noticeTo('w-taken');
    expect(await handle.result()).toEqual({ state: 'taken' });
    expect(await detailsOf(handle)).toBe(
      '**Taken** by [an execution that waits](http://127.0.0.1:5678/workflow/1/executions/7): run never-was ended.',
    );
    await replayEnded(handle, 'notifyTrigger.taken');
  });

  it('has nobody to go to any more', async () => {
    world.n8n.on('/gone', () => ({ status: 503 }));
    await wait('w-gone', '/gone');
    const handle = await noticeTo('w-gone');
    await eventually(() => world.n8n.calls('/gone').length > 0, 'a call');
    await world.call('DELETE', '/v1/triggers/w-gone');
    expect(await handle.result()).toEqual({ state: 'gone' });
    await replayEnded(handle, 'notifyTrigger.gone');
  });

  it('is given up in the end', async () => {
    world.n8n.on('/never', () => ({ status: 503 }));
    await wait('w-never', '/never');
    const handle = await noticeTo('w-never');
    await expect(handle.result()).rejects.toMatchObject({ cause: { cause: { type: 'trigger.not_taken' } } });
    expect(await detailsOf(handle)).toMatch(/^\*\*Given up\*\*/);
    await replayEnded(handle, 'notifyTrigger.given-up');
    await eventually(async () => (await world.call('GET', '/v1/triggers/w-never')).status === 404, 'its removal');
  });
});

it('a mail that n8n took at the second try', async () => {
  const { path, address } = await world.mailTrigger('taken', { answer: 'taken' });
  world.n8n.on(path, (_call, times) => ({ status: times === 1 ? 500 : 200 }));
  expect((await world.house.send({ to: [address] })).data).toMatch(/^250 .*Queued/);
  const record = await world.house.finalRecord(address);
  expect(record).toMatchObject({ outcome: 'delivered', attempts: 2 });
  await replayEnded(temporal.workflow.getHandle(record.workflowId ?? ''), 'routeMail.taken-by-n8n');
});

it('several workers tell each thing once', async () => {
  const { configuration, addresses } = world.house.installation;
  const options = {
    dependencies: { configuration, records: world.house.records },
    client: temporal,
    addresses,
    namespace: 'default',
    taskQueue: 'switchyard',
  };
  world.n8n.on('/many', () => ({ status: 200 }));
  world.n8n.on('/many-runs', () => ({ status: 200 }));
  const run = { kind: 'run', name: 'Many', callbackUrl: world.n8n.url('/many-runs'), outcomes: ['terminated'] };
  await world.call('PUT', '/v1/triggers/w-runs', run);
  const handle = await temporal.workflow.start('runStep', {
    workflowId: 'stuck/1',
    taskQueue: 'nobody',
    args: [{ step: 'mail.parse', input: {} }],
  });
  await handle.terminate();
  await wait('w-many', '/many');
  // Workers of their own, each without any memory, beside the one of the house.
  const until = Date.now() + 8_000;
  while (Date.now() < until)
    await Promise.all(
      [1, 2, 3].flatMap(() => [notifyOfRuns(options, newMemory()), notifyWaiting(options, newMemory(), Date.now())]),
    );
  expect(await notices('w-runs')).toHaveLength(1);
  expect(await notices('w-many')).toHaveLength(1);
  expect([world.n8n.calls('/many').length, world.n8n.calls('/many-runs').length]).toEqual([1, 1]);
});
