/**
 * DMARC (RFC 9989): policy discovery by the tree walk, its tags, alignment. Each case is a message on the wire of DNS:
 * signed by the domains that it names, and sent from the domain that SPF passes for. Exceptions: none.
 */
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signed } from '../../cli/demo/messages.ts';
import type { DemoKey } from '../../cli/demo/world.ts';
import { judge } from '../../protocols/mail/policy.ts';
import { sharedJson } from '../protocols/shared-data.ts';
import { openVerification, type Verification } from '../support/verification.ts';

interface Case {
  name: string;
  /** Policies under `_dmarc.`; `A` alone is a name that exists. */
  zone: Record<string, string[]>;
  frm: string;
  /** Domains whose signatures pass. */
  dkim: string[];
  spf: string[];
  result: string;
  policy?: string;
  /** Organizational Domain. */
  domain?: string;
  maxQueries?: number;
}

const cases = sharedJson<{ cases: Case[] }>('mail/dmarc-rfc9989/rfc9989-cases.json')?.cases ?? [];
const SOURCE = '192.0.2.7';
const pair = generateKeyPairSync('rsa', {
  modulusLength: 2_048,
  publicKeyEncoding: { type: 'spki', format: 'der' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const keyOf = (domain: string): DemoKey => ({
  domain,
  selector: 's',
  privateKey: pair.privateKey,
  name: `s._domainkey.${domain}`,
  value: `v=DKIM1; k=rsa; p=${pair.publicKey.toString('base64')}`,
});

let verification: Verification;
beforeAll(async () => {
  verification = await openVerification();
});
afterAll(() => verification?.close());

async function verify({ zone, frm, dkim, spf }: Omit<Case, 'name' | 'result'>) {
  const { dns } = verification;
  for (const name of Object.keys(dns.zones())) dns.set(name, []);
  for (const [name, records] of Object.entries(zone))
    dns.set(
      name,
      records.map((one) => (one === 'A' ? 'A 192.0.2.9' : `TXT ${one}`)),
    );
  for (const domain of spf) dns.set(domain, [...(dns.zones()[domain] ?? []), `TXT v=spf1 ip4:${SOURCE} -all`]);
  let message: Buffer = Buffer.from(`From: <a@${frm}>\r\nTo: <b@own.test>\r\nSubject: x\r\n\r\nHello.\r\n`);
  for (const domain of dkim) {
    const key = keyOf(domain);
    dns.set(key.name, [`TXT ${key.value}`]);
    message = await signed(message, key);
  }
  const before = dns.queries.length;
  const sender = `a@${spf[0] ?? 'elsewhere.invalid'}`;
  const found = await verification.verify({ message, sourceAddress: SOURCE, sender });
  const asked = dns.queries.slice(before).filter((query) => query.name.startsWith('_dmarc.') && query.type === 'TXT');
  return { found, dmarc: found.authentication.dmarc, asked };
}

it.skipIf(cases.length === 0)('there are 18 cases', () => expect(cases).toHaveLength(18));

it.each(cases)('$name', async (one) => {
  const { dmarc, asked } = await verify(one);
  expect(dmarc.result).toBe(one.result);
  if (one.policy !== undefined) expect(dmarc.policy).toBe(one.policy);
  if (one.domain !== undefined) expect(dmarc.domain).toBe(one.domain);
  if (one.maxQueries !== undefined) expect(asked.length).toBeLessThanOrEqual(one.maxQueries);
});

describe('what the session makes of it', () => {
  const POLICY = { unauthenticated: 'accept', dmarcReject: 'refuse' } as const;
  const from = (frm: string, zone: Record<string, string[]>) => verify({ zone, frm, dkim: [], spf: [] });
  const verdict = async (frm: string, zone: Record<string, string[]>) =>
    judge({ ...(await from(frm, zone)).found, isSrsReturn: false }, POLICY);

  it('p=reject of an Organizational Domain is refused in the name of its subdomain', async () => {
    expect(await verdict('mail.example.com', { '_dmarc.example.com': ['v=DMARC1; p=reject'] })).toMatchObject({
      verdict: 'reject',
      code: 'dmarc.rejected',
    });
  });

  it('p=reject under test (t=y) is quarantine, and quarantine is none (4.7)', async () => {
    expect(await verdict('example.com', { '_dmarc.example.com': ['v=DMARC1; p=reject; t=y'] })).toEqual({
      verdict: 'accept',
      disposition: 'quarantine',
    });
    expect(await verdict('example.com', { '_dmarc.example.com': ['v=DMARC1; p=quarantine; t=y'] })).toEqual({
      verdict: 'accept',
      disposition: 'none',
    });
  });

  it('np=reject refuses a name that does not exist, and leaves one that does to sp', async () => {
    const zone = { '_dmarc.example.com': ['v=DMARC1; p=none; np=reject'] };
    expect(await verdict('nope.example.com', zone)).toMatchObject({ verdict: 'reject', code: 'dmarc.rejected' });
    expect(await verdict('real.example.com', { ...zone, 'real.example.com': ['A'] })).toMatchObject({
      verdict: 'accept',
    });
  });

  it('a public suffix that publishes psd=y speaks for domains below it that say nothing', async () => {
    const zone = { '_dmarc.bank.example': ['v=DMARC1; p=reject; psd=y'] };
    expect(await verdict('evil.bank.example', zone)).toMatchObject({ verdict: 'reject', code: 'dmarc.rejected' });
  });

  it('an owner of a domain below a public suffix is not aligned with its neighbour, with no list of suffixes', async () => {
    const { dmarc } = await verify({
      zone: { '_dmarc.co.example': ['v=DMARC1; p=none; psd=y'], '_dmarc.a.co.example': ['v=DMARC1; p=reject'] },
      frm: 'a.co.example',
      dkim: ['b.co.example'],
      spf: ['c.co.example'],
    });
    expect(dmarc).toMatchObject({ result: 'fail', policy: 'reject', disposition: 'reject' });
  });
});
