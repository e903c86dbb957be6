import { describe, expect, it } from 'vitest';
import { isSrsAddress, reverseSender, rewriteSender, type SrsOptions } from '../../../protocols/mail/srs.ts';
import { permanentCode } from '../errors.ts';
import { sharedJson } from '../shared-data.ts';

interface Vector {
  op: 'forward' | 'reverse';
  in: string;
  out: string | null;
  time: number;
  alias?: string;
}
const vectors = sharedJson<{ vectors: Vector[] }>('mail/srs/mail-srs-0.31-vectors.json')?.vectors ?? null;

const NOW = Date.UTC(2026, 10, 24);
const DAY = 86_400_000;
const options: SrsOptions = { secret: 'tops3cr3t', now: NOW, maxAgeDays: 21 };

it.skipIf(vectors === null)('does what Mail::SRS 0.31 does, 37 times of 37', () => {
  const reference = (vector: Vector) => ({ ...options, now: vector.time * 1000, hashLength: 4, hashLengthMin: 4 });
  const wrong = vectors!.filter((vector) => {
    let out: string | null = null;
    const failure = permanentCode(() => {
      out =
        vector.op === 'forward'
          ? rewriteSender(vector.in, { ...reference(vector), alias: vector.alias! })
          : reverseSender(vector.in, reference(vector));
    });
    if (failure !== 'nothing') expect(['srs.invalid', 'address.invalid']).toContain(failure);
    return out !== vector.out;
  });
  expect(wrong).toEqual([]);
  expect(vectors).toHaveLength(37);
});

describe('refuses', () => {
  const made = rewriteSender('alice@example.org', { ...options, alias: 'fwd.test' });
  it.each([
    [
      'a MAC of four characters, as right as it may be',
      'SRS0=vmyz=2W=otherdomain.com=test@example.com',
      Date.UTC(2020, 0, 1),
    ],
    ['an empty MAC', 'SRS0==2W=otherdomain.com=test@example.com', NOW],
    ['an address that is not SRS', 'alice@fwd.test', NOW],
    ['too few parts', 'SRS0=abcdefgh=2W@fwd.test', NOW],
    ['no address at all', 'SRS0', NOW],
    ['another local part', made.replace('alice', 'mallory'), NOW],
    ['another domain', made.replace('example.org', 'example.com'), NOW],
    ['a MAC that goes on after the right one', made.replace(/=(.{8})=/, '=$1x='), NOW],
    ['a MAC longer than there is', made.replace(/=(.{8})=/, `=${'a'.repeat(40)}=`), NOW],
  ])('%s', (_what, address, now) => {
    expect(permanentCode(() => reverseSender(address, { ...options, now }))).toBe('srs.invalid');
  });

  it('an address whose parts were cut elsewhere: the owner of example.dev does not speak for example.de', () => {
    const theirs = rewriteSender('ictim@example.dev', { ...options, alias: 'fwd.test' });
    const forged = theirs.replace('example.dev=ictim', 'example.de=victim');
    expect(forged).not.toBe(theirs);
    expect(permanentCode(() => reverseSender(forged, options))).toBe('srs.invalid');
  });

  it('the MAC of another secret', () => {
    expect(permanentCode(() => reverseSender(made, { ...options, secret: 'other' }))).toBe('srs.invalid');
  });

  it('what is past its age, and what claims to come from the future', () => {
    expect(reverseSender(made, { ...options, now: NOW + 21 * DAY })).toBe('alice@example.org');
    expect(permanentCode(() => reverseSender(made, { ...options, now: NOW + 22 * DAY }))).toBe('srs.expired');
    expect(permanentCode(() => reverseSender(made, { ...options, now: NOW - DAY }))).toBe('srs.expired');
  });
});

/** A sender of so many octets, with labels and a local part of lengths that are allowed. */
const senderOf = (octets: number): string => {
  const tail = `@${'d'.repeat(63)}.${'e'.repeat(63)}.${'f'.repeat(30)}.example.org`;
  return `${'a'.repeat(octets - tail.length)}${tail}`;
};

