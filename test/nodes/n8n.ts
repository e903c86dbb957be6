/**
 * A thin stand-in for what n8n calls a node with. Its HTTP is real, through the pack's own credential; the rest is
 * what the test says. End to end the nodes run in a real n8n elsewhere.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type {
  IBinaryData,
  IDataObject,
  IExecuteFunctions,
  IHookFunctions,
  IHttpRequestOptions,
  ILoadOptionsFunctions,
  INode,
  INodeExecutionData,
  INodeType,
  ITriggerFunctions,
  IWebhookFunctions,
} from 'n8n-workflow';
import { findPackTools } from '../../cli/build/pack-rules.ts';
import { SwitchyardApi } from '../../credentials/SwitchyardApi.credentials.ts';

/** Whether n8n-workflow is there; says so in one line where it is not. */
export const hasN8n = findPackTools() !== undefined;
if (!hasN8n) console.log('skipped: the tools of `npm run lint` are not in the cache, n8n-workflow among them');

export interface Credential {
  baseUrl: string;
  token: string;
}

export interface Stage {
  credential: Credential;
  parameters?: IDataObject;
  /** Parameters by item, over the others. */
  perItem?: IDataObject[];
  items?: INodeExecutionData[];
  node?: Partial<INode>;
  runIndex?: number;
  executionId?: string;
  parents?: { name: string; type: string; parameters?: Record<string, unknown> }[];
  isTool?: boolean;
  mode?: string;
  webhookUrl?: string;
  staticData?: IDataObject;
  contexts?: Record<string, Record<string, unknown>>;
}

export interface Double<Context> {
  context: Context;
  /** What the node told n8n. */
  told: { waits: Date[]; responses: unknown[]; hints: { message: string }[]; failures: Error[]; warnings: string[] };
  contexts: Record<string, Record<string, unknown>>;
  staticData: IDataObject;
  ticks: (() => void)[];
}

type AnyContext = IExecuteFunctions & IHookFunctions & ITriggerFunctions & IWebhookFunctions & ILoadOptionsFunctions;

