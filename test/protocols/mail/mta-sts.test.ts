import { describe, expect, it } from 'vitest';
import { MAX_POLICY_BYTES, matchesMx, parseMtaStsPolicy, parseMtaStsRecord } from '../../../protocols/mail/mta-sts.ts';
import { permanentCode } from '../errors.ts';
import { sharedJson } from '../shared-data.ts';

interface Cases {
  policies: { name: string; text: string; valid: boolean }[];
  mxMatch: { mx: string; pattern: string; match: boolean }[];
  txtRecords: { txt: string; valid: boolean }[];
}
const cases = sharedJson<Cases>('mail/mta-sts/cases.json');

describe.skipIf(cases === null)('the 41 cases of RFC 8461', () => {
  it('24 policies', () => {
    expect(cases!.policies).toHaveLength(24);
    for (const { name, text, valid } of cases!.policies) {
      expect(
        permanentCode(() => parseMtaStsPolicy(text)),
        name,
      ).toBe(valid ? 'nothing' : 'mtasts.invalid');
    }
  });
  it('7 matches', () => {
    expect(cases!.mxMatch).toHaveLength(7);
    for (const { mx, pattern, match } of cases!.mxMatch) expect(matchesMx(pattern, mx), `${mx} ${pattern}`).toBe(match);
  });
  it('10 TXT records', () => {
    expect(cases!.txtRecords).toHaveLength(10);
    for (const { txt, valid } of cases!.txtRecords) expect(parseMtaStsRecord([txt]) !== null, txt).toBe(valid);
  });
});

it('takes no announcement where there are two (RFC 8461, 3.1), and passes over other records', () => {
  expect(parseMtaStsRecord([])).toBeNull();
  expect(parseMtaStsRecord(['v=STSv1; id=1;', 'v=STSv1; id=2;'])).toBeNull();
  expect(parseMtaStsRecord(['v=spf1 -all', 'v=STSv1; id=2;'])).toEqual({ id: '2' });
});

it('reads the example of RFC 8461, 3.2', () => {
  expect(
    parseMtaStsPolicy(
      'version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n',
    ),
  ).toEqual({
    mode: 'enforce',
    mx: ['mail.example.com', '*.example.net', 'backupmx.example.com'],
    maxAge: 604_800,
  });
});

it('refuses a policy without end', () => {
  expect(
    permanentCode(() =>
      parseMtaStsPolicy(`version: STSv1\nmode: none\nmax_age: 1\n${'x: y\n'.repeat(MAX_POLICY_BYTES)}`),
    ),
  ).toBe('mtasts.invalid');
});
