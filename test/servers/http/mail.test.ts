import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { activity, idAt, startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

describe('activity', () => {
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString();
  beforeAll(async () => {
    await service.records.activity.open([
      activity({ id: idAt(1), receivedAt: hoursAgo(50), recipient: 'a@x.example', outcome: 'delivered' }),
      activity({ id: idAt(2), receivedAt: hoursAgo(3), recipient: 'b@x.example', outcome: 'failed' }),
      activity({ id: idAt(3), receivedAt: hoursAgo(2), recipient: 'a@x.example', outcome: 'bounced', sender: '' }),
      activity({ id: idAt(4), receivedAt: hoursAgo(1), recipient: 'a@y.example', outcome: 'delivered' }),
      activity({ id: idAt(5), receivedAt: hoursAgo(0.1), recipient: 'a@y.example', outcome: 'accepted' }),
    ]);
    await service.records.deliveries.begin(idAt(4), 'dest@z.example');
    await service.records.deliveries.set(idAt(4), 'dest@z.example', {
      state: 'delivered',
      host: 'mx.z.example',
      reply: { code: 250, enhanced: '2.0.0', text: 'ok' },
    });
  });
  const ids = async (query: string) =>
    (await service.call('GET', `/v1/mail/activity?${query}`)).json.items.map((one: { id: string }) => one.id);

  test.each([
    ['', [5, 4, 3, 2, 1]],
    ['recipient=a@x.example', [3, 1]],
    ['domain=y.example', [5, 4]],
    ['outcome=delivered', [4, 1]],
    ['outcome=bounced,failed', [3, 2]],
    ['since=150m', [5, 4, 3]],
    ['since=24h&until=90m', [3, 2]],
    ['sender=', [3]],
  ])('the filter %j gives %j, newest first', async (query, expected) => {
    expect(await ids(query)).toEqual(expected.map(idAt));
  });

  test.each(['', '&outcome=bounced,failed,delivered,accepted'])(
    'pages join without gap or repeat, and the last says so%s',
    async (more) => {
      const found: string[] = [];
      let next: string | null = null;
      do {
        const { json } = await service.call('GET', `/v1/mail/activity?limit=2${more}${next ? `&before=${next}` : ''}`);
        found.push(...json.items.map((one: { id: string }) => one.id));
        next = json.next;
      } while (next);
      expect(found).toEqual([5, 4, 3, 2, 1].map(idAt));
    },
  );

  test.each([
    ['limit=0', 'limit'],
    ['limit=501', 'limit'],
    ['since=yesterday', 'since'],
    ['outcome=lost', 'outcome.0'],
  ])('%s is 400 and names the field', async (query, field) => {
    expect((await service.call('GET', `/v1/mail/activity?${query}`)).json).toMatchObject({
      status: 400,
      code: 'input.invalid',
      field,
    });
  });

  test('one record comes with its deliveries', async () => {
    const { json } = await service.call('GET', `/v1/mail/activity/${idAt(4)}`);
    expect(json).toMatchObject({
      id: idAt(4),
      outcome: 'delivered',
      deliveries: [{ destination: 'dest@z.example', state: 'delivered', host: 'mx.z.example', attempts: 1 }],
    });
  });
});

describe('rules', () => {
  test('a rule is made, found by another spelling of its domain, and removed; each is in the audit log with who did it', async () => {
    const token = await service.token('mail:*', 'rules:*');
    const made = await service.call('POST', '/v1/mail/rules', {
      token,
      body: { domain: 'BÜCHER.example', localPart: 'Info', action: { type: 'forward', destinations: ['a@z.example'] } },
    });
    // RFC 3492 punycode of bücher, as Python's idna codec gives it.
    expect(made.json).toMatchObject({
      domain: 'xn--bcher-kva.example',
      localPart: 'info',
      source: 'api',
      enabled: true,
    });
    expect((await service.call('GET', '/v1/mail/rules?domain=b%C3%BCcher.example')).json.items).toHaveLength(1);
    expect(await service.records.rules.find('xn--bcher-kva.example', 'info')).toMatchObject({ id: made.json.id });
    expect((await service.call('DELETE', `/v1/mail/rules/${made.json.id}`, { token })).status).toBe(204);
    expect((await service.call('GET', '/v1/mail/rules?domain=b%C3%BCcher.example')).json.items).toHaveLength(0);
    const { json } = await service.call('GET', '/v1/audit');
    const entries = json.items
      .filter((one: { actor: string }) => one.actor === 'token:mail:* rules:*')
      .map((one: { action: string }) => one.action);
    expect(entries).toEqual(['rule.removed', 'rule.added']);
  });

  test.each([
    ['no destination', { domain: 'x.example', localPart: 'a', action: { type: 'forward', destinations: [] } }],
    [
      'a destination that is no address',
      { domain: 'x.example', localPart: 'a', action: { type: 'forward', destinations: ['not an address'] } },
    ],
    ['a domain that is none', { domain: 'x..example', localPart: 'a', action: { type: 'drop' } }],
    ['a field that nobody knows', { domain: 'x.example', localPart: 'a', action: { type: 'drop' }, colour: 'red' }],
  ])('a rule with %s is refused', async (_, body) => {
    const { status } = await service.call('POST', '/v1/mail/rules', { body });
    expect([400, 422]).toContain(status);
    expect((await service.call('GET', '/v1/mail/rules?domain=x.example')).json.items).toEqual([]);
  });

  test('a rule of the configuration file is not removed here', async () => {
    await service.records.rules.applyDeclared([
      { domain: 'file.example', rules: [{ localPart: '*', action: { type: 'drop' } }] },
    ]);
    const [rule] = (await service.call('GET', '/v1/mail/rules?domain=file.example')).json.items;
    expect((await service.call('DELETE', `/v1/mail/rules/${rule.id}`)).json).toMatchObject({
      status: 409,
      code: 'rule.declared',
    });
    expect(await service.records.rules.get(rule.id)).toBeDefined();
  });

  test('reading mail does not let one change rules', async () => {
    const token = await service.token('mail:*');
    expect(
      (
        await service.call('POST', '/v1/mail/rules', {
          token,
          body: { domain: 'x.example', localPart: 'a', action: { type: 'drop' } },
        })
      ).json,
    ).toMatchObject({ status: 403, scope: 'rules:write' });
  });
});
