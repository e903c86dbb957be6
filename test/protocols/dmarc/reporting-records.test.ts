import { describe, expect, it } from 'vitest';
import { reportingRecords, type Published } from '../../../protocols/dmarc/reporting-records.ts';

type Change = Partial<Published> & { post?: string };

/** Of a domain that publishes nothing, but for the change. */
const recordsOf = (domain: string, address: string, { post, ...change }: Change = {}) =>
  reportingRecords({ domain, dmarc: { kind: 'none' }, tls: [], ...change }, address, { post });
const values = (...given: Parameters<typeof recordsOf>) => recordsOf(...given).map(({ name, value }) => [name, value]);

describe('what to publish for reports', () => {
  it('is a policy that changes nothing, and the TLS record, where the address is at the domain', () => {
    expect(values('example.com', 'r@example.com')).toEqual([
      ['_dmarc.example.com', 'v=DMARC1; p=none; rua=mailto:r@example.com'],
      ['_smtp._tls.example.com', 'v=TLSRPTv1; rua=mailto:r@example.com'],
    ]);
    expect(values('sub.example.com', 'r@example.com')).toHaveLength(2);
    expect(values('example.com', 'r@mail.example.com')).toHaveLength(2);
  });

  // RFC 7489, 7.1 and appendix B.2.2: the same form.
  it('has the consent of another domain that takes the reports', () => {
    expect(values('example.com', 'r@thirdparty.example.net')[2]).toEqual([
      'example.com._report._dmarc.thirdparty.example.net',
      'v=DMARC1',
    ]);
    expect(recordsOf('example.com', 'r@notexample.com').map(({ zone }) => zone)).toEqual([
      'example.com',
      'example.com',
      'notexample.com',
    ]);
  });

  it.each([
    ['v=DMARC1; p=reject', 'v=DMARC1; p=reject; rua=mailto:r@a.test'],
    ['v=DMARC1;p=quarantine;rua=mailto:x@b.test;', 'v=DMARC1; p=quarantine; rua=mailto:x@b.test,mailto:r@a.test'],
    [
      'v=DMARC1; rua = mailto:x@b.test, mailto:R@A.test!10m; p=none',
      'v=DMARC1; rua=mailto:x@b.test,mailto:R@A.test!10m; p=none',
    ],
  ])('adds the address to %s and changes nothing else', (record, wanted) => {
    expect(values('a.test', 'r@a.test', { dmarc: { kind: 'own', record } })[0]).toEqual(['_dmarc.a.test', wanted]);
  });

  // RFC 8460, 3: a second record would void both.
  it.each([
    ['v=TLSRPTv1;rua=mailto:x@b.test', 'v=TLSRPTv1; rua=mailto:x@b.test,mailto:r@a.test,https://a.test/p'],
    ['v=TLSRPTv1; rua=https://a.test/p,mailto:R@a.test; x=1', 'v=TLSRPTv1; rua=https://a.test/p,mailto:R@a.test; x=1'],
  ])('adds address and URL to %s', (record, wanted) => {
    const tls = ['something else', record];
    expect(values('a.test', 'r@a.test', { tls, post: 'https://a.test/p' })[1]).toEqual(['_smtp._tls.a.test', wanted]);
  });

  it('never has a policy for a domain whose record nobody could read: it says so, and what to add', () => {
    const [policy, tls] = recordsOf('a.test', 'r@a.test', {
      dmarc: 'unknown',
      tls: 'unknown',
      post: 'https://a.test/p',
    });
    const unread = { value: null, zoneFile: null, note: expect.stringContaining('The DNS did not answer') as string };
    expect(policy).toMatchObject({ ...unread, add: 'rua=mailto:r@a.test' });
    expect(tls).toMatchObject({ ...unread, add: 'rua=mailto:r@a.test,https://a.test/p' });
  });

  it('nor for one with several records, of which none counts', () => {
    const tls = ['v=TLSRPTv1; rua=mailto:x@b.test', 'v=TLSRPTv1; rua=mailto:y@b.test'];
    const records = recordsOf('a.test', 'r@a.test', { dmarc: { kind: 'several', count: 2 }, tls });
    for (const one of records)
      expect(one).toMatchObject({ value: null, add: 'rua=mailto:r@a.test', note: expect.stringMatching(/^2 records/) });
  });

  it('keeps for a subdomain the policy that it inherits, and whoever has its reports', () => {
    const record = 'v=DMARC1; p=reject; sp=quarantine; np=reject; psd=n; adkim=s; t=y; rua=mailto:x@b.test';
    const dmarc = { kind: 'inherited', record, from: 'a.test', policy: 'quarantine' } as const;
    const [policy] = recordsOf('news.a.test', 'r@a.test', { dmarc });
    expect(policy?.value).toBe('v=DMARC1; p=quarantine; adkim=s; t=y; rua=mailto:x@b.test,mailto:r@a.test');
    expect(policy?.note).toContain('that of a.test holds for it');
  });

  // RFC 8460, 3: destinations with commas between them.
  it('has a URL beside the address for reports on TLS, and for these alone', () => {
    const [policy, tls] = values('example.com', 'r@example.com', { post: 'https://reporting.example.com/v1/tlsrpt' });
    expect(policy?.[1]).not.toContain('https');
    expect(tls?.[1]).toBe('v=TLSRPTv1; rua=mailto:r@example.com,https://reporting.example.com/v1/tlsrpt');
  });

  it('escapes what would part two addresses', () => {
    expect(values('a.test', 'x,y!z@a.test')[0]?.[1]).toContain('rua=mailto:x%2Cy%21z@a.test');
    expect(values('a.test', 'r@a.test', { post: 'https://a.test/x,y;z' })[1]?.[1]).toContain(
      ',https://a.test/x%2Cy%3Bz',
    );
  });
});
