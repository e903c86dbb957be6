import { describe, expect, it } from 'vitest';
import type { Authentication, DkimVerdict } from '../../../protocols/mail/authentication.ts';
import { judge, mayBounce, type Findings, type MailPolicy } from '../../../protocols/mail/policy.ts';

const signature = (result: DkimVerdict['result'], domain = 'a.test', underSized = 0): DkimVerdict => ({
  result,
  domain,
  selector: 's',
  algorithm: 'rsa-sha256',
  aligned: result === 'pass' && underSized === 0,
  underSized,
});

interface Case {
  spf?: Authentication['spf']['result'];
  dkim?: DkimVerdict['result'][];
  dmarc?: Authentication['dmarc']['result'];
  p?: Authentication['dmarc']['policy'];
  temporary?: boolean;
  author?: string;
  srs?: boolean;
  policy?: Partial<MailPolicy>;
}
function authentication({ spf = 'none', dkim = [], dmarc = 'none', p = null }: Case): Authentication {
  return {
    spf: { result: spf, domain: 'a.test', scope: 'mfrom' },
    dkim: dkim.map((result) => signature(result)),
    dmarc: { result: dmarc, domain: 'a.test', policy: p, disposition: 'none' },
    arc: { result: 'none', instance: 0 },
    authenticationResults: '',
  };
}
function judged(given: Case): string {
  const findings: Findings = {
    authentication: authentication(given),
    temporary: given.temporary ?? false,
    authorProblem: given.author ?? null,
    isSrsReturn: given.srs ?? false,
  };
  const judgement = judge(findings, { unauthenticated: 'refuse', dmarcReject: 'refuse', ...given.policy });
  return judgement.verdict === 'accept'
    ? `accept ${judgement.disposition}`
    : `${judgement.reply.code} ${judgement.reply.enhanced} ${judgement.code}`;
}

const REJECTED = '550 5.7.1 dmarc.rejected';
const UNAUTHENTICATED = '550 5.7.26 mail.unauthenticated';
const UNKNOWN = '451 4.7.24 dns.unavailable';

describe('the decision in the session', () => {
  it.each<[string, Case, string]>([
    ['several authors', { spf: 'pass', author: 'several From fields' }, '550 5.6.0 mail.author'],
    ['DMARC fails under p=reject', { spf: 'pass', dmarc: 'fail', p: 'reject' }, REJECTED],
    ['DMARC fails under p=reject though a signature passes', { dkim: ['pass'], dmarc: 'fail', p: 'reject' }, REJECTED],
    ['the same for a mail to an SRS address', { dmarc: 'fail', p: 'reject', srs: true }, REJECTED],
    [
      'the same when the policy is to accept',
      { spf: 'pass', dmarc: 'fail', p: 'reject', policy: { dmarcReject: 'accept' } },
      'accept reject',
    ],
    ['DMARC fails under p=quarantine', { spf: 'pass', dmarc: 'fail', p: 'quarantine' }, 'accept quarantine'],
    ['DMARC fails under p=none', { spf: 'pass', dmarc: 'fail', p: 'none' }, 'accept none'],
    [
      'DMARC fails under p=quarantine and nothing passes',
      { spf: 'fail', dmarc: 'fail', p: 'quarantine' },
      UNAUTHENTICATED,
    ],
    ['neither SPF nor DKIM', {}, UNAUTHENTICATED],
    ['SPF fails, DKIM fails', { spf: 'fail', dkim: ['fail'] }, UNAUTHENTICATED],
    ['SPF softfail, DKIM neutral', { spf: 'softfail', dkim: ['neutral'] }, UNAUTHENTICATED],
    ['SPF permerror', { spf: 'permerror' }, UNAUTHENTICATED],
    [
      'nothing passes, and the policy is to accept',
      { spf: 'fail', policy: { unauthenticated: 'accept' } },
      'accept none',
    ],
    ['nothing passes, to an SRS address of ours', { spf: 'none', srs: true }, 'accept none'],
    ['SPF passes', { spf: 'pass' }, 'accept none'],
    ['one of several signatures passes', { spf: 'fail', dkim: ['fail', 'pass'] }, 'accept none'],
    ['DMARC passes', { dkim: ['pass'], dmarc: 'pass', p: 'reject' }, 'accept none'],
    ['SPF cannot be told', { spf: 'temperror', temporary: true }, UNKNOWN],
    ['a key cannot be read', { spf: 'fail', dkim: ['temperror'] }, UNKNOWN],
    [
      'p=reject, and a key cannot be read',
      { spf: 'fail', dkim: ['temperror'], dmarc: 'fail', p: 'reject', temporary: true },
      UNKNOWN,
    ],
    ['an error somewhere that verdicts do not show', { spf: 'none', temporary: true }, UNKNOWN],
    ['SPF passes, a key cannot be read', { spf: 'pass', dkim: ['temperror'], temporary: true }, 'accept none'],
    [
      'DMARC passes, SPF cannot be told',
      { spf: 'temperror', dkim: ['pass'], dmarc: 'pass', p: 'reject', temporary: true },
      'accept none',
    ],
    [
      'the DMARC policy cannot be read',
      { spf: 'pass', dmarc: 'temperror', temporary: true },
      '451 4.4.3 dns.unavailable',
    ],
    [
      'the DMARC policy cannot be read and does not matter',
      { spf: 'pass', dmarc: 'temperror', policy: { dmarcReject: 'accept' } },
      'accept none',
    ],
    [
      'an error, and everything is accepted anyway',
      { spf: 'temperror', policy: { unauthenticated: 'accept' }, temporary: true },
      'accept none',
    ],
  ])('%s', (_what, given, expected) => expect(judged(given)).toBe(expected));

  it('puts no line break of a stranger into the reply', () => {
    const findings = {
      authentication: authentication({}),
      temporary: false,
      authorProblem: 'x\r\n250 ok',
      isSrsReturn: false,
    };
    const judgement = judge(findings, { unauthenticated: 'refuse', dmarcReject: 'refuse' });
    expect(judgement.verdict === 'reject' && judgement.reply.text).toMatch(/^[^\r\n]*x 250 ok$/);
  });
});

