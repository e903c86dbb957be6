/** Jobs over HTTP, while no Temporal server is there: what is recorded is enough. */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BLOB_SIZE } from '../../../servers/http/limits.ts';
import { wantedJob } from '../../stores/contract/jobs.ts';
import { startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service?.close());

const asked = async (change: Parameters<typeof wantedJob>[0] = {}) =>
  (await service.records.jobs.request(wantedJob(change))).job;

describe('refused', () => {
  test.each([
    ['GET', '/v1/jobs/no-id', 404, 'job.missing'],
    ['GET', '/v1/jobs/no-id/log', 404, 'job.missing'],
    ['POST', '/v1/jobs/no-id/cancel', 404, 'job.missing'],
    ['GET', '/v1/jobs?state=asleep', 400, 'input.invalid'],
    ['GET', '/v1/jobs?limit=0', 400, 'input.invalid'],
    ['GET', '/v1/jobs/no-id/log?after=-1', 400, 'input.invalid'],
  ])('%s %s is %i %s', async (method, path, status, code) => {
    const answer = await service.call(method, path);
    expect([answer.status, answer.json.code]).toEqual([status, code]);
  });

  test('a kind that nobody knows', async () => {
    const answer = await service.call('POST', '/v1/jobs', { body: { kind: 'moon.fly' } });
    expect([answer.status, answer.json.code]).toEqual([404, 'job.kind_unknown']);
  });

  test('a token without the scope', async () => {
    const token = await service.token('runs:*');
    for (const [method, path] of [
      ['GET', '/v1/jobs'],
      ['GET', '/v1/jobs/1'],
      ['GET', '/v1/jobs/1/log'],
      ['POST', '/v1/jobs'],
      ['POST', '/v1/jobs/1/cancel'],
    ] as const) {
      const answer = await service.call(method, path, { token, ...(method === 'POST' ? { body: { kind: 'x' } } : {}) });
      expect([path, answer.status, answer.json.code]).toEqual([path, 403, 'scope.missing']);
    }
    const reader = await service.token('jobs:read');
    expect((await service.call('POST', '/v1/jobs/1/cancel', { token: reader })).status).toBe(403);
  });
});

