import { describe, expect, it } from 'vitest';
import { reportingRecords } from '../../../protocols/dmarc/reporting-records.ts';

const values = (...given: Parameters<typeof reportingRecords>) =>
  reportingRecords(...given).map(({ name, value }) => [name, value]);

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
    expect(reportingRecords('example.com', 'r@notexample.com').map(({ zone }) => zone)).toEqual([
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
  ])('adds the address to %s and changes nothing else', (current, wanted) => {
    expect(values('a.test', 'r@a.test', { current })[0]).toEqual(['_dmarc.a.test', wanted]);
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
