import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { resolveMx } from '../../../activities/mail/resolve-mx.ts';
import type { Dependencies } from '../../../activities/dependencies.ts';
import type { StepContext } from '../../../activities/step.ts';
import { openDialer } from '../../support/dialing.ts';

const context: StepContext = {
  signal: new AbortController().signal,
  report: () => undefined,
  log: pino({ level: 'silent' }),
  idempotencyKey: 'x',
};
const dialer = openDialer({
  outbound: { transport: { 'smart.test': '127.0.0.1:2526' } },
  dns: { zones: { 'b.test': ['MX 10 mx.b.test'], 'mx.b.test': ['A 8.8.8.8'], 'inside.test': ['A 10.0.0.1'] } },
});
const call = async (input: unknown) => resolveMx.call(input, { dialer } as Dependencies, context);

describe('mail.resolveMx', () => {
  it('says where mail for a domain goes', async () => {
    expect(await call({ domain: 'b.test' })).toEqual({
      source: 'mx',
      hosts: [{ host: 'mx.b.test', port: 25, addresses: ['8.8.8.8'] }],
      mtaSts: null,
    });
    expect(await call({ domain: 'smart.test' })).toMatchObject({ source: 'transport', hosts: [{ port: 2526 }] });
  });
  it.each([
    [{ domain: 'inside.test' }, 'network.address_refused'],
    [{ domain: 'gone.test' }, 'mail.no_host'],
    [{ domain: '[127.0.0.1]' }, 'address.invalid'],
    [{ domain: '' }, 'input.invalid'],
    [{}, 'input.invalid'],
  ])('refuses %j with %s, a code of its list', async (input, code) => {
    await expect(call(input)).rejects.toMatchObject({ name: 'PermanentError', code });
    expect(['input.invalid', ...resolveMx.errors]).toContain(code);
  });
});
