/** What the nodes send is what the servers take, and everything that the servers offer can be sent. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { IDataObject, INodeExecutionData, INodeProperties, INodeType, ResourceMapperField } from 'n8n-workflow';
import { publicSteps } from '../../activities/registry.ts';
import { Outcome } from '../../servers/http/schemas.ts';
import { WORKFLOWS } from '../../servers/http/runs.ts';
import { RUN_OUTCOMES } from '../../servers/triggers/outcomes.ts';
import { startService, type Service } from '../servers/http/service.ts';
import { checkCall } from './calls.ts';
import { hasN8n, stage, startRecorder, withDefaults, type Recorded, type Recorder } from './n8n.ts';

const BLOB = { key: `mail/${'a'.repeat(64)}`, sha256: 'a'.repeat(64), size: 12 };
const AUTHENTICATION = {
  spf: { result: 'pass', domain: 'a.test', scope: 'mfrom' },
  dkim: [],
  dmarc: { result: 'pass', domain: 'a.test', policy: null, disposition: 'none' },
  arc: { result: 'none', instance: 0 },
  authenticationResults: 'mx.test; spf=pass',
};
const NEW_MAIL = { from: 'Shop <shop@demo.test>', to: ['ann@a.test', '"Bee, Bob" <bob@b.test>'], subject: 'Order 7' };

/** An input of every step. A new step needs one here. */
const INPUTS: Record<string, IDataObject> = {
  'mail.parse': { message: BLOB },
  'mail.verify': { message: BLOB, envelope: { sourceAddress: '192.0.2.1', helo: 'mx.a.test', sender: '' } },
  'mail.decide': { recipient: 'sales@demo.test' },
  'mail.dkimSign': { message: BLOB, domain: 'demo.test' },
  'mail.sealArc': { message: BLOB, authentication: AUTHENTICATION, domain: 'demo.test' },
  'mail.rewriteSender': { sender: 'ann@a.test', domain: 'demo.test', direction: 'forward' },
  'mail.resolveMx': { domain: 'a.test' },
  'mail.compose': { ...NEW_MAIL, text: 'Hello' },
  'mail.send': { ...NEW_MAIL, text: 'Hello', headers: { 'X-Ticket': '7' } },
  'mail.deliver': { message: BLOB, sender: '', recipient: 'ann@a.test', eightBit: false },
  'mail.bounce': {
    message: BLOB,
    sender: 'ann@a.test',
    recipient: 'sales@demo.test',
    domain: 'demo.test',
    receivedAt: '2026-11-24T10:00:00Z',
    reportedAt: '2026-11-24T11:00:00Z',
    failures: [{ destination: 'bob@b.test', host: null, reply: null, text: 'no answer' }],
  },
  'dmarc.extractReports': { message: BLOB },
  'dmarc.storeReport': { report: BLOB },
  'dmarc.parseReport': { report: BLOB },
  'dmarc.enrich': { report: BLOB },
  'dmarc.publishReport': { report: BLOB, domain: 'demo.test' },
  'dmarc.summarize': { domain: 'demo.test', days: 30, to: '2026-11-22' },
};

let service: Service;
let recorder: Recorder;
let credential: { baseUrl: string; token: string };
beforeAll(async () => {
  service = await startService();
  // No Temporal here: what was asked of runs is all that counts, and the answer need not be waited for.
  const away = { status: 503, body: { status: 503, code: 'temporal.unavailable', detail: 'away', fix: 'wait' } };
  recorder = await startRecorder({
    to: service.url,
    answer: ({ path }) => (path.startsWith('/v1/runs') ? away : undefined),
  });
  credential = { baseUrl: recorder.url, token: await service.token('*') };
});
afterAll(async () => {
  await recorder.close();
  await service.close();
});

/** Runs a node's operation for one item and gives the calls that it made. Whether Switchyard could do it is not asked. */
async function callsOf(node: INodeType, parameters: IDataObject, item: INodeExecutionData): Promise<Recorded[]> {
  const from = recorder.calls.length;
  const { context } = stage({
    credential,
    parameters: withDefaults(node, parameters),
    items: [item],
    node: { onError: 'continueRegularOutput' },
  });
  await node.execute?.call(context);
  return recorder.calls.slice(from);
}

