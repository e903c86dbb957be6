import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { z } from 'zod';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defineStep, type Step, type StepContext } from '../../../activities/step.ts';
import type { Dependencies } from '../../../activities/dependencies.ts';
import { createApp } from '../../../servers/http/app.ts';
import { createMetrics } from '../../../servers/http/metrics.ts';
import { createTokenGate } from '../../../servers/http/token-gate.ts';
import { createLog } from '../../../servers/log.ts';
import { lazyTemporal } from '../../../servers/temporal.ts';
import { BLOB_SIZE } from '../../../servers/http/limits.ts';
import { PermanentError, TemporaryError } from '../../../protocols/errors.ts';
import { startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const MESSAGE = 'From: Ann <ann@a.example>\r\nTo: bob@b.example\r\nSubject: Invoice 4711\r\n\r\nHello Bob\r\n';

describe('blobs', () => {
  test('what goes up comes down unchanged, under the SHA-256 of its bytes', async () => {
    const bytes = randomBytes(3_000_000);
    const up = await service.call('POST', '/v1/blobs?prefix=tests', { body: bytes });
    expect(up.status).toBe(201);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    expect(up.json).toEqual({ key: `tests/${sha256}`, sha256, size: bytes.length });
    const down = await fetch(`${service.url}/v1/blobs/${up.json.key}`, {
      headers: { authorization: `Bearer ${await service.token('blobs:read')}` },
    });
    expect(down.headers.get('content-disposition')).toMatch(/^attachment/);
    expect(down.headers.get('content-type')).toBe('application/octet-stream');
    expect(down.headers.get('x-content-type-options')).toBe('nosniff');
    expect(Buffer.from(await down.arrayBuffer()).equals(bytes)).toBe(true);
  });

  test('an upload has an owner for a day, so that the sweep leaves it alone', async () => {
    const { json } = await service.call('POST', '/v1/blobs', { body: 'keep me' });
    const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
    expect(await service.records.blobOwners.isOwned(json.key, inHours(23))).toBe(true);
    expect(await service.records.blobOwners.isOwned(json.key, inHours(25))).toBe(false);
  });

  test('HEAD answers the size and no body', async () => {
    const { json } = await service.call('POST', '/v1/blobs', { body: 'twelve bytes' });
    const head = await service.call('HEAD', `/v1/blobs/${json.key}`);
    expect([head.status, head.headers.get('content-length'), head.text]).toEqual([200, '12', '']);
  });

  test.each(['uploads/none', '..%2f..%2fetc/passwd', '%2e%2e/%2e%2e/records.sqlite', 'a%00b/c', 'token'])(
    '%s is no blob',
    async (key) => {
      const answer = await service.call('GET', `/v1/blobs/${key}`);
      expect(answer.status).toBe(404);
    },
  );

  test.each(['../x', 'a/b', '', 'UPPER', '.hidden'])('a prefix %j is refused', async (prefix) => {
    expect(
      (await service.call('POST', `/v1/blobs?prefix=${encodeURIComponent(prefix)}`, { body: 'x' })).json,
    ).toMatchObject({ status: 400, code: 'input.invalid' });
  });

  test('an upload over the limit is refused and nothing is kept', async () => {
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sent > BLOB_SIZE) return controller.close();
        sent += 1_048_576;
        controller.enqueue(new Uint8Array(1_048_576));
      },
    });
    const answer = await fetch(`${service.url}/v1/blobs?prefix=large`, {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { authorization: `Bearer ${await service.token('blobs:write')}` },
    } as RequestInit);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([413, 'blob.too_large']);
  });

  test('reading needs blobs:read and writing blobs:write', async () => {
    expect(
      (await service.call('POST', '/v1/blobs', { body: 'x', token: await service.token('blobs:read') })).json,
    ).toMatchObject({ status: 403, scope: 'blobs:write' });
    expect(
      (await service.call('GET', '/v1/blobs/uploads/x', { token: await service.token('blobs:write') })).json,
    ).toMatchObject({ status: 403, scope: 'blobs:read' });
  });
});

