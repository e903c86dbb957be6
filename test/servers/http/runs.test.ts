import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLog } from '../../../servers/log.ts';
import type { RunningServer } from '../../../servers/server.ts';
import { startWorker } from '../../../servers/worker/server.ts';
import { visibilityQuery } from '../../../servers/http/runs.ts';
import { taskQueues } from '../../../workflows/mail/contract.ts';
import { sharedTemporal } from '../../setup/temporal.ts';
import { startService, type Service } from './service.ts';

const MESSAGE = 'From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: Invoice 4711\r\n\r\nHello Bob\r\n';

describe('runs', () => {
  let service: Service;
  let worker: RunningServer;
  let client: Client;
  let message: unknown;
  beforeAll(async () => {
    const temporal = await sharedTemporal();
    service = await startService({ temporal });
    worker = await startWorker({
      configuration: service.configuration,
      addresses: service.addresses,
      log: createLog('test', 'silent'),
    });
    client = new Client({ connection: await Connection.connect({ address: temporal }) });
    message = (await service.call('POST', '/v1/blobs', { body: MESSAGE })).json;
  });
  afterAll(async () => {
    await client?.connection.close();
    await worker?.close();
    await service?.close();
  });

  const start = (id: string, input: unknown, options: { token?: string } = {}) =>
    service.call('POST', '/v1/runs', { body: { workflow: 'runStep', id, input }, ...options });
  const parse = () => ({ step: 'mail.parse', input: { message } });
  const missing = () => ({
    step: 'mail.parse',
    input: { message: { key: `uploads/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 } },
  });
  const at = (id: string, rest = '') => `/v1/runs/${encodeURIComponent(id)}${rest}`;

  test('a step runs durably and its result comes by long poll, under an id with slashes', async () => {
    const id = `n8n/${randomUUID()}/1/node`;
    const run = await start(id, parse());
    expect(run.status).toBe(200);
    expect(run.json).toMatchObject({ id, workflow: 'runStep', attributes: { SwitchyardStep: 'mail.parse' } });
    expect(run.json.url).toBe(`http://127.0.0.1:8233/namespaces/default/workflows/${encodeURIComponent(id)}`);
    const result = await service.call('GET', at(id, '/result?wait=60s'));
    expect([result.status, result.json]).toEqual([
      200,
      { id, status: 'COMPLETED', result: expect.objectContaining({ subject: 'Invoice 4711' }) },
    ]);
    expect((await service.call('GET', at(id))).json).toMatchObject({
      status: 'COMPLETED',
      closedAt: expect.any(String),
    });
  });

  test('the same id meets the same run, also when it has ended well', async () => {
    const id = randomUUID();
    const first = await start(id, parse());
    await service.call('GET', at(id, '/result?wait=60s'));
    const again = await start(id, parse());
    expect(again.json.runId).toBe(first.json.runId);
    expect(again.json.status).toBe('COMPLETED');
  });

  test('a failed run answers as the step would have, and the same id runs it again', async () => {
    const id = randomUUID();
    const first = await start(id, missing());
    const failed = await service.call('GET', at(id, '/result?wait=60s'));
    expect(failed.headers.get('content-type')).toBe('application/problem+json');
    expect(failed.json).toMatchObject({ status: 404, code: 'blob.missing', fix: expect.any(String), run: id });
    const again = await start(id, parse());
    expect(again.json.runId).not.toBe(first.json.runId);
    expect((await service.call('GET', at(id, '/result?wait=60s'))).json.status).toBe('COMPLETED');
  });

  test('what is not valid is refused before a run exists', async () => {
    const id = randomUUID();
    expect((await start(id, { step: 'mail.fly', input: {} })).json).toMatchObject({
      status: 404,
      code: 'step.unknown',
    });
    expect((await start(id, { step: 'mail.parse', input: {} })).json).toMatchObject({
      status: 400,
      code: 'input.invalid',
      field: 'input.input.message',
    });
    expect((await service.call('POST', '/v1/runs', { body: { workflow: 'rmRf', input: {} } })).json).toMatchObject({
      status: 400,
      field: 'workflow',
    });
    expect((await service.call('GET', at(id))).json).toMatchObject({ status: 404, code: 'run.missing' });
  });

  test('runs:write alone does not lend the scope of a step', async () => {
    const token = await service.token('runs:*', 'blobs:*');
    expect((await start(randomUUID(), parse(), { token })).json).toMatchObject({ status: 403, scope: 'mail:read' });
    expect(
      (await service.call('POST', '/v1/runs', { token, body: { workflow: 'routeMail', input: {} } })).json,
    ).toMatchObject({ status: 403, scope: 'mail:write' });
  });

  test('runs are listed by step and status, in pages', async () => {
    const ids = [randomUUID(), randomUUID(), randomUUID()];
    for (const id of ids) await start(id, parse());
    for (const id of ids) await service.call('GET', at(id, '/result?wait=60s'));
    // Visibility is written a moment after the run.
    const listed = async () => {
      const found: string[] = [];
      let page: string | null = null;
      do {
        const { json } = await service.call(
          'GET',
          `/v1/runs?workflow=runStep&status=COMPLETED&step=mail.parse&limit=2${page ? `&page=${page}` : ''}`,
        );
        expect(json.items.length).toBeLessThanOrEqual(2);
        found.push(...json.items.map((one: { id: string }) => one.id));
        page = json.next;
      } while (page);
      return found;
    };
    await expect.poll(listed, { timeout: 20_000 }).toEqual(expect.arrayContaining(ids));

    // An apostrophe ends a string in the filter's grammar and is common in addresses.
    const odd = "o'brien@a.example";
    const key = defineSearchAttributeKey('SwitchyardStep', 'KEYWORD');
    const marked = await client.workflow.start('runStep', {
      workflowId: randomUUID(),
      taskQueue: randomUUID(),
      args: [parse()],
      typedSearchAttributes: [{ key, value: odd }],
    });
    const named = async (step: string) =>
      (await service.call('GET', `/v1/runs?step=${encodeURIComponent(step)}`)).json.items.map(
        (one: { id: string }) => one.id,
      );
    await expect.poll(() => named(odd), { timeout: 20_000 }).toEqual([marked.workflowId]);
    await marked.terminate();
    expect((await service.call('GET', `/v1/runs?step=${encodeURIComponent("x' OR WorkflowType != '")}`)).json).toEqual({
      items: [],
      next: null,
    });
    expect((await service.call('GET', `/v1/runs?step=${encodeURIComponent("back\\slash' OR 1=1")}`)).json).toEqual({
      items: [],
      next: null,
    });
  });

  describe('while no worker takes them', () => {
    let id: string;
    beforeAll(async () => {
      id = `waiting/${randomUUID()}`;
      // The same namespace, a queue that nobody polls.
      await client.workflow.start('runStep', { workflowId: id, taskQueue: randomUUID(), args: [parse()] });
    });

    test('the result is 202 with where it stands, at once and after waiting', async () => {
      for (const wait of ['', '?wait=1s'])
        expect(await service.call('GET', at(id, `/result${wait}`))).toMatchObject({
          status: 202,
          json: { id, status: 'RUNNING' },
        });
    });

    test('a signal is taken', async () => {
      expect((await service.call('POST', at(id, '/signals/hello'), { body: { args: [1] } })).status).toBe(204);
      const history = await client.workflow.getHandle(id).fetchHistory();
      expect(
        history.events?.some((event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'hello'),
      ).toBe(true);
    });

    test('a query that nobody answers is 504 and says that a worker is missing', async () => {
      const answer = await service.call('POST', at(id, '/queries/progress'));
      expect(answer.json).toMatchObject({ status: 504, code: 'run.no_answer' });
    });

    test('a cancelled run is asked to stop', async () => {
      expect((await service.call('POST', at(id, '/cancel'))).status).toBe(202);
      const history = await client.workflow.getHandle(id).fetchHistory();
      expect(history.events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes)).toBe(true);
      await client.workflow.getHandle(id).terminate();
      expect((await service.call('GET', at(id, '/result'))).json).toMatchObject({ status: 422, code: 'run.failed' });
    });
  });

  test('a query and an update that the workflow does not know are refused with a reason', async () => {
    const id = randomUUID();
    await start(id, parse());
    await service.call('GET', at(id, '/result?wait=60s'));
    expect((await service.call('POST', at(id, '/queries/no-such-query'))).json).toMatchObject({
      status: 422,
      code: 'run.query_refused',
    });
  });

  test('workflows of others in the namespace are not there', async () => {
    const id = randomUUID();
    await client.workflow.start('payroll', { workflowId: id, taskQueue: taskQueues(randomUUID()).main });
    for (const [method, rest] of [
      ['GET', ''],
      ['POST', '/cancel'],
      ['POST', '/signals/x'],
      ['GET', '/result'],
    ] as const) {
      expect((await service.call(method, at(id, rest))).json).toMatchObject({ status: 404, code: 'run.missing' });
    }
    await client.workflow.getHandle(id).terminate();
  });

  test('the process is ready', async () => {
    expect((await service.call('GET', '/readyz', { token: null })).json).toEqual({
      ready: true,
      parts: { records: 'ok', blobs: 'ok', temporal: 'ok' },
    });
  });
});

describe('while Temporal is away', () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService();
  });
  afterAll(() => service.close());

  test.each([
    ['POST', '/v1/runs', { workflow: 'runStep', input: { step: 'mail.decide', input: { recipient: 'a@b.example' } } }],
    ['GET', '/v1/runs', undefined],
    ['GET', '/v1/runs/x', undefined],
    ['GET', '/v1/runs/x/result?wait=30s', undefined],
    ['POST', '/v1/runs/x/cancel', undefined],
  ])('%s %s is 503 with Retry-After', async (method, path, body) => {
    const answer = await service.call(method, path, { body });
    expect(answer.json).toMatchObject({ status: 503, code: 'temporal.unavailable' });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test('steps and pages go on', async () => {
    expect((await service.call('POST', '/v1/steps/mail.decide', { body: { recipient: 'a@b.example' } })).status).toBe(
      200,
    );
    expect((await service.call('GET', '/', { token: null })).status).toBe(200);
  });
});

test('the visibility query never leaves our workflows', () => {
  expect(visibilityQuery({})).toBe("WorkflowType IN ('runStep', 'routeMail', 'ingestDmarcReport')");
  expect(visibilityQuery({ status: 'TIMED_OUT', sender: "o'brien@a.example" })).toBe(
    "WorkflowType IN ('runStep', 'routeMail', 'ingestDmarcReport') AND ExecutionStatus = 'TimedOut' AND SwitchyardSender = 'o\\'brien@a.example'",
  );
});