describe('the length of what it makes', () => {
  // SRS0= + 8 of MAC + = + 2 of day + = + domain = local part @fwd.test
  const added = 'SRS0=HHHHHHHH=TT='.length + '@fwd.test'.length;
  it('is that of a path (RFC 5321, 4.5.3.1.3), and such an address comes back', () => {
    const longest = senderOf(253 - added);
    const made = rewriteSender(longest, { ...options, alias: 'fwd.test' });
    expect(Buffer.byteLength(made)).toBe(253);
    expect(reverseSender(made, options)).toBe(longest);
  });
  it('is never more, in octets and not in characters', () => {
    const alias = 'fwd.test';
    const rewrite = (sender: string) => permanentCode(() => rewriteSender(sender, { ...options, alias }));
    expect(rewrite(senderOf(254 - added))).toBe('srs.too_long');
    expect(rewrite(senderOf(253 - added).replace('a', 'ö'))).toBe('srs.too_long');
    const first = rewriteSender(senderOf(253 - added), { ...options, alias });
    expect(permanentCode(() => rewriteSender(first, { ...options, alias: 'second.test' }))).toBe('srs.too_long');
  });
});

describe('takes back what it made', () => {
  it.each([
    'alice@example.org',
    'a.b+tag@sub.example.org',
    'x=y=z@example.org',
    '"a b"@example.org',
    'jösé@example.org',
    'SRS@example.org',
  ])('%s', (sender) => {
    const made = rewriteSender(sender, { ...options, alias: 'fwd.test' });
    expect(isSrsAddress(made)).toBe(true);
    expect(made.endsWith('@fwd.test')).toBe(true);
    expect(/^"?SRS0=([^=]*)=/.exec(made)?.[1]).toHaveLength(8);
    expect(reverseSender(made, options)).toBe(sender);
    // Some servers lower-case local parts.
    expect(reverseSender(made.toLowerCase(), options)).toBe(sender.toLowerCase());
  });

  it('over the turn of the 1024 days that two characters can count', () => {
    const lastDay = (1_024 * 20 - 1) * DAY;
    const made = rewriteSender('alice@example.org', { ...options, now: lastDay, alias: 'fwd.test' });
    expect(reverseSender(made, { ...options, now: lastDay + 5 * DAY })).toBe('alice@example.org');
  });

  it('through two and three forwarders, the last answering for the first alone', () => {
    const hops = {
      first: { ...options, secret: 'one' },
      second: { ...options, secret: 'two' },
      third: { ...options, secret: 'three' },
    };
    const one = rewriteSender('alice@example.org', { ...hops.first, alias: 'first.test' });
    const two = rewriteSender(one, { ...hops.second, alias: 'second.test' });
    const three = rewriteSender(two, { ...hops.third, alias: 'third.test' });
    expect([two, three].every((address) => address.startsWith('SRS1='))).toBe(true);
    expect(reverseSender(three, hops.third)).toBe(one);
    expect(reverseSender(two, hops.second)).toBe(one);
    expect(reverseSender(one, hops.first)).toBe('alice@example.org');
  });
});

it('leaves the null sender null and a sender of the same domain as it is', () => {
  expect(rewriteSender('', { ...options, alias: 'fwd.test' })).toBe('');
  expect(rewriteSender('bob@FWD.test', { ...options, alias: 'fwd.test' })).toBe('bob@FWD.test');
});

it('knows the form of its addresses', () => {
  expect(isSrsAddress('srs0+a=b=c=d@fwd.test')).toBe(true);
  expect(isSrsAddress('SRS1=a=b==c@fwd.test')).toBe(true);
  expect(isSrsAddress('srsly@fwd.test')).toBe(false);
  expect(isSrsAddress('alice@SRS0=x')).toBe(false);
});
