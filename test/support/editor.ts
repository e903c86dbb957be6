/**
 * A real n8n for a test file: set up as `switchyard up` does it, with a given pack and given workflows, on free ports.
 * It ends with the test process, be that killed. Where n8n is not in the cache the test skips: see `editorIsMissing`.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EDITOR_GRACE_MS, EDITOR_HEAP_MB, editorEnvironment } from '../../cli/editor/environment.ts';
import { installPack, providePack } from '../../cli/editor/pack.ts';
import { findEditor } from '../../cli/editor/provide.ts';
import { OWNER_EMAIL, ownerPassword, secretFiles } from '../../cli/editor/secrets.ts';
import { signIn, type EditorSession } from '../../cli/editor/session.ts';
import { CREDENTIAL, setUp } from '../../cli/editor/set-up.ts';
import { EDITOR_FOLDER, untilReady } from '../../cli/editor/start.ts';
import { readTemplates, withCredential, type Template } from '../../cli/editor/templates.ts';
import type { GuardMessage } from '../../cli/up/guard.ts';
import { freePort } from '../../cli/up/ports.ts';
import { localUrl } from '../../stores/configuration/addresses.ts';
import type { Records } from '../../stores/records/port.ts';

const HOST = '127.0.0.1';
const READY_WITHIN_MS = 240_000;
const ENDS_WITHIN_MS = 120_000;

/** Reason to skip, said in one plain line; false where n8n is there. */
export function editorIsMissing(): boolean {
  if (findEditor()) return false;
  console.log('skipped: n8n is not in the cache; switchyard editor install brings it');
  return true;
}

export interface EditorOptions {
  /** Base URL of the API that the nodes call. */
  api: string;
  /** Where the token of the credential is made. */
  records: Pick<Records, 'tokens' | 'audit'>;
  /** A laid-out pack; default: this checkout's. */
  pack?: string;
  /** Mail domains of the Switchyard; default: that of the demo configuration. */
  domains?: string[];
  /** Default: those of the repository. */
  templates?: Template[];
  /** Like `.switchyard`; default: a new folder, removed by `close`. */
  state?: string;
  /** Default: a free one. Needed beforehand where Switchyard must know the origin of callbacks. */
  port?: number;
  /** Over what `up` sets. */
  environment?: NodeJS.ProcessEnv;
}

/** What the tests read of an execution (n8n's public API, `GET /executions/:id?includeData=true`). */
export interface Execution {
  id: string;
  status: string;
  data: {
    resultData: {
      runData: Record<string, NodeRun[]>;
      error?: { message: string; description?: string };
      lastNodeExecuted?: string;
    };
  };
}
export interface NodeRun {
  executionStatus: string;
  error?: { message: string; description?: string; httpCode?: string };
  data?: { main?: (Item[] | null)[] };
}
export interface Item {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an item is what the test says it is
  json: any;
  pairedItem?: { item: number; input?: number } | { item: number }[] | number;
  binary?: Record<string, { fileName?: string; mimeType: string; fileSize?: string }>;
}

export interface Answer {
  status: number;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- an answer is what the test says it is
  json: any;
}

export interface Editor {
  url: string;
  port: number;
  state: string;
  email: string;
  password: string;
  /** Of n8n itself. */
  pid(): number;
  /** All that n8n has written so far. */
  log(): string;
  /** Cookie and browser id of the owner, signed in. */
  session(): Promise<{ cookie: string; browserId: string }>;
  /** n8n's internal API (`/rest`...), or its public one (`/api/v1`...), as the owner. */
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  /** The workflow as it is kept. */
  workflow(id: string): Promise<Template & { active: boolean; versionId: string }>;
  /** Adds a workflow; its nodes get the credential. */
  addWorkflow(workflow: Partial<Template>): Promise<string>;
  publish(workflowId: string): Promise<Answer>;
  unpublish(workflowId: string): Promise<Answer>;
  /** Runs a saved workflow from a trigger as the button of the editor does, with what the trigger would have emitted. */
  run(workflowId: string, trigger: string, items?: unknown[]): Promise<string>;
  /** The execution, once it has one of the statuses; default: any in which it has ended. */
  execution(id: string, statuses?: string[]): Promise<Execution>;
  /** Ids of a workflow's executions, newest first, those that run included. */
  executions(workflowId: string): Promise<string[]>;
  stop(): Promise<void>;
  kill9(): Promise<void>;
  /** Starts it again, after `stop` or `kill9`, set up anew as every start is. */
  start(changes?: Partial<EditorOptions>): Promise<void>;
  /** Ends it and removes its folder. */
  close(): Promise<void>;
}

export const ENDED = ['success', 'error', 'crashed', 'canceled'];

/** Items that a node put out in one of its runs. */
export function itemsOf(execution: Execution, node: string, output = 0, run = 0): Item[] {
  return execution.data.resultData.runData[node]?.[run]?.data?.main?.[output] ?? [];
}

