import { expect, test } from 'vitest';
import { readTlsReport } from '../../../protocols/dmarc/tls.ts';

test('kinds of failures and policies are cut to what the index of a database takes', () => {
  const report = {
    'organization-name': 'Sender',
    'report-id': '1',
    'date-range': { 'start-datetime': '2024-01-01T00:00:00Z', 'end-datetime': '2024-01-01T23:59:59Z' },
    policies: [
      {
        policy: { 'policy-type': 'y'.repeat(3_000), 'policy-domain': 'a.example' },
        summary: { 'total-successful-session-count': 0, 'total-failure-session-count': 2 },
        'failure-details': [{ 'result-type': 'x'.repeat(300_000), 'failed-session-count': 2 }],
      },
    ],
  };
  const [policy] = readTlsReport(Buffer.from(JSON.stringify(report))).policies;
  expect([policy?.type, policy?.failures[0]?.resultType]).toEqual(['y'.repeat(255), 'x'.repeat(255)]);
});
