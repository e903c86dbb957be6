/** Report addresses over HTTP: who may, what is refused, what is to be published. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startService, type Service } from './service.ts';

let service: Service;
beforeAll(async () => {
  service = await startService({
    configuration: {
      dns: {
        // Nothing answers there, and it is not asked for long.
        servers: ['127.0.0.1:9'],
        timeout: '100ms',
        zones: {
          example: [],
          '_dmarc.policy.example': ['TXT v=DMARC1; p=reject'],
          '_smtp._tls.policy.example': ['TXT v=TLSRPTv1; rua=mailto:tls@elsewhere.example'],
        },
      },
    },
  });
});
afterAll(() => service.close());

const post = (body: unknown, token?: string) => service.call('POST', '/v1/dmarc/domains', { body, token });

it('needs a mail domain, and says so', async () => {
  expect(await post({ domain: 'example.com' })).toMatchObject({ status: 422, json: { code: 'dmarc.address_needed' } });
  expect(await post({ domain: 'example.com', address: 'a@nowhere.example' })).toMatchObject({
    json: { code: 'dmarc.mail_domain_unknown' },
  });
  expect(await post({ domain: 'not a domain', address: 'a@b.example' })).toMatchObject({ status: 422 });
  expect(await post({ domain: 'example.com' }, await service.token('dmarc:read'))).toMatchObject({
    status: 403,
    json: { code: 'scope.missing', scope: 'dmarc:write' },
  });
});

it('gives a domain an address, once, and says what to publish', async () => {
  await service.records.rules.applyDeclared([{ domain: 'mail.example', rules: [] }]);
  const { status, json } = await post({ domain: 'Policy.Example' });
  expect([status, json.address]).toEqual([200, 'dmarc-policy.example@mail.example']);
  expect(json.records.map((one: { name: string; value: string }) => [one.name, one.value])).toEqual([
    ['_dmarc.policy.example', 'v=DMARC1; p=reject; rua=mailto:dmarc-policy.example@mail.example'],
    [
      '_smtp._tls.policy.example',
      'v=TLSRPTv1; rua=mailto:tls@elsewhere.example,mailto:dmarc-policy.example@mail.example',
    ],
    ['policy.example._report._dmarc.mail.example', 'v=DMARC1'],
  ]);
  expect((await post({ domain: 'policy.example' })).json).toEqual(json);
  expect((await service.call('GET', '/v1/dmarc/domains/policy.example/dns')).json.items).toEqual(json.records);
  expect((await post({ domain: 'other.example', address: json.address })).json).toMatchObject({
    status: 409,
    code: 'dmarc.address_taken',
  });
  expect((await post({ domain: 'mail.example' })).json.address).toBe('dmarc-reports@mail.example');
});

it('prints no policy that is weaker than what holds: of a parent, or of a record that could not be read', async () => {
  const [inherited] = (await post({ domain: 'news.policy.example' })).json.records;
  expect(inherited.value).toMatch(/^v=DMARC1; p=reject; rua=mailto:/);
  expect(inherited.note).toContain('policy.example');
  const unread = (await post({ domain: 'silent.test' })).json.records;
  expect(unread.slice(0, 2)).toMatchObject([
    { name: '_dmarc.silent.test', value: null, add: 'rua=mailto:dmarc-silent.test@mail.example' },
    { name: '_smtp._tls.silent.test', value: null, add: 'rua=mailto:dmarc-silent.test@mail.example' },
  ]);
  expect((await service.call('GET', '/v1/dmarc/domains/silent.test/dns')).json.items).toEqual(unread);
});

it('leaves the rule of the address to its domain', async () => {
  const rule = (await service.records.rules.list('mail.example')).find(
    (one) => one.localPart === 'dmarc-policy.example',
  );
  expect(await service.call('DELETE', `/v1/mail/rules/${rule?.id}`)).toMatchObject({ json: { code: 'rule.declared' } });
  const drop = { domain: 'mail.example', localPart: 'dmarc-policy.example', action: { type: 'drop' } };
  expect(await service.call('POST', '/v1/mail/rules', { body: drop })).toMatchObject({ status: 409 });
});

it('takes the address away', async () => {
  expect((await service.call('DELETE', '/v1/dmarc/domains/policy.example')).status).toBe(204);
  expect(await service.call('DELETE', '/v1/dmarc/domains/policy.example')).toMatchObject({ status: 404 });
  expect(await service.records.rules.find('mail.example', 'dmarc-policy.example')).toBeUndefined();
});