describe('an import is refused before it is a job', () => {
  const bytes = Buffer.from('<feedback/>');
  const upload = async () =>
    (await service.call('POST', '/v1/blobs', { body: bytes })).json as { key: string; sha256: string; size: number };
  const ask = (archive: unknown, token?: string) =>
    service.call('POST', '/v1/jobs', { body: { kind: 'dmarc.import', parameters: { archive } }, token });
  const [zeros, ones] = ['0'.repeat(64), '1'.repeat(64)];

  test.each([
    ['that was never uploaded', { key: `uploads/${zeros}`, sha256: zeros, size: 11 }, 404, 'blob.missing', 'archive'],
    ['under a key that is none', { key: '../records.sqlite', sha256: zeros }, 404, 'blob.missing', 'archive'],
    ['under the hash of another', { sha256: ones }, 400, 'input.invalid', 'archive.sha256'],
    ['of another size', { size: 12 }, 400, 'input.invalid', 'archive.size'],
    ['without its hash', { sha256: undefined }, 400, 'input.invalid', 'archive.sha256'],
    ['with a hash that is none', { sha256: 'x' }, 400, 'input.invalid', 'archive.sha256'],
    ['about no domain that is known', {}, 422, 'dmarc.no_domain', undefined],
  ])('%s', async (_, change, status, code, field) => {
    const answer = await ask({ ...(await upload()), ...change });
    expect([answer.status, answer.json.code, answer.json.field]).toEqual([
      status,
      code,
      field && `parameters.${field}`,
    ]);
    expect(answer.json.fix).toMatch(/\w/);
    expect(await service.records.jobs.list({ kind: 'dmarc.import' })).toEqual([]);
  });

  test('by a token that may ask for jobs and not change reports, or may store nothing', async () => {
    const asks = await service.token('jobs:*');
    const answer = await ask(await upload(), asks);
    expect([answer.status, answer.json.code, answer.json.scope]).toEqual([403, 'scope.missing', 'dmarc:write']);
    const stores = await service.call('POST', '/v1/blobs', { body: bytes, token: asks });
    expect([stores.status, stores.json.code, stores.json.scope]).toEqual([403, 'scope.missing', 'blobs:write']);
    const nobody = await service.call('POST', '/v1/blobs', { body: bytes, token: null });
    expect([nobody.status, nobody.json.code]).toEqual([401, 'token.required']);
  });

  test('larger than an upload may be, in chunks that do not say so', async () => {
    async function* chunks() {
      for (let sent = 0; sent <= BLOB_SIZE; sent += 1_048_576) yield Buffer.alloc(1_048_576);
    }
    const { status, problem } = await chunked(chunks());
    expect([status, problem.code, problem.maxBytes]).toEqual([413, 'blob.too_large', BLOB_SIZE]);
  });

  /** By hand: fetch gives up where the server answers before it has everything. */
  async function chunked(body: AsyncIterable<Buffer>): Promise<{ status: number; problem: Record<string, unknown> }> {
    const token = await service.token('blobs:write');
    const sent = request(`${service.url}/v1/blobs`, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    sent.on('error', () => undefined);
    void pipeline(body, sent).catch(() => undefined);
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    return { status: answer.statusCode ?? 0, problem: (await json(answer)) as Record<string, unknown> };
  }
});

describe('answered', () => {
  test('a list, filtered, a page at a time', async () => {
    const ids = [];
    for (let index = 0; index < 3; index += 1) ids.unshift((await asked({ key: 'list', kind: 'list.job' })).id);
    const first = await service.call('GET', '/v1/jobs?kind=list.job&limit=2');
    expect(first.json.items.map(({ id }: { id: string }) => id)).toEqual(ids.slice(0, 2));
    const second = await service.call('GET', `/v1/jobs?kind=list.job&limit=2&before=${first.json.next}`);
    expect([second.json.items.map(({ id }: { id: string }) => id), second.json.next]).toEqual([[ids[2]], null]);
    const waiting = await service.call('GET', '/v1/jobs?key=list&state=waiting,running');
    expect(waiting.json.items).toMatchObject([{ id: ids[0], state: 'waiting', runUrl: null }]);
  });

  test('one job with its progress, its log and the page of its run', async () => {
    const { id, key } = await asked();
    await service.records.jobs.take(key, 'a');
    await service.records.jobs.progress(id, { done: 3, total: null, words: 'three' });
    const job = await service.call('GET', `/v1/jobs/${id}`);
    expect(job.json).toMatchObject({
      state: 'running',
      progress: { done: 3, total: null, words: 'three' },
      runUrl: `http://127.0.0.1:8233/namespaces/default/workflows/job%2F${id}`,
    });
    const log = await service.call('GET', `/v1/jobs/${id}/log?limit=1`);
    expect(log.json).toMatchObject({ items: [{ line: 1, words: 'Asked for by token:t.' }], next: 1, open: true });
    await service.records.jobs.end(id, { state: 'failed', code: 'x.broken', text: 'It broke.' });
    const rest = await service.call('GET', `/v1/jobs/${id}/log?after=1`);
    expect(rest.json).toMatchObject({ items: [{ line: 2 }, { line: 3, words: 'It broke.' }], next: 3, open: false });
    const none = await service.call('GET', `/v1/jobs/${id}/log?after=3`);
    expect(none.json).toEqual({ items: [], next: 3, open: false });
  });

  test('a cancellation, which is kept although Temporal is away', { timeout: 30_000 }, async () => {
    const waiting = await asked();
    const cancelled = await service.call('POST', `/v1/jobs/${waiting.id}/cancel`);
    expect([cancelled.status, cancelled.json.state, cancelled.json.errorText]).toEqual([
      202,
      'cancelled',
      'Cancelled by token:all.',
    ]);
    const { id, key } = await asked();
    await service.records.jobs.take(key, 'a');
    expect((await service.call('POST', `/v1/jobs/${id}/cancel`)).json.state).toBe('cancelling');
    expect((await service.records.jobs.get(id))?.state).toBe('cancelling');
  });
});
