/** Either side killed or away: a real n8n, real processes, real mail. Nobody clicks anything. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PACK_NAME } from '../../cli/editor/pack.ts';
import type { Template } from '../../cli/editor/templates.ts';
import { compose } from '../../cli/demo/messages.ts';
import { editorIsMissing, itemsOf } from '../support/editor.ts';
import { eventually } from '../support/house.ts';
import { openHome, type Home } from './home.ts';

/** n8n's starts on a busy machine with two cores, and the back-off of a step. */
const SLOW = 600_000;

const START = 'Start';

interface Part {
  name: string;
  type: string;
  typeVersion?: number;
  parameters?: Record<string, unknown>;
  [setting: string]: unknown;
}

/** A workflow whose nodes stand one behind the other; a manual run starts with the items. */
function chain(name: string, parts: Part[], items: { json: object }[] = []): Partial<Template> {
  const nodes = parts.map((part, index) => ({
    id: randomUUID(),
    webhookId: randomUUID(),
    typeVersion: 1,
    position: [index * 200, 0],
    parameters: {},
    ...part,
  }));
  const connections = Object.fromEntries(
    parts
      .slice(1)
      .map((part, index) => [parts[index]?.name, { main: [[{ node: part.name, type: 'main', index: 0 }]] }]),
  );
  return { name, nodes, connections, pinData: items.length > 0 ? { [START]: items } : {} };
}

const receive = (address: string, answer: 'verdict' | 'taken' = 'verdict'): Part => ({
  name: 'Receive Mail',
  type: `${PACK_NAME}.switchyardMailTrigger`,
  parameters: { addresses: [address], answer, options: {} },
});
const verdict = (parameters: Record<string, unknown>): Part => ({
  name: 'Mail Verdict',
  type: `${PACK_NAME}.switchyardMailVerdict`,
  parameters,
});
const deliver = (recipient: string): Part => ({
  name: 'Deliver',
  type: `${PACK_NAME}.switchyardMail`,
  parameters: { resource: 'message', operation: 'deliver', recipient, options: {} },
});
/** Looks up where mail for the domain of the item goes, as a durable run. */
const lookUp: Part = {
  name: 'Look up',
  type: `${PACK_NAME}.switchyardStep`,
  parameters: {
    step: 'mail.resolveMx',
    durable: true,
    fields: {
      mappingMode: 'defineBelow',
      value: { domain: '={{ $json.domain }}' },
      schema: [{ id: 'domain', displayName: 'Domain', type: 'string', required: true, display: true }],
    },
    options: { keepInput: true },
  },
};
const start: Part = { name: START, type: 'n8n-nodes-base.manualTrigger' };

