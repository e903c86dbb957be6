/** Registrations over HTTP: what is taken, what is refused and with which words. */
import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../../cli/up/ports.ts';
import { startFakeN8n, type FakeN8n } from '../../support/fake-n8n.ts';
import { activity, idAt, startService, type Service } from './service.ts';

let n8n: FakeN8n;
let service: Service;
let nobody: string;
beforeAll(async () => {
  n8n = await startFakeN8n();
  nobody = `http://127.0.0.1:${await freePort('127.0.0.1')}`;
  service = await startService({ configuration: { triggers: { callbackOrigins: [n8n.origin, nobody] } } });
  await service.records.rules.applyDeclared([
    { domain: 'demo.test', rules: [{ localPart: 'file', action: { type: 'drop' } }] },
  ]);
});
afterAll(async () => {
  await service?.close();
  await n8n?.close();
});

const mail = (change: Record<string, unknown> = {}) => ({
  kind: 'mail',
  name: 'Sales',
  callbackUrl: n8n.url('/webhook/1/mail'),
  addresses: ['sales@demo.test'],
  answer: 'verdict',
  ...change,
});
const put = (id: string, body: unknown, token?: string) =>
  service.call('PUT', `/v1/triggers/${id}`, { body, ...(token ? { token } : {}) });

describe('a registration', () => {
  test('is answered with what holds, found again, renewed, and removed', async () => {
    const first = await put('n8n:i:w:node', mail({ addresses: ['Sales@DEMO.test', 'sales@demo.test', '*@demo.test'] }));
    expect([first.status, first.json]).toEqual([
      200,
      expect.objectContaining({
        id: 'n8n:i:w:node',
        kind: 'mail',
        name: 'Sales',
        addresses: ['sales@demo.test', '*@demo.test'],
        answer: 'verdict',
        timeout: 30,
        trouble: { code: 451, text: expect.any(String) },
        test: false,
        link: null,
      }),
    ]);
    expect(first.text).not.toContain('token');
    const lease = Date.parse(first.json.leaseUntil) - Date.now();
    expect(lease).toBeGreaterThan(9 * 60_000);
    expect(lease).toBeLessThanOrEqual(10 * 60_000);
    const again = await put('n8n:i:w:node', mail());
    expect(again.json).toMatchObject({ createdAt: first.json.createdAt, addresses: ['sales@demo.test'] });
    expect((await service.call('GET', '/v1/triggers/n8n:i:w:node')).json).toEqual(again.json);
    expect((await service.call('GET', '/v1/triggers')).json.items).toEqual([again.json]);
    const rules = (await service.call('GET', '/v1/mail/rules')).json.items;
    expect(rules).toContainEqual(
      expect.objectContaining({
        localPart: 'sales',
        source: 'trigger',
        action: { type: 'trigger', trigger: 'n8n:i:w:node', name: 'Sales' },
      }),
    );
    expect((await service.call('DELETE', '/v1/triggers/n8n:i:w:node')).status).toBe(204);
    expect((await service.call('DELETE', '/v1/triggers/n8n:i:w:node')).status).toBe(204);
    expect((await service.call('GET', '/v1/triggers/n8n:i:w:node')).json).toMatchObject({
      status: 404,
      code: 'trigger.missing',
    });
  });

  test('for a try ends within minutes', async () => {
    const { json } = await put('try', mail({ test: true }));
    expect(Date.parse(json.leaseUntil) - Date.now()).toBeLessThanOrEqual(3 * 60_000);
    await service.call('DELETE', '/v1/triggers/try');
  });

  test('counts any HTTP answer of n8n as reachable and calls no webhook for it', async () => {
    expect((await put('reach', mail({ callbackUrl: n8n.url('/webhook/not/registered') }))).status).toBe(200);
    expect(n8n.calls('/webhook/not/registered')).toEqual([]);
    expect(n8n.pings('/webhook/not/registered')).toEqual([]);
    await service.call('DELETE', '/v1/triggers/reach');
  });

  test('for runs has the ends that are bad, unless it names others', async () => {
    const body = { kind: 'run', name: 'Watch', callbackUrl: n8n.url('/webhook/2/run') };
    expect((await put('watch', body)).json).toMatchObject({
      workflows: [],
      outcomes: ['failed', 'cancelled', 'terminated', 'timed_out', 'bounced', 'quarantined'],
    });
    expect((await put('watch', { ...body, workflows: ['routeMail'], outcomes: ['completed'] })).json).toMatchObject({
      workflows: ['routeMail'],
      outcomes: ['completed'],
    });
    await service.call('DELETE', '/v1/triggers/watch');
  });

  test('for a wait keeps the order of the runs', async () => {
    const body = { kind: 'resume', callbackUrl: n8n.url('/webhook-waiting/7?signature=x'), runs: ['b', 'a', 'b'] };
    expect((await put('wait', body)).json).toMatchObject({ kind: 'resume', runs: ['b', 'a'] });
    await service.call('DELETE', '/v1/triggers/wait');
  });
});

