/** What Switchyard sees of n8n: an HTTP server whose webhooks answer as a test says, and that can be away and come back. */
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

export interface Call {
  path: string;
  headers: IncomingHttpHeaders;
  raw: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- a message is what the test says it is
  body: any;
}

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  /** Sent as JSON, or as it is when it is text. */
  body?: unknown;
}

/** Drops the connection instead of answering, as a killed n8n does. */
export const CUT = Symbol('cut');

type Webhook = (call: Call, times: number) => Answer | typeof CUT | Promise<Answer | typeof CUT>;

export interface FakeN8n {
  origin: string;
  url(path: string): string;
  /** Every message that was posted, pings left out. */
  calls(path: string): Call[];
  pings(path: string): Call[];
  /** Registers a webhook; n8n answers 404 JSON for any other path. Pings are answered as the nodes answer them. */
  on(path: string, webhook: Webhook): void;
  off(path: string): void;
  /** Nobody listens any more, and open connections break. */
  goAway(): Promise<void>;
  /** Listens again at the same port. */
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

/** The answer of the Mail Verdict node. */
export const verdict = (body: Record<string, unknown>): Answer => ({ headers: { 'x-switchyard-verdict': '1' }, body });

/** A path that answers as n8n does for every path while it starts. */
export const BOOTING = '/booting';
const HTML = { 'content-type': 'text/html' };

export async function startFakeN8n(): Promise<FakeN8n> {
  const webhooks = new Map<string, Webhook>();
  const received: Call[] = [];
  let server: Server | undefined;
  let port = 0;

  const listen = async (): Promise<void> => {
    server = createServer((request, response) => {
      void buffer(request)
        .then(async (bytes) => {
          const raw = bytes.toString('utf8');
          const call = { path: request.url ?? '', headers: request.headers, raw, body: raw ? JSON.parse(raw) : null };
          if (request.method !== 'POST') return send(response, { status: 200, body: 'n8n' });
          received.push(call);
          const webhook = webhooks.get(call.path);
          if (call.path === BOOTING) return send(response, { status: 404, headers: HTML, body: '<p>Cannot POST</p>' });
          if (!webhook) return send(response, { status: 404, body: { code: 404, message: 'not registered' } });
          if (call.body?.type === 'ping') return send(response, { body: { pong: true } });
          send(response, await webhook(call, calls(call.path).length));
        })
        .catch(() => response.destroy());
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  };
  const goAway = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    if (!closing) return;
    const closed = once(closing, 'close');
    closing.close();
    closing.closeAllConnections();
    await closed;
  };
  const isPing = ({ body }: Call): boolean => body?.type === 'ping';
  const calls = (path: string): Call[] => received.filter((call) => call.path === path && !isPing(call));

  await listen();
  const origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    url: (path) => origin + path,
    calls,
    pings: (path) => received.filter((call) => call.path === path && isPing(call)),
    on: (path, webhook) => void webhooks.set(path, webhook),
    off: (path) => void webhooks.delete(path),
    goAway,
    comeBack: listen,
    close: goAway,
  };
}

function send(response: ServerResponse, answer: Answer | typeof CUT): void {
  if (answer === CUT) return void response.destroy();
  const { status = 200, headers = {}, body } = answer;
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body));
}

/** Whether a call is signed by who knows the token, computed from the words of the specification and not with our code. */
export function isSignedWith(token: string, { headers, raw }: Call): boolean {
  const key = createHash('sha256').update(token, 'utf8').digest();
  const signed = `${headers['webhook-id'] as string}.${headers['webhook-timestamp'] as string}.${raw}`;
  const expected = `v1,${createHmac('sha256', key).update(signed, 'utf8').digest('base64')}`;
  const age = Date.now() / 1_000 - Number(headers['webhook-timestamp']);
  return headers['webhook-signature'] === expected && age > -300 && age < 300;
}
