import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkEditor } from '../../cli/doctor/editor.ts';
import { contextFor } from '../../cli/doctor/examine.ts';
import { PACK_NAME } from '../../cli/editor/pack.ts';
import { CREDENTIAL } from '../../cli/editor/set-up.ts';
import type { Template } from '../../cli/editor/templates.ts';
import { startService, type Service } from '../servers/http/service.ts';
import { editorIsMissing, startEditor, type Editor } from '../support/editor.ts';

/** n8n's start on a busy machine with two cores, more than once. */
const SLOW = 600_000;

/** Answers when it is published and n8n runs; one node of the pack beside it. */
const answering = (id: string, publish: boolean): Template => ({
  id,
  name: `Answers (${id})`,
  active: false,
  nodes: [
    {
      id: `${id}-webhook`,
      name: 'Webhook',
      type: 'n8n-nodes-base.webhook',
      typeVersion: 2,
      position: [0, 0],
      webhookId: `${id}-webhook`,
      parameters: { path: id, httpMethod: 'GET', responseMode: 'onReceived', options: { responseData: id } },
    },
    {
      id: `${id}-ours`,
      name: 'Switchyard Mail',
      type: `${PACK_NAME}.switchyardMail`,
      typeVersion: 1,
      position: [200, 0],
      parameters: {},
    },
  ],
  connections: {},
  settings: { executionOrder: 'v1' },
  pinData: {},
  meta: publish ? { switchyard: { publish: { domains: ['demo.test'] } } } : {},
  tags: [],
});