describe('is refused', () => {
  test.each([
    ['an id with a slash', 'a%2Fb', {}, 400, 'input.invalid', 'id'],
    ['no address', 'x', { addresses: [] }, 400, 'input.invalid', 'addresses'],
    ['no mail address', 'x', { addresses: ['sales'] }, 422, 'address.invalid', undefined],
    ['a time over a minute', 'x', { timeout: 61 }, 400, 'input.invalid', 'timeout'],
    ['a reply that accepts', 'x', { trouble: { code: 250 } }, 400, 'input.invalid', 'trouble.code'],
    ['no URL', 'x', { callbackUrl: 'javascript:alert(1)' }, 400, 'input.invalid', 'callbackUrl'],
    ['a password in the URL', 'x', { callbackUrl: 'http://u:p@127.0.0.1/' }, 400, 'input.invalid', 'callbackUrl'],
    ['an unknown key', 'x', { adresses: [] }, 400, 'input.invalid', undefined],
    ['another kind', 'x', { kind: 'fax' }, 400, 'input.invalid', 'kind'],
  ])('%s', async (_what, id, change, status, code, field) => {
    const { json } = await put(id, mail(change));
    expect(json).toMatchObject({ status, code, ...(field ? { field } : {}), fix: expect.any(String) });
    expect((await service.call('GET', '/v1/triggers')).json.items).toEqual([]);
  });

  test('an address that a rule of the file has, and says so', async () => {
    expect((await put('x', mail({ addresses: ['file@demo.test'] }))).json).toMatchObject({
      status: 409,
      code: 'trigger.address_taken',
      address: 'file@demo.test',
      detail: expect.stringContaining('switchyard.yaml'),
    });
  });

  test('an address that another workflow has, and names it', async () => {
    await put('one', mail({ name: 'Orders' }));
    expect((await put('two', mail())).json).toMatchObject({
      status: 409,
      code: 'trigger.address_taken',
      detail: expect.stringContaining('Orders'),
    });
    await service.call('DELETE', '/v1/triggers/one');
  });

  test('a domain that is not ours', async () => {
    expect((await put('x', mail({ addresses: ['sales@elsewhere.test'] }))).json).toMatchObject({
      status: 422,
      code: 'trigger.domain_unknown',
      fix: expect.stringContaining('elsewhere.test'),
    });
  });

  test.each([
    'http://127.0.0.1:1/webhook',
    'http://localhost:5678/webhook',
    'https://n8n.example.com/webhook',
    'http://169.254.169.254/latest/meta-data',
  ])('a callback to %s, with the line for switchyard.yaml', async (callbackUrl) => {
    const { origin } = new URL(callbackUrl);
    expect((await put('x', mail({ callbackUrl }))).json).toMatchObject({
      status: 422,
      code: 'trigger.origin_not_allowed',
      origin,
      fix: expect.stringMatching(new RegExp(`triggers: {callbackOrigins: \\[.*${origin}\\]}`)),
    });
  });

  test('a callback where nobody listens, or where nobody speaks HTTP', async () => {
    expect((await put('x', mail({ callbackUrl: `${nobody}/webhook` }))).json).toMatchObject({
      status: 422,
      code: 'trigger.callback_unreachable',
      detail: expect.stringContaining(nobody),
    });
    const silent = createServer((socket) => socket.end('220 not HTTP\r\n'));
    silent.listen(Number(new URL(nobody).port), '127.0.0.1');
    await once(silent, 'listening');
    expect((await put('x', mail({ callbackUrl: `${nobody}/webhook` }))).json).toMatchObject({
      code: 'trigger.callback_unreachable',
    });
    silent.close();
  });

  test('a token that lacks the scope, or may not read what it would be told', async () => {
    expect((await put('x', mail(), await service.token('mail:*', 'runs:*'))).json).toMatchObject({
      status: 403,
      scope: 'triggers:write',
    });
    expect((await put('x', mail(), await service.token('triggers:write'))).json).toMatchObject({
      status: 403,
      scope: 'mail:read',
    });
  });
});

