/** TLS reports: what is kept of one, and what a stranger can write into one. */
import { describe, expect, it } from 'vitest';
import { readTlsReport } from '../../../protocols/dmarc/tls.ts';

const COUNTS = { 'total-successful-session-count': 0, 'total-failure-session-count': 2 };
const POLICY = { 'policy-type': 'sts', 'policy-domain': 'a.example' };
const FAILURE = { 'result-type': 'x', 'failed-session-count': 1 };

const report = (policies: unknown): Buffer =>
  Buffer.from(
    JSON.stringify({
      'organization-name': 'Sender',
      'report-id': '1',
      'date-range': { 'start-datetime': '2024-01-01T00:00:00Z', 'end-datetime': '2024-01-01T23:59:59Z' },
      policies,
    }),
  );

const refusal = (code: string, message: RegExp) =>
  expect.objectContaining({ name: 'PermanentError', code, message: expect.stringMatching(message) as string });

function refusalOf(bytes: Buffer): unknown {
  try {
    return readTlsReport(bytes);
  } catch (thrown) {
    return thrown;
  }
}

describe('texts are cut', () => {
  it('kinds of failures and policies to what the index of a database takes', () => {
    const [policy] = readTlsReport(
      report([
        {
          policy: { ...POLICY, 'policy-type': 'y'.repeat(3_000) },
          summary: COUNTS,
          'failure-details': [{ ...FAILURE, 'result-type': 'x'.repeat(300_000) }],
        },
      ]),
    ).policies;
    expect([policy?.type, policy?.failures[0]?.resultType]).toEqual(['y'.repeat(255), 'x'.repeat(255)]);
  });

  it('lines of a policy, in number and length', () => {
    const [policy] = readTlsReport(
      report([
        {
          policy: {
            ...POLICY,
            'policy-string': Array<string>(1_000).fill('z'.repeat(3_000)),
            'mx-host': '*.a.example',
          },
          summary: COUNTS,
        },
      ]),
    ).policies;
    expect(policy).toMatchObject({ text: Array<string>(100).fill('z'.repeat(2_048)), mxHosts: ['*.a.example'] });
  });
});

describe('the first thing that is wrong is named', () => {
  const one = { policy: POLICY, summary: COUNTS };
  it.each<[string, unknown, string, RegExp]>([
    ['policies that are no list', {}, 'dmarc.not_a_report', /: policies: expected a list/],
    ['a number for a policy', [one, 1], 'dmarc.not_a_report', /: policies\.1: /],
    [
      'a number among the lines of a policy',
      [{ ...one, policy: { ...POLICY, 'policy-string': ['a', 1] } }],
      'dmarc.not_a_report',
      /: policies\.0\.policy\.policy-string: expected a string or a list/,
    ],
    [
      'a count below zero',
      [{ ...one, summary: { ...COUNTS, 'total-failure-session-count': -1 } }],
      'dmarc.bad_count',
      /: policies\.0\.summary\.total-failure-session-count: /,
    ],
    [
      'a count that is none in a failure',
      [one, { ...one, 'failure-details': [FAILURE, { ...FAILURE, 'failed-session-count': '1' }] }],
      'dmarc.bad_count',
      /: policies\.1\.failure-details\.1\.failed-session-count: /,
    ],
  ])('%s', (_what, policies, code, message) => {
    expect(refusalOf(report(policies))).toEqual(refusal(code, message));
  });
});

describe('there is a limit', () => {
  const many = (count: number) => Array.from({ length: count }, () => FAILURE);
  const policy = (failures: unknown[]) => ({ policy: POLICY, summary: COUNTS, 'failure-details': failures });

  it('to policies', () => {
    const policies = (count: number) => Array.from({ length: count }, () => policy([]));
    expect(readTlsReport(report(policies(500))).policies).toHaveLength(500);
    expect(refusalOf(report(policies(501)))).toEqual(refusal('dmarc.too_many_records', /more than 500 policies/));
  });

  it('to kinds of failure, of all policies together', () => {
    expect(readTlsReport(report([policy(many(5_000)), policy(many(5_000))])).policies).toHaveLength(2);
    expect(refusalOf(report([policy(many(5_000)), policy(many(5_001))]))).toEqual(
      refusal('dmarc.too_many_records', /more than 10000 kinds of failure/),
    );
  });

  it('to objects and lists, and to how deep they lie; brackets in texts are none', () => {
    expect(refusalOf(report(Array.from({ length: 25_000 }, () => ({}))))).toEqual(
      refusal('dmarc.too_large', /objects and lists/),
    );
    expect(refusalOf(Buffer.from('['.repeat(33)))).toEqual(refusal('dmarc.too_deep', /32 deep/));
    const text = '[{'.repeat(30_000) + '\\"[';
    const inText = report([{ policy: { ...POLICY, 'policy-string': text }, summary: COUNTS }]);
    expect(readTlsReport(inText).policies[0]?.text).toEqual([text.slice(0, 2_048)]);
  });
});
