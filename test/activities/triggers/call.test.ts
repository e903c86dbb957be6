/** Calls to callbacks over real sockets: where they may go, what is signed, what an answer may be. */
import { once } from 'node:events';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { createCallbacks } from '../../../activities/triggers/call.ts';
import { createResolver } from '../../../activities/network/dns.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { isSignedWith, startFakeN8n, type FakeN8n } from '../../support/fake-n8n.ts';

const TOKEN = 'sy_test';
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function n8nServer(): Promise<FakeN8n> {
  const n8n = await startFakeN8n();
  closing.push(() => n8n.close());
  n8n.on('/w', () => ({ body: { ok: true } }));
  return n8n;
}

async function listening<S extends Server | NetServer>(server: S, host = '127.0.0.1'): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, host);
  await once(server, 'listening');
  closing.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const callbacks = (
  origins: string[],
  { zones = {}, token = TOKEN }: { zones?: Record<string, string[]>; token?: string | null } = {},
) =>
  createCallbacks({
    resolver: createResolver(Configuration.parse({ dns: { zones } }).dns),
    tokens: {
      callbackKey: async () => (token === null ? undefined : createHash('sha256').update(token).digest()),
    },
    origins,
    allow: [],
    api: 'http://127.0.0.1:8080',
  });
const MESSAGE = { id: 'm1', body: { type: 'ping-like', words: 'Grüße' } };
const post = (from: ReturnType<typeof callbacks>, callbackUrl: string, timeoutMs = 10_000) =>
  from.post({ callbackUrl, tokenId: 't' }, MESSAGE, AbortSignal.timeout(timeoutMs));

describe('a callback', () => {
  test('is posted as JSON, signed over the bytes that were sent', async () => {
    const n8n = await n8nServer();
    const answer = await post(callbacks([n8n.origin]), n8n.url('/w'));
    expect(answer).toMatchObject({ status: 200, body: '{"ok":true}', headers: { 'content-type': 'application/json' } });
    const [call] = n8n.calls('/w');
    expect(call?.body).toEqual(MESSAGE.body);
    expect(call?.headers).toMatchObject({ 'content-type': 'application/json', 'webhook-id': 'm1' });
    expect(call && isSignedWith(TOKEN, call)).toBe(true);
  });

  test('goes to the address that the name was resolved to, with the name as Host', async () => {
    const n8n = await n8nServer();
    const port = new URL(n8n.origin).port;
    const origin = `http://n8n.internal.test:${port}`;
    await post(callbacks([origin], { zones: { 'n8n.internal.test': ['A 127.0.0.1'] } }), `${origin}/w`);
    expect(n8n.calls('/w')[0]?.headers.host).toBe(`n8n.internal.test:${port}`);
  });

  test('goes to this machine for localhost, whatever DNS says', async () => {
    const n8n = await n8nServer();
    const origin = `http://localhost:${new URL(n8n.origin).port}`;
    expect((await post(callbacks([origin]), `${origin}/w`)).status).toBe(200);
  });

  test('tries the next address where one takes no connection', async () => {
    const n8n = await n8nServer();
    const origin = `http://two.test:${new URL(n8n.origin).port}`;
    const zones = { 'two.test': ['A 127.0.0.99', 'A 127.0.0.1'] };
    expect((await post(callbacks([origin], { zones }), `${origin}/w`)).status).toBe(200);
  });

  test('goes nowhere but to allowed origins', async () => {
    const n8n = await n8nServer();
    const from = callbacks(['https://n8n.example.com', n8n.origin.replace('http:', 'https:')]);
    for (const url of [n8n.url('/w'), 'http://169.254.169.254/', 'file:///etc/passwd', 'nonsense'])
      await expect(post(from, url)).rejects.toMatchObject({
        name: 'PermanentError',
        code: 'trigger.origin_not_allowed',
      });
    expect(n8n.calls('/w')).toEqual([]);
  });

  test('follows no redirect', async () => {
    const n8n = await n8nServer();
    n8n.on('/moved', () => ({ status: 307, headers: { location: n8n.url('/w') } }));
    expect((await post(callbacks([n8n.origin]), n8n.url('/moved'))).status).toBe(307);
    expect(n8n.calls('/w')).toEqual([]);
  });

  test('is not made without the token that signs it', async () => {
    const n8n = await n8nServer();
    await expect(post(callbacks([n8n.origin], { token: null }), n8n.url('/w'))).rejects.toMatchObject({
      name: 'TemporaryError',
      code: 'trigger.key_missing',
      details: { sent: false },
    });
    expect(n8n.calls('/w')).toEqual([]);
  });
});

describe('without an answer it is said whether the message may have been read', () => {
  test('nobody listens: it was not', async () => {
    const server = createServer();
    const port = await listening(server);
    await closing.pop()?.();
    await once(server, 'close');
    await expect(post(callbacks([`http://127.0.0.1:${port}`]), `http://127.0.0.1:${port}/`)).rejects.toMatchObject({
      name: 'TemporaryError',
      code: 'trigger.unreachable',
      details: { sent: false },
    });
  });

  test('a name without an address: it was not', async () => {
    await expect(post(callbacks(['http://no.test']), 'http://no.test/')).rejects.toMatchObject({
      code: 'trigger.unreachable',
      details: { sent: false },
    });
  });

  test.each([
    ['the connection breaks', ''],
    ['it breaks within the answer', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'],
    ['it is not HTTP', '220 mail.test ESMTP\r\n'],
  ])('%s: it may have been', async (_how, bytes) => {
    const port = await listening(createServer((socket) => socket.once('data', () => socket.end(bytes))));
    await expect(post(callbacks([`http://127.0.0.1:${port}`]), `http://127.0.0.1:${port}/`)).rejects.toMatchObject({
      code: 'trigger.unreachable',
      details: { sent: true },
    });
  });

  test('an answer without end is cut off', async () => {
    let sent = 0;
    const server = createHttp((_request, response) => {
      const more = (): void => {
        while (response.write('x'.repeat(16_384))) sent += 16_384;
      };
      response.on('drain', more);
      more();
    });
    const port = await listening(server);
    await expect(post(callbacks([`http://127.0.0.1:${port}`]), `http://127.0.0.1:${port}/`)).rejects.toMatchObject({
      code: 'trigger.answer_too_large',
      details: { sent: true },
    });
    expect(sent).toBeLessThan(50_000_000);
  });

  test('silence ends with the signal of the caller', async () => {
    const port = await listening(createServer(() => undefined));
    await expect(post(callbacks([`http://127.0.0.1:${port}`]), `http://127.0.0.1:${port}/`, 300)).rejects.toMatchObject(
      { name: 'TimeoutError' },
    );
  });
});