describe('steps', () => {
  test('a step runs on an uploaded message', async () => {
    const message = (await service.call('POST', '/v1/blobs', { body: MESSAGE })).json;
    const answer = await service.call('POST', '/v1/steps/mail.parse', { body: { message } });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({
      subject: 'Invoice 4711',
      from: { name: 'Ann', address: 'ann@a.example' },
      text: expect.stringContaining('Hello Bob'),
    });
  });

  test('an input that is not valid is 400 and names the field', async () => {
    const answer = await service.call('POST', '/v1/steps/mail.parse', {
      body: { message: { key: 'uploads/x', sha256: 'short', size: 1 } },
    });
    expect(answer.json).toMatchObject({ status: 400, code: 'input.invalid', field: 'message.sha256' });
    expect((await service.call('POST', '/v1/steps/mail.parse')).json).toMatchObject({
      status: 400,
      code: 'input.invalid',
    });
  });

  test('a message that is not there is 404 with the code of the step', async () => {
    const message = { key: `uploads/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 };
    expect((await service.call('POST', '/v1/steps/mail.parse', { body: { message } })).json).toMatchObject({
      status: 404,
      code: 'blob.missing',
    });
  });

  test('a step that does not exist is 404', async () => {
    expect((await service.call('POST', '/v1/steps/mail.fly', { body: {} })).json).toMatchObject({
      status: 404,
      code: 'step.unknown',
    });
    expect((await service.call('POST', '/v1/steps/mail.fly', { body: {}, token: null })).status).toBe(401);
  });

  test('each step asks for its own scope', async () => {
    expect(
      (await service.call('POST', '/v1/steps/mail.parse', { body: {}, token: await service.token('mail:write') })).json,
    ).toMatchObject({ status: 403, scope: 'mail:read' });
  });

  test('the list has the schemas', async () => {
    const { json } = await service.call('GET', '/v1/steps');
    const parse = json.items.find((one: { name: string }) => one.name === 'mail.parse');
    expect(parse).toMatchObject({ scope: 'mail:read', repeat: 'safe', takes: 'cpu' });
    expect(parse.input.properties.message.properties.sha256.pattern).toBe('^[0-9a-f]{64}$');
  });
});

describe('the door of a step', () => {
  const seen: StepContext[] = [];
  const probe = (name: string, run: (step: StepContext) => Promise<unknown>, repeat: Step['repeat'] = 'safe'): Step =>
    defineStep({
      name,
      summary: 'A step of this test.',
      input: z.object({}),
      output: z.object({ done: z.boolean() }),
      needs: [],
      takes: 'cpu',
      repeat,
      scope: 'mail:write',
      errors: [],
      async run(_input, _dependencies, step) {
        seen.push(step);
        await run(step);
        return { done: true };
      },
    });
  let aborted: Promise<void>;
  let tellAborted: () => void;
  const probes = [
    probe('test.once', async () => undefined, 'needs-key'),
    probe('test.waits', async ({ signal }) => {
      await once(signal, 'abort');
      tellAborted();
    }),
    probe('test.breaks', async () => {
      throw new Error('secret path /etc/shadow');
    }),
    probe('test.later', async () => {
      throw new TemporaryError({ code: 'test.busy', message: 'Busy.', fix: 'Wait.', retryAfterMs: 90_000 });
    }),
    probe('test.never', async () => {
      throw new PermanentError({
        code: 'test.impossible',
        message: 'It cannot be.',
        fix: 'Do something else.',
        details: { line: 7 },
      });
    }),
  ];
  let url: string;
  let stop: () => void;
  beforeAll(async () => {
    const { configuration, addresses, records } = service;
    const log = createLog('test', 'silent');
    const idle = new AbortController();
    const app = createApp({
      configuration,
      addresses,
      log,
      dependencies: { configuration, records } as Dependencies,
      temporal: lazyTemporal(configuration, addresses),
      tokenGate: createTokenGate(records.tokens),
      steps: probes,
      metrics: createMetrics(records),
      version: '1.2.3',
      cookieSecret: randomBytes(32),
      closing: idle.signal,
      ended: idle.signal,
    });
    const server = createAdaptorServer({ fetch: app.fetch });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    stop = () => server.close();
    aborted = new Promise((resolve) => (tellAborted = resolve));
  });
  afterAll(() => stop());
  const call = async (name: string, init: RequestInit = {}) =>
    fetch(`${url}/v1/steps/${name}`, {
      method: 'POST',
      body: '{}',
      ...init,
      headers: { authorization: `Bearer ${await service.token('mail:write')}`, ...init.headers },
    });

  test('a step that acts on the world demands an idempotency key', async () => {
    const answer = await call('test.once');
    expect([answer.status, await answer.json()]).toEqual([400, expect.objectContaining({ code: 'step.key_required' })]);
    expect((await call('test.once', { headers: { 'idempotency-key': 'order-1' } })).status).toBe(200);
  });

  test('the same key of two tokens is not the same act', async () => {
    seen.length = 0;
    await call('test.once', { headers: { 'idempotency-key': 'order-2' } });
    await call('test.once', { headers: { 'idempotency-key': 'order-2' } });
    const keys = seen.map((one) => one.idempotencyKey);
    expect(keys.every((key) => key.endsWith('/order-2'))).toBe(true);
    expect(keys[0]).not.toBe(keys[1]);
  });

  test('a caller who goes away aborts the step', async () => {
    const caller = new AbortController();
    const answer = call('test.waits', { signal: caller.signal }).catch(() => 'gone');
    while (seen.at(-1)?.signal.aborted !== false || seen.length < 3) await sleep(10);
    caller.abort();
    expect(await answer).toBe('gone');
    await aborted;
  });

  test('an error that nobody expected shows an id and none of its words', async () => {
    const answer = await call('test.breaks');
    const text = await answer.text();
    expect(answer.status).toBe(500);
    expect(text).not.toContain('shadow');
    expect(text).toContain(answer.headers.get('x-request-id') ?? randomUUID());
  });

  test('a temporary error is 503 with Retry-After in seconds', async () => {
    const answer = await call('test.later');
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '90']);
  });

  test('a permanent error is 422 with its code, its fix and its facts', async () => {
    const answer = await call('test.never');
    expect(answer.status).toBe(422);
    expect(await answer.json()).toMatchObject({
      code: 'test.impossible',
      detail: 'It cannot be.',
      fix: 'Do something else.',
      line: 7,
      status: 422,
    });
  });
});