describe.skipIf(editorIsMissing())('the editor, from its first start on', { timeout: SLOW }, () => {
  let service: Service;
  let former: Service | undefined;
  let editor: Editor;
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-editor-'));
  const state = join(folder, 'editor');
  const serviceState = join(folder, 'service');
  const first = [answering('published', true), answering('draft', false), answering('unwanted', false)];

  beforeAll(async () => {
    service = await startService({ state: serviceState });
    editor = await startEditor({ api: service.url, records: service.records, templates: first, state });
  }, SLOW);
  afterAll(async () => {
    await editor?.close();
    await service?.close();
    await former?.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }, SLOW);

  const testCredential = async () => {
    const { json } = await editor.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
    return editor.call('POST', '/rest/credentials/test', { credentials: json.data });
  };
  const editorTokens = async ({ records }: Service) =>
    (await records.tokens.list()).filter(({ name }) => name === 'editor');
  const webhook = async (path: string) => (await fetch(`${editor.url}/webhook/${path}`)).status;
  /** Right after the start, n8n may not have registered it yet. */
  const answers = async (path: string) => {
    await expect.poll(() => webhook(path), { timeout: 60_000, interval: 250 }).toBe(200);
  };

  it('lets the owner in with the password of the file, and nobody with another', async () => {
    const { json } = await editor.call('GET', '/rest/login');
    expect(json.data).toMatchObject({ email: editor.email, role: 'global:owner' });
    expect(readFileSync(join(state, 'editor-password'), 'utf8')).toBe(editor.password);
    const refused = await fetch(`${editor.url}/rest/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ emailOrLdapLoginId: editor.email, password: `${editor.password}x` }),
    });
    expect(refused.status).toBe(401);
  });

  it('has a credential that the API accepts, with a token that cannot make others', async () => {
    expect((await testCredential()).json.data).toMatchObject({ status: 'OK' });
    const [token, ...others] = await editorTokens(service);
    expect(others).toEqual([]);
    expect(token?.scopes).toContain('mail:write');
    expect(token?.scopes.join()).not.toMatch(/\*|tokens/);
  });

  it('has every workflow, the credential in the nodes of the pack alone, and runs those that are published', async () => {
    for (const { id, name } of first) {
      const workflow = await editor.workflow(id);
      expect(workflow.name).toBe(name);
      expect(workflow.nodes.map(({ credentials }) => credentials)).toEqual([
        undefined,
        { [CREDENTIAL.type]: { id: CREDENTIAL.id, name: CREDENTIAL.name } },
      ]);
    }
    await answers('published');
    expect(await webhook('draft')).toBe(404);
  });

  it('knows the nodes of the pack', async () => {
    const types = await fetch(`${editor.url}/types/nodes.json`, { headers: await editor.session().then(cookies) });
    const names = ((await types.json()) as { name: string }[]).map(({ name }) => name);
    expect(names).toContain(`${PACK_NAME}.switchyardMail`);
  });

  it('keeps its secrets in files of its owner, out of the log and off the command line', async () => {
    const files = ['editor-password', 'n8n/encryption-key', 'n8n/owner-password-hash', 'n8n/.n8n/config'];
    for (const file of files) expect(statSync(join(state, file)).mode & 0o077, file).toBe(0);
    expect(existsSync(join(state, 'n8n/.import.json'))).toBe(false);
    // Linux alone shows them as files.
    const [commandLine, environment] = ['cmdline', 'environ'].map((name) =>
      process.platform === 'linux' ? readFileSync(`/proc/${editor.pid()}/${name}`, 'utf8') : '',
    );
    for (const file of ['editor-password', 'n8n/encryption-key', 'n8n/owner-password-hash']) {
      const secret = readFileSync(join(state, file), 'utf8');
      for (const text of [editor.log(), commandLine, environment]) expect(text?.includes(secret), file).toBe(false);
    }
    expect(editor.log()).not.toMatch(/\bsy_[\w-]{20}/);
  });

  it('keeps what a person changed, leaves deleted what they deleted, brings what is new, and follows the API', async () => {
    const changed = await editor.workflow('published');
    const nodes = changed.nodes.filter(({ type }) => !type.startsWith(PACK_NAME));
    const update = await editor.call('PATCH', '/rest/workflows/published', {
      name: 'Mine now',
      nodes,
      connections: {},
      versionId: changed.versionId,
    });
    expect(update.status).toBe(200);
    expect((await editor.publish('draft')).status).toBe(200);
    expect((await editor.call('POST', '/rest/workflows/unwanted/archive', {})).status).toBe(200);
    expect((await editor.call('DELETE', '/rest/workflows/unwanted')).status).toBe(200);
    const [before] = await editorTokens(service);

    await editor.stop();
    const moved = await startService({ state: serviceState });
    const templates = [...first, answering('new', true)];
    await editor.start({ api: moved.url, records: moved.records, templates });
    try {
      const kept = await editor.workflow('published');
      expect(kept.name).toBe('Mine now');
      expect(kept.nodes).toHaveLength(1);
      await answers('published');
      await answers('draft');
      await answers('new');
      expect((await editor.call('GET', '/rest/workflows/unwanted')).status).toBe(404);

      const { json } = await editor.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
      expect(json.data.data.baseUrl).toBe(moved.url);
      expect((await testCredential()).json.data).toMatchObject({ status: 'OK' });
      const after = await editorTokens(moved);
      expect(after).toHaveLength(1);
      expect(after[0]?.id).not.toBe(before?.id);
    } finally {
      former = service;
      service = moved;
    }
  });

  it('keeps the owner signed in over a restart, and leaves a credential alone that a person changed', async () => {
    const { json } = await editor.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
    const token = await service.token('*');
    const mine = { name: 'Mine', type: CREDENTIAL.type, data: { ...json.data.data, token } };
    expect((await editor.call('PATCH', `/rest/credentials/${CREDENTIAL.id}`, mine)).status).toBe(200);

    await editor.kill9();
    await editor.start({ api: 'http://127.0.0.1:9' });
    expect((await editor.call('GET', '/rest/login')).status).toBe(200);
    const left = await editor.call('GET', `/rest/credentials/${CREDENTIAL.id}?includeData=true`);
    expect(left.json.data).toMatchObject({ name: 'Mine', data: { baseUrl: service.url } });
    await answers('published');
  });

  it('is examined by the doctor, who hears from the API what it thinks of the credential', async () => {
    const configuration = { ...service.configuration, state };
    const addresses = { ...service.addresses, editor: { host: '127.0.0.1', port: editor.port } };
    const running = { state, version: '', startedAt: '', addresses, pids: {} };
    const examine = () => checkEditor({ ...contextFor(configuration, {}), addresses, running });
    expect((await examine()).map(({ name, state }) => [name, state])).toEqual([
      ['editor', 'ok'],
      ['credential', 'ok'],
    ]);
    const stale = { name: 'Mine', type: CREDENTIAL.type, data: { baseUrl: service.url, token: 'sy_of-another' } };
    expect((await editor.call('PATCH', `/rest/credentials/${CREDENTIAL.id}`, stale)).status).toBe(200);
    expect((await examine())[1]).toMatchObject({ state: 'fail', fix: expect.stringContaining('/home/credentials') });
  });
});

function cookies({ cookie, browserId }: { cookie: string; browserId: string }): Record<string, string> {
  return { cookie, 'browser-id': browserId };
}