describe.skipIf(!hasN8n)('Switchyard Mail', () => {
  const item = {
    json: {},
    binary: {
      data: { data: Buffer.from('From: a\r\n\r\nhi').toString('base64'), mimeType: 'text/plain', fileName: 'a.txt' },
    },
  };
  const message = { message: BLOB, sender: 'ann@a.test', sourceAddress: '192.0.2.1', helo: 'mx.a.test' };
  const mail = {
    resource: 'newMail',
    from: NEW_MAIL.from,
    to: 'ann@a.test, "Bee, Bob" <bob@b.test>',
    subject: 'Order 7',
    emailFormat: 'both',
    text: 'Hello',
    html: '<p>Hello</p>',
    additionalFields: {
      cc: 'c@c.test',
      bcc: 'd@d.test',
      replyTo: 'help@demo.test',
      attachments: 'data',
      headers: { header: [{ name: 'X-Ticket', value: '7' }] },
    },
  };
  /** Those that only look: what they ask, and where. */
  const looks: Record<string, [parameters: IDataObject, path: string]> = {
    get: [{ activityId: 'a1' }, '/v1/mail/activity/{id}'],
    getAll: [
      { filters: { outcome: ['bounced', 'failed'], domain: 'demo.test', since: '24h', until: '' }, limit: 7 },
      '/v1/mail/activity',
    ],
  };
  const operations: Record<string, IDataObject> = {
    parse: message,
    verify: message,
    dkimSign: { ...message, domain: 'demo.test' },
    sealArc: { ...message, domain: 'demo.test', authentication: AUTHENTICATION },
    deliver: { ...message, recipient: 'bob@b.test' },
    compose: mail,
    send: mail,
  };

  it('is tried with each of its operations', async () => {
    const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
    const offered = new SwitchyardMail().description.properties
      .filter(({ name }) => name === 'operation')
      .flatMap(({ options }) => (options as { value: string }[]).map(({ value }) => value));
    expect(offered.sort()).toEqual(Object.keys({ ...operations, ...looks }).sort());
  });

  it.each(Object.keys(looks))('%s of the activity makes one call that its route takes', async (operation) => {
    const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
    const [parameters, path] = looks[operation] ?? [{}, ''];
    const calls = await callsOf(new SwitchyardMail(), { resource: 'activity', operation, ...parameters }, item);
    expect(calls.map((call) => checkCall(call).path)).toEqual([path]);
    if (operation === 'getAll')
      expect(calls[0]?.query).toEqual({ outcome: 'bounced,failed', domain: 'demo.test', since: '24h', limit: '7' });
  });

  it('offers the outcomes that there are', async () => {
    const { activity } = await import('../../nodes/SwitchyardMail/activity-fields.ts');
    const filters = activity.find(({ name }) => name === 'filters')?.options as INodeProperties[];
    const offered = filters.find(({ name }) => name === 'outcome')?.options as { value: string }[];
    expect(offered.map(({ value }) => value).sort()).toEqual([...Outcome.options].sort());
  });

  it.each(Object.keys(operations).flatMap((name) => [true, false].map((durable) => [name, durable] as const)))(
    '%s, durable %s, asks for a step with an input that it takes',
    async (operation, durable) => {
      const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
      const calls = await callsOf(new SwitchyardMail(), { operation, durable, ...operations[operation] }, item);
      const paths = calls.map((call) => checkCall(call).path);
      expect(paths.at(-1)).toBe(durable ? '/v1/runs' : `/v1/steps/mail.${operation}`);
      expect(paths.includes('/v1/blobs')).toBe('from' in (operations[operation] ?? {}));
    },
  );

  it.each(['parse', 'verify', 'dkimSign', 'sealArc', 'deliver'])('%s takes the file of an item', async (operation) => {
    const { SwitchyardMail } = await import('../../nodes/SwitchyardMail/SwitchyardMail.node.ts');
    const given = { ...operations[operation], operation, messageSource: 'binary', binaryField: 'data' };
    const calls = await callsOf(new SwitchyardMail(), given, item);
    expect(calls.map((call) => checkCall(call).path)).toEqual(['/v1/blobs', `/v1/steps/mail.${operation}`]);
    // The bytes of 'From: a\r\n\r\nhi'.
    expect(calls[1]?.body).toMatchObject({ message: { size: 13 } });
  });
});

describe.skipIf(!hasN8n)('Durable Workflow', () => {
  const run = { runId: 'mail/abc' };
  const talk = { ...run, resource: 'message', name: 'progress', arguments: '[1, "two"]' };
  const operations: Record<string, [parameters: IDataObject, path: string]> = {
    start: [{ activityId: 'a1', destinations: 'ann@a.test; bob@b.test', waitForResult: false }, '/v1/runs'],
    get: [run, '/v1/runs/{id}'],
    getResult: [run, '/v1/runs/{id}'],
    getAll: [{ filters: { workflow: 'routeMail', status: 'FAILED', domain: 'demo.test' }, limit: 7 }, '/v1/runs'],
    cancel: [run, '/v1/runs/{id}/cancel'],
    signal: [talk, '/v1/runs/{id}/signals/{name}'],
    query: [talk, '/v1/runs/{id}/queries/{name}'],
    update: [talk, '/v1/runs/{id}/updates/{name}'],
  };

  it('is tried with each of its operations', async () => {
    const { operations: offered } = await import('../../nodes/SwitchyardWorkflow/operations.ts');
    expect(Object.keys(offered).sort()).toEqual(Object.keys(operations).sort());
  });

  it.each(Object.keys(operations))('%s makes one call that its route takes', async (operation) => {
    const { SwitchyardWorkflow } = await import('../../nodes/SwitchyardWorkflow/SwitchyardWorkflow.node.ts');
    const [parameters, path] = operations[operation] ?? [{}, ''];
    const calls = await callsOf(new SwitchyardWorkflow(), { operation, ...parameters }, { json: {} });
    expect(calls.map((call) => checkCall(call).path)).toEqual([path]);
  });

  it('offers every workflow that can be started', async () => {
    const { workflowOptions } = await import('../../nodes/shared/options.ts');
    const offered = await workflowOptions.call(stage({ credential }).context);
    expect(offered.map(({ value }) => value)).toEqual([...WORKFLOWS]);
  });
});