/** Calls an HTTP service as n8n does it: statuses are no errors, connections that fail are. */
async function httpRequest(credential: Credential, options: IHttpRequestOptions): Promise<unknown> {
  const { method, url, baseURL, qs, body, headers, encoding } = await new SwitchyardApi().authenticate(
    { ...credential },
    options,
  );
  const query = new URLSearchParams(
    Object.entries(qs ?? {}).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString();
  const isRaw = Buffer.isBuffer(body) || body instanceof Readable;
  const answer = await fetch(`${baseURL}${url}${query ? `?${query}` : ''}`, {
    method,
    headers: { ...(isRaw || body === undefined ? {} : { 'content-type': 'application/json' }), ...headers } as Record<
      string,
      string
    >,
    ...(body === undefined ? {} : { body: (isRaw ? body : JSON.stringify(body)) as string, duplex: 'half' }),
  });
  if (encoding === 'stream') return { statusCode: answer.status, body: Readable.fromWeb(answer.body as never) };
  const text = await answer.text();
  return {
    statusCode: answer.status,
    body: /json/.test(answer.headers.get('content-type') ?? '') ? JSON.parse(text) : text,
  };
}

/** What n8n hands to a node, in any of its roles. */
export function stage(options: Stage): Double<AnyContext> {
  const { credential, parameters = {}, perItem = [], items = [{ json: {} }], parents = [] } = options;
  const told: Double<AnyContext>['told'] = { waits: [], responses: [], hints: [], failures: [], warnings: [] };
  const contexts = options.contexts ?? {};
  const staticData = options.staticData ?? {};
  const ticks: (() => void)[] = [];
  const node = { id: 'node-1', name: 'Node', type: 'n8n-nodes-switchyard.x', ...options.node } as INode;
  const files = new Map<string, Buffer>();
  const read = (name: string, itemIndex: number): unknown => {
    const path = name.split('.');
    return path.reduce<unknown>((value, part) => (value as IDataObject | undefined)?.[part], {
      ...parameters,
      ...perItem[itemIndex],
    });
  };
  const known: Record<string, unknown> = {
    '{{ $runIndex }}': options.runIndex ?? 0,
    '{{ $execution.resumeUrl }}': 'http://n8n.test/webhook-waiting/7',
    [`{{ $node[${JSON.stringify(node.name)}].context.switchyard }}`]: contexts.node?.switchyard,
  };
  const context = {
    logger: { warn: (text: string) => told.warnings.push(text) },
    helpers: {
      httpRequestWithAuthentication: async (_name: string, request: IHttpRequestOptions) =>
        httpRequest(credential, request),
      assertBinaryData: (itemIndex: number, name: string) => items[itemIndex]?.binary?.[name] as IBinaryData,
      getBinaryStream: async (id: string) => Readable.from([files.get(id) ?? Buffer.alloc(0)]),
      async prepareBinaryData(data: Buffer | Readable, fileName?: string, mimeType?: string) {
        const bytes = Buffer.isBuffer(data) ? data : await buffer(data);
        return { data: bytes.toString('base64'), mimeType: mimeType ?? '', fileName };
      },
      registerCron: (_cron: unknown, onTick: () => void) => ticks.push(onTick),
    },
    getCredentials: async () => credential,
    getNode: () => node,
    getWorkflow: () => ({ id: 'flow-1', name: 'My flow' }),
    getInstanceId: () => 'instance-1',
    getInstanceBaseUrl: () => 'http://n8n.test/',
    getExecutionId: () => options.executionId ?? '7',
    getMode: () => options.mode ?? 'trigger',
    getWorkflowStaticData: () => staticData,
    getParentNodes: () => parents,
    getInputData: () => items,
    getNodeParameter: (name: string, ...rest: unknown[]) => {
      const [itemIndex, fallback] = typeof rest[0] === 'number' ? [rest[0], rest[1]] : [0, rest[0]];
      const value = read(name, itemIndex as number);
      return value === undefined ? fallback : value;
    },
    getCurrentNodeParameter: (name: string) => read(name, 0),
    evaluateExpression: (expression: string) => known[expression],
    getContext: (of: string) => (contexts[of] ??= {}),
    continueOnFail: () => node.onError !== undefined && node.onError !== 'stopWorkflow',
    isToolExecution: () => options.isTool ?? false,
    putExecutionToWait: async (until: Date) => void told.waits.push(until),
    sendResponse: async (response: unknown) => void told.responses.push(response),
    addExecutionHints: (hint: { message: string }) => told.hints.push(hint),
    saveFailedExecution: (error: Error) => told.failures.push(error),
    getNodeWebhookUrl: () => options.webhookUrl ?? 'http://n8n.test/webhook/abc/mail',
  };
  return { context: context as unknown as AnyContext, told, contexts, staticData, ticks };
}

/** The default of every parameter that is shown for the given ones, as n8n fills them in. */
export function withDefaults(node: INodeType, given: IDataObject): IDataObject {
  const values: IDataObject = {};
  for (const { name, default: value, displayOptions } of node.description.properties) {
    const all = { ...values, ...given };
    const isShown = Object.entries(displayOptions?.show ?? {}).every(([key, choices]) => choices.includes(all[key]));
    const isHidden = Object.entries(displayOptions?.hide ?? {}).some(([key, choices]) => choices.includes(all[key]));
    if (isShown && !isHidden) values[name] = value as IDataObject[string];
  }
  return { ...values, ...given };
}

export interface Recorded {
  method: string;
  path: string;
  query: Record<string, string>;
  headers: IncomingHttpHeaders;
  /** Parsed where it is JSON. */
  body: unknown;
}

export interface Recorder {
  url: string;
  calls: Recorded[];
  close(): Promise<void>;
}

type Reply = { status: number; body?: unknown } | undefined;

/** Writes down what comes, then answers as told or hands it on to a real server. */
export async function startRecorder(
  options: { to?: string; answer?: (call: Recorded) => Reply | Promise<Reply> } = {},
): Promise<Recorder> {
  const calls: Recorded[] = [];
  const server = createServer((incoming, outgoing) => {
    void buffer(incoming).then(async (bytes) => {
      const url = new URL(incoming.url ?? '', 'http://recorder.test');
      const text = bytes.toString('utf8');
      const call: Recorded = {
        method: incoming.method ?? '',
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        headers: incoming.headers,
        body: /json/.test(incoming.headers['content-type'] ?? '') && text ? JSON.parse(text) : undefined,
      };
      calls.push(call);
      const reply = await options.answer?.(call);
      if (reply || !options.to) {
        const { status, body } = reply ?? { status: 404 };
        outgoing
          .writeHead(status, { 'content-type': 'application/json' })
          .end(body === undefined ? '' : JSON.stringify(body));
        return;
      }
      const onward = request(
        new URL(incoming.url ?? '', options.to),
        { method: incoming.method, headers: { ...incoming.headers, host: new URL(options.to).host } },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(outgoing);
        },
      );
      onward.on('error', () => outgoing.destroy());
      onward.end(bytes);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Nobody listens there. */
export const NOBODY: Credential = { baseUrl: 'http://127.0.0.1:1', token: 'sy_test' };
