/** One http process for a test file: real stores in a temporary folder, a port of its own, tokens as needed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { startHttp } from '../../../servers/http/server.ts';
import { createLog } from '../../../servers/log.ts';
import type { Addresses } from '../../../stores/configuration/addresses.ts';
import { Configuration, type ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { MailActivity, Records } from '../../../stores/records/port.ts';

/** Nobody listens on the discard port here. */
export const NO_TEMPORAL = '127.0.0.1:9';

export interface Service {
  url: string;
  port: number;
  configuration: Configuration;
  addresses: Addresses;
  /** A second connection to the same records. */
  records: Records;
  /** The plain text of a new token. */
  token(...scopes: string[]): Promise<string>;
  /** Calls the API with a token that may do everything, or with the given one. */
  call(
    method: string,
    path: string,
    options?: { body?: unknown; token?: string | null; headers?: Record<string, string> },
  ): Promise<Answer>;
  close(): Promise<void>;
}

export interface Answer {
  status: number;
  headers: Headers;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an answer is what the test says it is
  json: any;
  text: string;
}

export async function startService(
  options: {
    temporal?: string;
    configuration?: ConfigurationInput;
    /** An earlier service's state. */ state?: string;
    /** Of a worker that is there. */ taskQueue?: string;
  } = {},
): Promise<Service> {
  const state = options.state ?? (await mkdtemp(join(tmpdir(), 'switchyard-http-')));
  const configuration = Configuration.parse({
    ...options.configuration,
    state,
    temporal: { taskQueue: options.taskQueue ?? randomUUID() },
  } satisfies ConfigurationInput);
  const none = { host: '127.0.0.1', port: 0 };
  const addresses: Addresses = {
    temporal: options.temporal ?? NO_TEMPORAL,
    temporalUi: 'http://127.0.0.1:8233',
    smtp: none,
    http: none,
    inbox: none,
    editor: null,
    workerMetrics: none,
    smtpMetrics: none,
  };
  const server = await startHttp({ configuration, addresses, log: createLog('test', 'silent') });
  const records = await openRecords(configuration);
  const { token: all } = await records.tokens.create('all', ['*']);
  const url = `http://127.0.0.1:${server.port}`;
  return {
    url,
    port: server.port,
    configuration,
    addresses,
    records,
    async token(...scopes) {
      return (await records.tokens.create(scopes.join(' '), scopes)).token;
    },
    async call(method, path, { body, token = all, headers = {} } = {}) {
      const answer = await fetch(url + path, {
        method,
        headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers },
        ...(body === undefined
          ? {}
          : { body: typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body) }),
      });
      const text = await answer.text();
      return {
        status: answer.status,
        headers: answer.headers,
        text,
        json: text.startsWith('{') ? JSON.parse(text) : undefined,
      };
    },
    async close() {
      await server.close();
      await records.close();
      await rm(state, { recursive: true, force: true });
    },
  };
}

/** A request as a browser or a proxy sends it, with the Host header that `fetch` does not let one choose. */
export function browse(
  port: number,
  path: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<{ status: number; headers: Record<string, string | string[] | undefined>; text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { host: '127.0.0.1', port, path, method, headers: { accept: 'text/html', ...headers } },
      (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text }));
      },
    );
    outgoing.on('error', reject).end(body);
  });
}

/** A delivered message; give what matters. `id` must be a UUIDv7: ids are the order in time. */
export function activity(given: Partial<MailActivity> & Pick<MailActivity, 'id'>): MailActivity {
  return {
    deliveryKey: null,
    receivedAt: new Date().toISOString(),
    messageId: randomUUID(),
    sourceAddress: '203.0.113.7',
    helo: 'mail.a.example',
    tls: null,
    sender: 'ann@a.example',
    recipient: 'bob@b.example',
    headerFrom: 'Ann <ann@a.example>',
    headerMessageId: '<1@a.example>',
    subject: 'Hello',
    blob: null,
    authentication: null,
    ruleId: null,
    action: null,
    outcome: 'delivered',
    errorCode: null,
    errorText: null,
    reply: null,
    attempts: 1,
    resent: false,
    workflowId: null,
    closedAt: null,
    ...given,
  };
}

/** UUIDv7 (RFC 9562, 5.7) of a number: `n` milliseconds after some moment. */
export function idAt(n: number): string {
  const time = (0x0193_0000_0000 + n).toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`;
}
