/** The life of a trigger at Switchyard: registered, renewed, removed, whichever side was away. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hasN8n, NOBODY, stage, startRecorder, withDefaults, type Recorder, type Stage } from './n8n.ts';

const ID = `/v1/triggers/${encodeURIComponent('n8n:instance-1:flow-1:node-1')}`;
const TEST_URL = 'http://n8n.test/webhook-test/abc/mail';

let recorder: Recorder | undefined;
afterEach(async () => {
  vi.useRealTimers();
  await recorder?.close();
  recorder = undefined;
});

async function trigger(options: Partial<Stage> = {}) {
  const { SwitchyardMailTrigger } = await import('../../nodes/SwitchyardMailTrigger/SwitchyardMailTrigger.node.ts');
  const node = new SwitchyardMailTrigger();
  const double = stage({
    credential: { baseUrl: recorder?.url ?? NOBODY.baseUrl, token: 'sy_test' },
    parameters: withDefaults(node, { addresses: ['sales@demo.test'] }),
    ...options,
  });
  const { create, delete: remove } = node.webhookMethods.default;
  return {
    ...double,
    create: () => create.call(double.context),
    remove: () => remove.call(double.context),
    start: () => node.trigger.call(double.context),
    /** As n8n's clock does, until the call is through. */
    async tick() {
      const before = recorder?.calls.length ?? 0;
      for (const one of double.ticks) one();
      await vi.waitFor(() => expect(recorder?.calls.length).toBeGreaterThan(before)).catch(() => undefined);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

const took = { status: 200, body: {} };
const taken = {
  status: 409,
  body: { status: 409, code: 'trigger.address_taken', detail: 'It has a rule.', fix: 'Choose another.' },
};

describe.skipIf(!hasN8n)('on activation', () => {
  it('registers, and keeps the URL for the renewals', async () => {
    recorder = await startRecorder({ answer: () => took });
    const { create, staticData } = await trigger();
    expect(await create()).toBe(true);
    expect(recorder.calls).toMatchObject([
      {
        method: 'PUT',
        path: ID,
        body: {
          kind: 'mail',
          name: 'My flow',
          link: 'http://n8n.test/workflow/flow-1',
          callbackUrl: 'http://n8n.test/webhook/abc/mail',
          test: false,
        },
      },
    ]);
    expect(staticData).toEqual({ callbackUrl: 'http://n8n.test/webhook/abc/mail' });
  });

  it('fails with what is wrong and its fix in the one sentence that n8n shows', async () => {
    recorder = await startRecorder({ answer: () => taken });
    const { create, staticData } = await trigger();
    await expect(create()).rejects.toMatchObject({ message: 'It has a rule. Choose another.' });
    expect(staticData).toEqual({});
  });

  it('succeeds while Switchyard is away, and registers when it is back', async () => {
    const away = await trigger();
    expect(await away.create()).toBe(true);
    expect(away.told.warnings[0]).toContain('cannot be reached');
    recorder = await startRecorder({ answer: () => took });
    const back = await trigger({ staticData: away.staticData });
    await back.start();
    await vi.waitFor(() => expect(recorder?.calls).toHaveLength(1));
  });

  it('is another registration, not kept, when somebody tries the node in the editor', async () => {
    recorder = await startRecorder({ answer: () => took });
    const { create, remove, staticData } = await trigger({ mode: 'manual', webhookUrl: TEST_URL });
    await create();
    await remove();
    expect(recorder.calls).toMatchObject([
      { method: 'PUT', path: `${ID}${encodeURIComponent(':test')}`, body: { test: true, callbackUrl: TEST_URL } },
      { method: 'DELETE', path: `${ID}${encodeURIComponent(':test')}` },
    ]);
    expect(staticData).toEqual({});
  });
});

describe.skipIf(!hasN8n)('while the workflow is active', () => {
  const staticData = { callbackUrl: 'http://n8n.test/webhook/abc/mail' };

  it('renews long before the lease of ten minutes ends, and not at every look', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    recorder = await startRecorder({ answer: () => took });
    const { start, tick } = await trigger({ staticData: { ...staticData } });
    await start();
    await vi.waitFor(() => expect(recorder?.calls).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    vi.setSystemTime(Date.now() + 60_000);
    for (let n = 0; n < 3; n++) await tick();
    expect(recorder.calls).toHaveLength(1);
    vi.setSystemTime(Date.now() + 240_000);
    await tick();
    expect(recorder.calls).toHaveLength(2);
  });

  it('shows a refusal among the executions, once, and goes on trying', async () => {
    recorder = await startRecorder({ answer: () => taken });
    const { start, tick, told } = await trigger({ staticData: { ...staticData } });
    await start();
    await vi.waitFor(() => expect(told.failures).toHaveLength(1));
    await tick();
    await tick();
    expect(recorder.calls.length).toBeGreaterThan(1);
    expect(told.failures).toMatchObject([{ message: 'It has a rule.' }]);
  });

  it('says nothing of it among the executions while Switchyard is merely away', async () => {
    const { start, told } = await trigger({ staticData: { ...staticData } });
    await start();
    await vi.waitFor(() => expect(told.warnings).toHaveLength(1));
    expect(told.failures).toEqual([]);
  });

  it('renews no more after it ended', async () => {
    recorder = await startRecorder({ answer: () => took });
    const { start, tick } = await trigger({ staticData: {} });
    const { closeFunction } = await start();
    await closeFunction?.();
    await tick();
    expect(recorder.calls).toEqual([]);
  });
});

describe.skipIf(!hasN8n)('on deactivation', () => {
  it('removes the registration', async () => {
    recorder = await startRecorder({ answer: () => ({ status: 204 }) });
    const { remove, staticData } = await trigger({
      staticData: { callbackUrl: 'http://an-older-name.test/webhook/abc/mail' },
    });
    expect(await remove()).toBe(true);
    expect(recorder.calls).toMatchObject([{ method: 'DELETE', path: ID }]);
    expect(staticData).toEqual({});
  });

  it('succeeds while Switchyard is away, which finds out by itself', async () => {
    const { remove, told } = await trigger();
    expect(await remove()).toBe(true);
    expect(told.warnings).toHaveLength(1);
  });
});