export async function startEditor(options: EditorOptions): Promise<Editor> {
  const program = findEditor();
  if (!program) throw new Error('n8n is not in the cache');
  const state = options.state ?? (await mkdtemp(join(tmpdir(), 'switchyard-editor-')));
  const folder = join(state, EDITOR_FOLDER);
  const port = options.port ?? (await freePort(HOST));
  const listen = { host: HOST, port };
  const url = localUrl(listen);
  const logFile = join(state, 'logs', 'editor.log');
  mkdirSync(join(state, 'logs'), { recursive: true });
  let given = options;
  let guard: ChildProcess | undefined;
  let server: number | undefined;
  let signedIn: Promise<EditorSession> | undefined;
  let apiKey: Promise<string> | undefined;

  const start = async (changes: Partial<EditorOptions> = {}) => {
    given = { ...given, ...changes };
    installPack(folder, given.pack ?? (await providePack()));
    const environment = {
      ...editorEnvironment({
        folder,
        listen,
        brokerPort: await freePort(HOST),
        secrets: await secretFiles(state, folder, program),
        from: process.env,
      }),
      ...given.environment,
    };
    const { api: baseUrl, records, domains = ['demo.test'], templates = readTemplates() } = given;
    await setUp({ program, folder, environment, baseUrl, records, domains, templates, logFile });

    const log = openSync(logFile, 'a', 0o600);
    const command = [process.execPath, `--max-old-space-size=${EDITOR_HEAP_MB}`, program.script, 'start'];
    guard = fork(resolve('cli/up/guard.ts'), [String(EDITOR_GRACE_MS), ...command], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', log, log, 'ipc'],
    });
    closeSync(log);
    guard.on('message', (message: GuardMessage) => {
      server = message.type === 'server' ? message.pid : undefined;
    });
    const ended = once(guard, 'exit').then(() => {
      throw new Error(`n8n ended: ${readFileSync(logFile, 'utf8').split('\n').slice(-5).join('\n')}`);
    });
    await Promise.race([untilReady(url, AbortSignal.timeout(READY_WITHIN_MS)), ended]);
    ended.catch(() => undefined);
  };

  const end = async (signal: NodeJS.Signals) => {
    if (!guard || guard.exitCode !== null) return;
    const exited = once(guard, 'exit');
    if (server !== undefined) process.kill(server, signal);
    await exited;
  };

  const session = () => (signedIn ??= signIn(url, state));

  const call = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    if (!path.startsWith('/api/')) return (await session()).call(method, path, body);
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { 'x-n8n-api-key': await (apiKey ??= makeApiKey()), 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { status: answer.status, json: await answer.json() };
  };

  const ok = async (method: string, path: string, body?: unknown) => {
    const { status, json } = await call(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(json)}`);
    return json;
  };

  const makeApiKey = async () => {
    const scopes = ['execution:read', 'execution:list', 'workflow:read', 'workflow:list'];
    const { data } = await ok('POST', '/rest/api-keys', { label: randomUUID(), expiresAt: null, scopes });
    return data.rawApiKey as string;
  };

  const workflow = async (id: string) => (await ok('GET', `/rest/workflows/${id}`)).data;

  await start().catch(async (error: unknown) => {
    await end('SIGKILL');
    throw error;
  });

  return {
    url,
    port,
    state,
    email: OWNER_EMAIL,
    password: ownerPassword(state),
    pid: () => server ?? 0,
    log: () => readFileSync(logFile, 'utf8'),
    session,
    call,
    workflow,
    async addWorkflow(workflow) {
      const { data } = await ok('POST', '/rest/workflows', {
        connections: {},
        settings: { executionOrder: 'v1' },
        ...withCredential({ id: '', name: '', ...workflow, nodes: workflow.nodes ?? [] }, CREDENTIAL),
        id: workflow.id,
        name: workflow.name ?? randomUUID(),
      });
      return data.id as string;
    },
    publish: async (id) =>
      call('POST', `/rest/workflows/${id}/activate`, { versionId: (await workflow(id)).versionId }),
    unpublish: (id) => call('POST', `/rest/workflows/${id}/deactivate`, {}),
    async run(id, trigger, items = [{ json: {} }]) {
      const data = {
        startTime: Date.now(),
        executionTime: 0,
        executionIndex: 0,
        executionStatus: 'success',
        source: [],
        data: { main: [items] },
      };
      const answer = await ok('POST', `/rest/workflows/${id}/run`, {
        workflowData: await workflow(id),
        triggerToStartFrom: { name: trigger, data },
      });
      return answer.data.executionId as string;
    },
    async execution(id, statuses = ENDED) {
      const until = Date.now() + ENDS_WITHIN_MS;
      for (;;) {
        const { status, json } = await call('GET', `/api/v1/executions/${id}?includeData=true`);
        if (status === 200 && statuses.includes(json.status)) return json as Execution;
        if (Date.now() > until) throw new Error(`execution ${id}: ${status} ${json?.status}`);
        await sleep(200);
      }
    },
    async executions(workflowId) {
      // The public API leaves out those that still run.
      const filter = encodeURIComponent(JSON.stringify({ workflowId }));
      const { data } = await ok('GET', `/rest/executions?filter=${filter}`);
      return (data.results as { id: string }[]).map(({ id }) => id);
    },
    stop: () => end('SIGTERM'),
    kill9: () => end('SIGKILL'),
    start,
    async close() {
      await end('SIGTERM');
      if (!options.state) rmSync(state, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
