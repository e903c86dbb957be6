/**
 * DKIM (RFC 6376, RFC 8301, RFC 8463): the data of dkimpy. Its signed messages are verified, its unsigned ones are
 * signed by dkimpy first, and its broken key records are put in the place of the right one.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sharedPath } from '../protocols/shared-data.ts';
import { openVerification, type Verification } from '../support/verification.ts';

const DATA = sharedPath('mail/dkimpy/dkim/tests/data');
const SIGNER = join(import.meta.dirname, '..', 'support', 'sign_dkim.py');
/** Debian's python3-dkim belongs to the system's Python, which need not be the first on the PATH. */
const python = ['/usr/bin/python3', 'python3'].find((one) => spawnSync(one, ['-c', 'import dkim']).status === 0);
const file = (name: string) => join(DATA ?? '', name);
const text = (name: string) => readFileSync(file(name), 'latin1');
const asSent = (name: string) => Buffer.from(text(name).replace(/\r?\n/g, '\r\n'), 'latin1');
const record = (name: string) => `TXT ${text(name).replace(/\s+/g, ' ').trim()}`;

let verification: Verification;
beforeAll(async () => {
  verification = await openVerification();
});
afterAll(() => verification?.close());
const resultsOf = async (message: Buffer) => (await verification.verify({ message })).authentication.dkim;

describe.skipIf(DATA === null)('messages that others signed', () => {
  it('RFC 8463, A.3: both signatures of one message pass, Ed25519 and RSA', async () => {
    // The keys of RFC 8463, A.2 and A.1; the latter is that of RFC 6376, which test.txt holds.
    verification.dns.set('brisbane._domainkey.football.example.com', [
      'TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
    ]);
    verification.dns.set('test._domainkey.football.example.com', [record('test.txt')]);
    expect(await resultsOf(asSent('rfc6376.signed.msg'))).toMatchObject([
      { result: 'pass', selector: 'brisbane', algorithm: 'ed25519-sha256', aligned: true, underSized: 0 },
      { result: 'pass', selector: 'test', algorithm: 'rsa-sha256', aligned: true, underSized: 0 },
    ]);
  });

  it('a change to a signed field or to the body breaks both', async () => {
    const signed = asSent('rfc6376.signed.msg').toString('latin1');
    for (const changed of [signed.replace('Is dinner', 'Was dinner'), signed.replace('We lost', 'We won')])
      expect((await resultsOf(Buffer.from(changed, 'latin1'))).map(({ result }) => result)).toEqual(['fail', 'fail']);
  });

  it('one by Exim with Ed25519 passes, as dkimpy says too, and is not aligned with another author', async () => {
    verification.dns.set('sed._domainkey.test.ex', [record('eximtest.dns')]);
    expect(await resultsOf(asSent('ed25519test2.msg'))).toMatchObject([
      { domain: 'test.ex', algorithm: 'ed25519-sha256', result: 'pass', aligned: false },
    ]);
  });

  it('one whose key is gone is no pass', async () => {
    expect(await resultsOf(asSent('message.mbox'))).toMatchObject([{ domain: 'kitterman.com', result: 'neutral' }]);
  });
});

const MESSAGES = ['test.message', 'test_extra.message', 'rfc6376.msg', 'ed25519test.msg'];
const CANONICALIZATIONS = ['simple/simple', 'simple/relaxed', 'relaxed/simple', 'relaxed/relaxed'];
const KEYS = [
  { algorithm: 'rsa-sha256', key: 'test.private', record: 'test.txt', selector: 'rsa' },
  { algorithm: 'ed25519-sha256', key: 'ed25519test.key', record: 'ed25519test.dns', selector: 'ed' },
];
/** dkimpy's own tests refuse them too. */
const BROKEN: [name: string, why: string][] = [
  ['test_bad.txt', 'a key type that does not exist'],
  ['badk.txt', 'a key type that does not exist'],
  ['badversion.txt', 'a version that is not DKIM1'],
  ['test_tlsrpt.txt', 'a key for another service (RFC 6376, 3.6.1, s=)'],
  ['ed25519test.dns', 'a key of another type'],
];

describe.skipIf(DATA === null)('messages that dkimpy signs', () => {
  const sign = (jobs: object[]) => {
    const { stdout, stderr, status } = spawnSync(python ?? '', [SIGNER], {
      input: JSON.stringify(jobs),
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    return (JSON.parse(stdout) as string[]).map((one) => Buffer.from(one, 'base64'));
  };
  const jobs = KEYS.flatMap(({ algorithm, key, selector }) =>
    CANONICALIZATIONS.flatMap((canonicalization) =>
      MESSAGES.map((name) => ({
        message: file(name),
        key: file(key),
        domain: 'example.com',
        selector,
        canonicalization,
        algorithm,
      })),
    ),
  );

  it('pass, 32 of 32', async (context) => {
    if (python === undefined) return context.skip('python3-dkim is not installed');
    for (const { selector, record: name } of KEYS)
      verification.dns.set(`${selector}._domainkey.example.com`, [record(name)]);
    let passed = 0;
    for (const [index, message] of sign(jobs).entries()) {
      const [found] = await resultsOf(message);
      expect({ ...jobs[index], result: found?.result }).toEqual({ ...jobs[index], result: 'pass' });
      passed++;
    }
    expect(passed).toBe(32);
  });

  it('do not pass under five key records that are no key for them', async (context) => {
    if (python === undefined) return context.skip('python3-dkim is not installed');
    const [message] = sign([{ ...jobs[0], selector: 'broken' }]);
    for (const [name, why] of BROKEN) {
      verification.dns.set('broken._domainkey.example.com', [record(name)]);
      const [found] = await resultsOf(message ?? Buffer.alloc(0));
      expect(found?.result, why).toMatch(/^(?:neutral|fail|policy)$/);
    }
    verification.dns.set('broken._domainkey.example.com', [record('test.txt')]);
    expect(await resultsOf(message ?? Buffer.alloc(0))).toMatchObject([{ result: 'pass' }]);
  });
});