describe.skipIf(!hasN8n)('Switchyard Step', () => {
  it('offers every step that is open to callers', async () => {
    const { stepOptions } = await import('../../nodes/shared/options.ts');
    const offered = await stepOptions.call(stage({ credential }).context);
    expect(offered.map(({ value }) => value)).toEqual(publicSteps.map(({ name }) => name));
    expect(Object.keys(INPUTS).sort()).toEqual(publicSteps.map(({ name }) => name).sort());
  });

  it.each(publicSteps.map(({ name }) => name))('sends the fields of %s as its schema wants them', async (step) => {
    const { SwitchyardStep } = await import('../../nodes/SwitchyardStep/SwitchyardStep.node.ts');
    const node = new SwitchyardStep();
    const { fields } = await node.methods.resourceMapping.getStepFields.call(
      stage({ credential, parameters: { step } }).context,
    );
    const input = INPUTS[step] ?? {};
    const parameters = { step, fields: { mappingMode: 'defineBelow', value: filledIn(fields, input), schema: fields } };
    for (const durable of [false, true]) {
      const [call] = await callsOf(node, { ...parameters, durable } as IDataObject, { json: {} });
      expect(checkCall(call as Recorded).path).toBe(durable ? '/v1/runs' : `/v1/steps/${step}`);
      expect(call?.body).toEqual(
        durable ? expect.objectContaining({ workflow: 'runStep', input: { step, input } }) : input,
      );
    }
  });

  /** As a person fills it in: plain values typed, the rest as JSON. */
  function filledIn(fields: ResourceMapperField[], input: IDataObject): IDataObject {
    return Object.fromEntries(
      fields.map(({ id, type }) => {
        const value = id.split('.').reduce<unknown>((part, name) => (part as IDataObject | undefined)?.[name], input);
        return [id, value !== undefined && (type === 'object' || type === 'array') ? JSON.stringify(value) : value];
      }),
    ) as IDataObject;
  }
});

describe.skipIf(!hasN8n)('the triggers', () => {
  it('register mail as PUT /v1/triggers takes it, with and without options', async () => {
    const { SwitchyardMailTrigger } = await import('../../nodes/SwitchyardMailTrigger/SwitchyardMailTrigger.node.ts');
    const node = new SwitchyardMailTrigger();
    for (const parameters of [
      { addresses: ['sales@demo.test', ' *@demo.test '] },
      { addresses: ['a@demo.test'], options: { timeout: 20, troubleCode: 421, troubleText: 'later' } },
      { addresses: ['a@demo.test'], answer: 'taken', options: { timeout: 20 } },
    ]) {
      const from = recorder.calls.length;
      const { context } = stage({ credential, parameters: withDefaults(node, parameters) });
      // The real server refuses this callback: only what was asked counts here.
      await node.webhookMethods.default.create.call(context).catch(() => undefined);
      const [call] = recorder.calls.slice(from);
      expect(checkCall(call as Recorded).path).toBe('/v1/triggers/{id}');
    }
  });

  it('register for runs, by the outcomes that there are', async () => {
    const { SwitchyardRunTrigger } = await import('../../nodes/SwitchyardRunTrigger/SwitchyardRunTrigger.node.ts');
    const node = new SwitchyardRunTrigger();
    const outcomes = node.description.properties.find(({ name }) => name === 'outcomes')?.options as {
      value: string;
    }[];
    expect(outcomes.map(({ value }) => value).sort()).toEqual([...RUN_OUTCOMES].sort());
    for (const parameters of [{}, { outcomes: [], workflows: ['routeMail'] }]) {
      const from = recorder.calls.length;
      const { context } = stage({ credential, parameters: withDefaults(node, parameters) });
      await node.webhookMethods.default.create.call(context).catch(() => undefined);
      checkCall(recorder.calls[from] as Recorded);
    }
  });
});