test('a rule of a workflow is neither replaced nor removed as a rule', async () => {
  await put('one', mail());
  const action = { type: 'drop' };
  const replaced = await service.call('POST', '/v1/mail/rules', {
    body: { domain: 'demo.test', localPart: 'sales', action },
  });
  expect(replaced.json).toMatchObject({ status: 409, code: 'rule.declared', detail: expect.stringContaining('Sales') });
  const { items } = (await service.call('GET', '/v1/mail/rules')).json;
  const rule = items.find((one: { localPart: string }) => one.localPart === 'sales');
  expect((await service.call('DELETE', `/v1/mail/rules/${rule.id}`)).json).toMatchObject({
    status: 409,
    code: 'rule.declared',
  });
  await service.call('DELETE', '/v1/triggers/one');
  const forged = { type: 'trigger', trigger: 'x', name: 'x' };
  expect(
    (await service.call('POST', '/v1/mail/rules', { body: { domain: 'demo.test', localPart: 'f', action: forged } }))
      .status,
  ).toBe(400);
});

test('the page of a mail to a full report address says that its sender was asked to come again', async () => {
  const reply = { code: 452, enhanced: '4.2.2', text: 'Reports about a.example have reached the limit of a day.' };
  const end = { outcome: 'failed' as const, errorCode: 'dmarc.over_quota', errorText: reply.text, reply };
  const record = activity({ id: idAt(2), ...end, action: { type: 'dmarc', domain: 'a.example' } });
  await service.records.activity.open([record]);
  const { text } = await service.call('GET', `/mail/${record.id}`, { headers: { accept: 'text/html' } });
  expect(text).toContain('had taken what it takes in a day; the sender was asked to come again.');
  expect(text).toContain(reply.text);
});

test('the page of a message shows the workflow by its name, and what its silence means', async () => {
  await put('one', mail({ name: 'Sales & more' }));
  const record = activity({
    id: idAt(1),
    outcome: 'failed',
    errorCode: 'trigger.no_verdict',
    errorText: 'the workflow ended without a Mail Verdict node',
    reply: { code: 451, enhanced: '4.3.0', text: 'Later' },
    action: { type: 'trigger', trigger: 'one', name: 'Sales & more' },
  });
  await service.records.activity.open([record]);
  await service.records.deliveries.begin(record.id, 'trigger:one');
  const { text } = await service.call('GET', `/mail/${record.id}`, { headers: { accept: 'text/html' } });
  expect(text).toContain('<td class="first">n8n workflow Sales &amp; more</td>');
  expect(text).toContain('n8n workflow gave no verdict; the sender was asked to come again.');
  expect(text).toContain('the workflow ended without a Mail Verdict node');
  expect(text).not.toContain('trigger:one');
  await service.call('DELETE', '/v1/triggers/one');
});

describe('the test of a credential', () => {
  const access = async (query: string, token?: string) =>
    (await service.call('GET', `/v1/access?${query}`, token ? { token } : {})).json;

  test('is ok with every scope that is needed', async () => {
    expect(await access('scopes=mail:read,runs:write,triggers:write&pack=0.1.0')).toMatchObject({
      state: 'ok',
      missing: [],
      name: 'all',
      version: expect.stringMatching(/^\d/),
    });
    expect(await access('')).toMatchObject({ state: 'ok' });
  });

  test('names the scopes that are missing', async () => {
    const token = await service.token('mail:*', 'runs:read');
    expect(await access('scopes=mail:read,mail:write,runs:write,triggers:write', token)).toMatchObject({
      state: 'scope_missing',
      missing: ['runs:write', 'triggers:write'],
    });
  });

  test('says when the server is older than the pack', async () => {
    expect(await access('pack=0.2.0')).toMatchObject({ state: 'too_old' });
    expect(await access('pack=0.1.99')).toMatchObject({ state: 'ok' });
  });

  test('refuses a bad token', async () => {
    expect((await service.call('GET', '/v1/access', { token: 'sy_wrong' })).status).toBe(401);
  });
});
