import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

describe('tokens', () => {
  test('a call without a token is 401 as RFC 9457 problem details, and says where the token lies', async () => {
    const answer = await service.call('GET', '/v1/whoami', { token: null });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    // RFC 6750, section 3.
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /);
    expect(answer.json).toMatchObject({
      status: 401,
      code: 'token.required',
      title: expect.any(String),
      detail: expect.any(String),
      type: expect.any(String),
    });
    expect(answer.json.fix).toContain('state folder');
  });

  test('a token that is not known is 401', async () => {
    const answer = await service.call('GET', '/v1/whoami', { token: 'sy_made-up' });
    expect([answer.status, answer.json.code]).toEqual([401, 'token.unknown']);
  });

  test('unknown tokens without end are 429, and who had a good one is not kept out by them', async () => {
    const other = await startService();
    try {
      const good = await other.token('*');
      expect((await other.call('GET', '/v1/whoami', { token: good })).status).toBe(200);
      const ask = (token: string) => other.call('GET', '/v1/whoami', { token });
      const statuses = [];
      for (let n = 0; n < 60; n++) statuses.push((await ask(`sy_guess-${n}`)).status);
      expect(statuses.slice(0, 20)).toEqual(Array(20).fill(401));
      expect(statuses.slice(40)).toEqual(Array(20).fill(429));
      const last = await ask('sy_guess');
      expect([last.status, last.json.code]).toEqual([429, 'token.too_many']);
      expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
      const form = { method: 'POST', body: new URLSearchParams({ token: 'sy_guess' }) };
      expect((await fetch(`${other.url}/signin`, form)).status).toBe(429);
      expect((await ask(good)).status).toBe(200);
    } finally {
      await other.close();
    }
  });

  test('a token in the URL is no token', async () => {
    const token = await service.token('*');
    for (const name of ['access_token', 'token']) {
      const answer = await service.call('GET', `/v1/whoami?${name}=${token}`, { token: null });
      expect(answer.status).toBe(401);
    }
  });

  test('whoami says name, scopes and version', async () => {
    const answer = await service.call('GET', '/v1/whoami', { token: await service.token('mail:read', 'runs:read') });
    expect(answer.json).toEqual({
      name: 'mail:read runs:read',
      scopes: ['mail:read', 'runs:read'],
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
  });

  test('a missing scope is 403 and named', async () => {
    const answer = await service.call('GET', '/v1/mail/rules', { token: await service.token('runs:read') });
    expect(answer.status).toBe(403);
    expect(answer.json).toMatchObject({ code: 'scope.missing', scope: 'mail:read' });
    expect(answer.json.detail).toContain('mail:read');
  });

  test.each([['*'], ['mail:*'], ['mail:read']])('the scope %s lets one read mail', async (scope) => {
    expect((await service.call('GET', '/v1/mail/rules', { token: await service.token(scope) })).status).toBe(200);
  });

  test('an area gives nothing of another area', async () => {
    expect(
      (await service.call('GET', '/v1/mail/rules', { token: await service.token('rules:*', 'mail:write') })).status,
    ).toBe(403);
  });

  test('a token cannot give what it does not have', async () => {
    const weak = await service.token('tokens:write', 'mail:read');
    expect(
      (await service.call('POST', '/v1/tokens', { token: weak, body: { name: 'x', scopes: ['*'] } })).json,
    ).toMatchObject({ status: 403, scope: '*' });
    expect(
      (await service.call('POST', '/v1/tokens', { token: weak, body: { name: 'x', scopes: ['mail:*'] } })).status,
    ).toBe(403);
    expect(
      (await service.call('POST', '/v1/tokens', { token: weak, body: { name: 'x', scopes: ['mail:read'] } })).status,
    ).toBe(201);
  });

  test('a made token works until it is removed, its secret is never shown again, and both are in the audit log', async () => {
    const made = await service.call('POST', '/v1/tokens', { body: { name: 'ci', scopes: ['runs:read'] } });
    expect(made.status).toBe(201);
    const { token, id } = made.json;
    expect((await service.call('GET', '/v1/whoami', { token })).json.name).toBe('ci');
    expect((await service.call('GET', '/v1/tokens')).text).not.toContain(token);
    expect((await service.call('DELETE', `/v1/tokens/${id}`)).status).toBe(204);
    expect((await service.call('GET', '/v1/whoami', { token })).status).toBe(401);
    expect((await service.call('DELETE', `/v1/tokens/${id}`)).json.code).toBe('token.missing');
    const audit = await service.call('GET', '/v1/audit');
    const actions = audit.json.items.map((one: { action: string }) => one.action);
    expect(actions).toEqual(expect.arrayContaining(['token.added', 'token.removed']));
    expect(audit.text).not.toContain(token);
  });

  test('a scope that does not exist is refused with the field', async () => {
    const answer = await service.call('POST', '/v1/tokens', { body: { name: 'x', scopes: ['mail:reed'] } });
    expect(answer.json).toMatchObject({ status: 400, code: 'input.invalid', field: 'scopes.0' });
  });
});

describe('bad requests', () => {
  test('an address that is not there is 404 with a code', async () => {
    const answer = await service.call('GET', '/v1/nothing');
    expect(answer.json).toMatchObject({ status: 404, code: 'page.missing' });
  });

  test('a body that is not JSON is 400', async () => {
    expect((await service.call('POST', '/v1/tokens', { body: '{"name":' })).json).toMatchObject({
      status: 400,
      code: 'input.not_json',
    });
  });

  test('a body over the limit is 413, also without Content-Length', async () => {
    const large = new Uint8Array(1_048_577).fill(32);
    expect((await service.call('POST', '/v1/tokens', { body: large })).json).toMatchObject({
      status: 413,
      code: 'input.too_large',
    });
    const stream = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(65_536).fill(32));
      },
    });
    const answer = await fetch(`${service.url}/v1/tokens`, {
      method: 'POST',
      body: stream,
      duplex: 'half',
      headers: { authorization: `Bearer ${await service.token('*')}` },
    } as RequestInit).then(
      (one) => one.status,
      () => 'connection closed',
    );
    expect([413, 'connection closed']).toContain(answer);
  });

  test('every answer carries an id and forbids sniffing and framing', async () => {
    const { headers } = await service.call('GET', '/v1/whoami', { token: null });
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
  });
});

describe('health', () => {
  test('the process is up', async () => {
    expect((await service.call('GET', '/healthz', { token: null })).json).toMatchObject({ status: 'up' });
  });

  test('while Temporal is away the process is not ready and says which part is missing', async () => {
    const answer = await service.call('GET', '/readyz', { token: null });
    expect([answer.status, answer.json]).toEqual([
      503,
      { ready: false, parts: { records: 'ok', blobs: 'ok', temporal: 'away' } },
    ]);
  });

  test('metrics tell requests by route, not by address', async () => {
    await service.call('GET', '/v1/mail/activity/0193-not-there');
    const { text } = await service.call('GET', '/metrics', { token: null });
    expect(text).toMatch(
      /switchyard_http_request_duration_seconds_count\{method="GET",route="\/v1\/mail\/activity\/\{id\}",status="404"\} 1/,
    );
    expect(text).not.toContain('0193-not-there');
    expect(text).toMatch(/^switchyard_mail_oldest_open_seconds 0$/m);
  });
});
