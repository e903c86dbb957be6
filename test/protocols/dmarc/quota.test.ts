/** Who a report mail is counted for, and when there is no room for it. */
import { describe, expect, it } from 'vitest';
import { overQuota, quotaSender, quotaWords, type Amount, type Quota } from '../../../protocols/dmarc/quota.ts';
import type { Authentication, DkimVerdict } from '../../../protocols/mail/authentication.ts';

const signature = (domain: string, change: Partial<DkimVerdict> = {}): DkimVerdict => ({
  result: 'pass',
  domain,
  selector: 's',
  algorithm: 'rsa-sha256',
  aligned: false,
  underSized: 0,
  ...change,
});

const authentication = (change: Partial<Authentication>): Authentication => ({
  spf: { result: 'fail', domain: 'google.com', scope: 'mfrom' },
  dkim: [],
  dmarc: { result: 'fail', domain: 'google.com', policy: 'none', disposition: 'none' },
  arc: { result: 'none', instance: 0 },
  authenticationResults: '',
  ...change,
});

describe('a mail is counted for the domain that vouches for it', () => {
  it.each<[string, Authentication | null, string]>([
    ['no word of any', null, ''],
    ['a name in the envelope and in From that nothing proves', authentication({}), ''],
    [
      'another domain signed it',
      authentication({ dkim: [signature('google.com', { result: 'fail' }), signature('evil.example')] }),
      'evil.example',
    ],
    [
      'a signature over a part of the body',
      authentication({ dkim: [signature('google.com', { underSized: 10 })] }),
      '',
    ],
    [
      'SPF of the envelope',
      authentication({ spf: { result: 'pass', domain: 'a.b.evil.co.uk', scope: 'mfrom' } }),
      'evil.co.uk',
    ],
    [
      'DMARC before the others',
      authentication({
        spf: { result: 'pass', domain: 'bounces.example', scope: 'mfrom' },
        dmarc: { result: 'pass', domain: 'google.com', policy: 'reject', disposition: 'none' },
      }),
      'google.com',
    ],
  ])('%s', (_what, given, sender) => {
    expect(quotaSender(given)).toBe(sender);
  });
});

describe('there is no room', () => {
  const none: Amount = { mails: 0, bytes: 0, records: 0 };
  const quota: Quota = {
    sender: { mails: 2, bytes: 100, records: 10 },
    address: { mails: 3, bytes: 1_000, records: 15 },
  };
  const mail = { mails: 1, bytes: 10, records: 0 };
  const over = (sender: Partial<Amount>, address: Partial<Amount>, more: Amount) =>
    overQuota({ sender: { ...none, ...sender }, address: { ...none, ...address } }, more, quota);

  it.each<[string, Partial<Amount>, Partial<Amount>, Amount, ReturnType<typeof overQuota>]>([
    ['for one mail more', { mails: 2 }, { mails: 2 }, mail, { scope: 'sender', what: 'mails', limit: 2 }],
    ['for one of anybody', {}, { mails: 3 }, mail, { scope: 'address', what: 'mails', limit: 3 }],
    ['for its bytes', { bytes: 91 }, { bytes: 91 }, mail, { scope: 'sender', what: 'bytes', limit: 100 }],
    ['for any record of it', { records: 10 }, {}, mail, { scope: 'sender', what: 'records', limit: 10 }],
    [
      'for all of the records',
      {},
      { records: 6 },
      { ...none, records: 10 },
      { scope: 'address', what: 'records', limit: 15 },
    ],
  ])('%s', (_what, sender, address, more, end) => {
    expect(over(sender, address, more)).toEqual(end);
  });

  it('and there is, up to the last of each', () => {
    expect(over({ mails: 1, bytes: 90, records: 9 }, { mails: 2, bytes: 990, records: 14 }, mail)).toBeUndefined();
    expect(over({ mails: 2, bytes: 100 }, { mails: 3, bytes: 1_000 }, { ...none, records: 10 })).toBeUndefined();
  });
});

it('says whose day it is', () => {
  const words = (sender: string, scope: keyof Quota) =>
    quotaWords({ scope, what: 'records', limit: 1_000_000 }, sender, 'example.com');
  expect(words('evil.example', 'sender')).toBe(
    'Reports about example.com from evil.example have reached the limit of a day: 1,000,000 records.',
  );
  expect(words('', 'sender')).toContain('mail that no domain vouches for');
  expect(words('evil.example', 'address')).not.toContain('evil');
});