describe('a bounce goes only to who is shown to have sent the mail', () => {
  const sender = 'alice@mail.a.test';
  const found = (change: Partial<Authentication>): Authentication => ({ ...authentication({}), ...change });
  const spf = (result: 'pass' | 'fail', scope: 'mfrom' | 'helo' = 'mfrom', domain = 'mail.a.test') => ({
    spf: { result, domain, scope },
  });

  it.each<[string, Authentication, string, boolean]>([
    ['to the null sender never', found(spf('pass')), '', false],
    ['when nothing passed', found({}), sender, false],
    ['when SPF failed', found(spf('fail')), sender, false],
    ['when SPF passed for the HELO name', found(spf('pass', 'helo')), sender, false],
    ['when SPF passed for another domain', found(spf('pass', 'mfrom', 'evil.test')), sender, false],
    [
      'when DMARC failed',
      found({ ...spf('pass'), dmarc: { result: 'fail', domain: 'b.test', policy: 'none', disposition: 'none' } }),
      sender,
      false,
    ],
    ['when a stranger signed', found({ dkim: [signature('pass', 'evil.test')] }), sender, false],
    ['when a look-alike signed', found({ dkim: [signature('pass', 'evila.test')] }), sender, false],
    ['when a top-level domain signed', found({ dkim: [signature('pass', 'test')] }), sender, false],
    ['when the signature failed', found({ dkim: [signature('fail', 'mail.a.test')] }), sender, false],
    [
      'when the signature leaves a part of the body open',
      found({ dkim: [signature('pass', 'mail.a.test', 10)] }),
      sender,
      false,
    ],
    ['when SPF passed', found(spf('pass')), sender, true],
    ['when SPF passed in other letters', found(spf('pass')), 'alice@MAIL.a.test', true],
    [
      'when SPF passed for the A-label of its U-label',
      found(spf('pass', 'mfrom', 'xn--bcher-kva.test')),
      'alice@bücher.test',
      true,
    ],
    ['when its domain signed', found({ dkim: [signature('fail'), signature('pass', 'mail.a.test')] }), sender, true],
    ['when its parent signed', found({ dkim: [signature('pass', 'a.test')] }), sender, true],
    ['when its child signed', found({ dkim: [signature('pass', 'x.mail.a.test')] }), sender, false],
    [
      'when a neighbour below a public suffix signed',
      found({ dkim: [signature('pass', 'evil.github.io')] }),
      'a@github.io',
      false,
    ],
  ])('%s', (_what, given, to, expected) => expect(mayBounce(given, to)).toBe(expected));
});