describe.skipIf(editorIsMissing())('n8n and Switchyard', { timeout: SLOW }, () => {
  let home: Home;
  beforeAll(async () => {
    home = await openHome({ editor: { templates: [] } });
  }, SLOW);
  afterAll(() => home?.close(), SLOW);

  const publish = async (workflow: Partial<Template>) => {
    const id = await home.editor.addWorkflow(workflow);
    const { status, json } = await home.editor.publish(id);
    expect(status, JSON.stringify(json)).toBe(200);
    return id;
  };
  const arrivals = async (recipient: string) => (await home.records.inbox.list({ recipient })).length;
  const statusOf = async (id: string) =>
    (await home.editor.call('GET', `/api/v1/executions/${id}`)).json.status as string;

  it('n8n killed in the middle: the sender gets 451, and the mail sent again runs once', async () => {
    const workflow = await publish(
      chain('Killed in the middle', [
        receive('middle@demo.test'),
        { name: 'Wait', type: 'n8n-nodes-base.wait', typeVersion: 1.1, parameters: { amount: 6, unit: 'seconds' } },
        deliver('middle@inbox.test'),
        verdict({ operation: 'accept' }),
      ]),
    );
    await home.listening('middle@demo.test');
    const mail = {
      to: 'middle@demo.test',
      message: compose({ from: 'you@sender.test', to: 'middle@demo.test', subject: 'Again' }),
    };

    const told = home.send(mail);
    const first = await eventually(async () => (await home.editor.executions(workflow))[0], 'the execution');
    await home.editor.kill9();
    expect(await told).toMatch(/^451 4\./);
    expect(await home.send(mail), 'while n8n is away').toMatch(/^451 4\./);
    expect(await arrivals('middle@inbox.test')).toBe(0);

    await home.editor.start();
    expect(await home.send(mail)).toMatch(/^250 2\./);
    const [second, ...others] = (await home.editor.executions(workflow)).filter((id) => id !== first);
    expect(others).toEqual([]);
    expect((await home.editor.execution(second ?? '')).status).toBe('success');
    expect(await statusOf(first)).toBe('crashed');
    expect(await arrivals('middle@inbox.test')).toBe(1);
    // Once more: that message has its end already.
    expect(await home.send(mail)).toMatch(/^250 2\./);
    expect(await home.editor.executions(workflow)).toHaveLength(2);
    expect(await arrivals('middle@inbox.test')).toBe(1);
  });

  it('n8n killed and Switchyard away while an execution waits for a long durable step: it goes on and ends well', async () => {
    home.dns.fail('late.test', 'servfail');
    const workflow = await home.editor.addWorkflow(
      chain('A long step', [start, lookUp], [{ json: { domain: 'inbox.test' } }, { json: { domain: 'late.test' } }]),
    );
    const id = await home.editor.run(workflow, START);
    await eventually(async () => (await statusOf(id)) === 'waiting', 'the execution waits');
    await home.editor.kill9();
    await home.stop();
    await home.editor.start();
    expect(await statusOf(id)).toBe('waiting');
    await home.restart();
    home.dns.set('late.test', ['MX 10 mx.late.test']);
    home.dns.set('mx.late.test', ['A 8.8.8.8']);
    home.dns.fail('late.test', null);

    const execution = await home.editor.execution(id);
    expect(execution.status, JSON.stringify(execution.data.resultData.error)).toBe('success');
    const items = itemsOf(execution, 'Look up');
    expect(items.map(({ json, pairedItem }) => [json.domain, json.source, pairedItem])).toEqual([
      ['inbox.test', 'transport', { item: 0 }],
      ['late.test', 'mx', { item: 1 }],
    ]);
    expect(items[1]?.json.runUrl).toContain('/workflows/');
  });

  it('Switchyard away at the activation: the workflow becomes active, and registers when it is back', async () => {
    await home.stop();
    await publish(
      chain('Activated early', [
        receive('early@demo.test'),
        verdict({ operation: 'reject', code: 554, text: 'Heard you' }),
      ]),
    );
    await home.restart();
    await home.listening('early@demo.test');
    expect(await home.send({ to: 'early@demo.test' })).toMatch(/^554 5\.\d\.\d Heard you/);
  });

  it('Switchyard away at run time: the node says what is wrong, and a node that tries again heals', async () => {
    const step = { ...lookUp, parameters: { ...lookUp.parameters, durable: false } };
    const items = [{ json: { domain: 'inbox.test' } }];
    const once = await home.editor.addWorkflow(chain('Tries once', [start, step], items));
    const again = await home.editor.addWorkflow(
      chain('Tries again', [start, { ...step, retryOnFail: true, maxTries: 5, waitBetweenTries: 5_000 }], items),
    );
    // One that dies is back within seconds; that is short of the five tries.
    const http = home.installation.processes.find(({ name }) => name === 'http');
    process.kill(http?.pid ?? 0, 'SIGKILL');
    const ids = await Promise.all([once, again].map((workflow) => home.editor.run(workflow, START)));
    const failed = await home.editor.execution(ids[0] ?? '');
    expect(failed.status).toBe('error');
    expect(failed.data.resultData.error?.message).toBe(
      `Switchyard cannot be reached at ${home.api}: the connection was refused.`,
    );
    const healed = await home.editor.execution(ids[1] ?? '');
    expect(healed.status).toBe('success');
    expect(itemsOf(healed, 'Look up')[0]?.json).toMatchObject({ source: 'transport' });
  });

  it('Switchyard was away: what was registered before still answers', async () => {
    expect(await home.send({ to: 'early@demo.test' })).toMatch(/^554 5\.\d\.\d Heard you/);
  });

  it('n8n away: mail that is accepted at once is handed over when n8n is back, once', async () => {
    const workflow = await publish(chain('Taken', [receive('taken@demo.test', 'taken'), deliver('taken@inbox.test')]));
    await home.listening('taken@demo.test');
    await home.editor.kill9();
    const since = new Date();
    expect(await home.send({ to: 'taken@demo.test', subject: 'For later' })).toMatch(/^250 2\./);
    expect(await home.editor.start().then(() => home.arrived('taken@inbox.test', since))).toMatchObject({
      subject: 'For later',
    });
    expect(await home.editor.executions(workflow)).toHaveLength(1);
  });

  it('deactivated: the addresses are free again', async () => {
    const workflow = await publish(chain('For a while', [receive('while@demo.test'), verdict({ operation: 'drop' })]));
    await home.listening('while@demo.test');
    expect((await home.editor.unpublish(workflow)).status).toBe(200);
    await eventually(
      async () => (await home.records.rules.list()).every(({ localPart }) => localPart !== 'while'),
      'the rule goes',
    );
  });
});
