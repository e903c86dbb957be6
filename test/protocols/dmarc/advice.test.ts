/** Each expectation is worked out by hand from the thresholds' reasons, not read off the function. */
import { describe, expect, test } from 'vitest';
import { advise, standingOf, type Evidence } from '../../../protocols/dmarc/advice.ts';
import type { PolicyPublished } from '../../../protocols/dmarc/aggregate.ts';

const POLICY: PolicyPublished = {
  domain: 'example.com',
  p: 'none',
  sp: null,
  np: null,
  adkim: null,
  aspf: null,
  pct: null,
  fo: null,
  testing: null,
  discoveryMethod: null,
};

interface Sent {
  messages: number;
  passed: number;
  /** Of the failed ones. */
  quarantined?: number;
  rejected?: number;
  exempt?: number;
}

/** The sums that the store would answer for what these senders sent. */
function evidence(
  policy: Partial<PolicyPublished> | null,
  services: Record<string, Sent>,
  { addresses = {}, lastDay = '2026-11-04', days = daysTo(lastDay), apart = 0 }: Partial<Fixture> = {},
): Evidence {
  const hitOf = (sent: Sent, spared: number) => {
    const hit = sent.messages - sent.passed - spared;
    return { hit, exempt: Math.min(hit, sent.exempt ?? 0) };
  };
  const unnamed = Object.entries(addresses).map(([source, sent]) => ({
    source,
    messages: sent.messages,
    passed: sent.passed,
    quarantine: hitOf(sent, (sent.quarantined ?? 0) + (sent.rejected ?? 0)),
    reject: hitOf(sent, sent.rejected ?? 0),
    failed: hitOf(sent, 0),
  }));
  const all = [...Object.entries(services), ...Object.entries(addresses).map(([, sent]) => ['', sent] as const)];
  const sum = (field: 'messages' | 'passed') => all.reduce((total, [, sent]) => total + sent[field], 0);
  const hits = (spared: (sent: Sent) => number) => {
    const rows = all.map(([service, sent]) => ({ service, ...hitOf(sent, spared(sent)) }));
    return { hit: rows.reduce((total, { hit }) => total + hit, 0), services: rows.filter(({ hit }) => hit > 0) };
  };
  return {
    policy: policy && { ...POLICY, ...policy },
    days: all.length > 0 ? days : [],
    services: Object.entries(services).map(([service, { messages, passed }]) => ({ service, messages, passed })),
    whatIf: {
      messages: sum('messages'),
      passed: sum('passed'),
      quarantine: hits(({ quarantined = 0, rejected = 0 }) => quarantined + rejected),
      reject: hits(({ rejected = 0 }) => rejected),
      failed: hits(() => 0),
      apart,
    },
    unnamed,
  };
}
interface Fixture {
  addresses: Record<string, Sent>;
  lastDay: string;
  /** Those with messages; every day from 2026-10-01 to the last one. */
  days: string[];
  apart: number;
}

function daysTo(last: string): string[] {
  const days = [];
  for (let time = Date.parse('2026-10-01'); time <= Date.parse(last); time += 86_400_000)
    days.push(new Date(time).toISOString().slice(0, 10));
  return days;
}

const GOOD: Record<string, Sent> = { 'Google Workspace': { messages: 10_000, passed: 9_990 } };

describe('too little is known', () => {
  test('without a message it waits for the first reports', () => {
    expect(advise(evidence(null, {}))).toMatchObject({
      step: 'wait',
      title: 'Wait for the first reports.',
      next: 'quarantine',
    });
  });
  test.each([
    ['none', '2026-10-13', 'Wait: reports reach back 13 of 14 days.'],
    ['quarantine', '2026-10-27', 'Wait: reports reach back 27 of 28 days.'],
  ] as const)('under %s it waits until enough days are seen', (p, lastDay, title) => {
    expect(advise(evidence({ p }, GOOD, { lastDay }))).toMatchObject({ step: 'wait', title, senders: [] });
  });
  test.each([
    ['none', '2026-10-14'],
    ['quarantine', '2026-10-28'],
  ] as const)('and no longer (%s)', (p, lastDay) => {
    expect(advise(evidence({ p }, GOOD, { lastDay })).step).toBe('raise');
  });
  test('days without messages are none: two reports a month apart are no month', () => {
    const days = ['2026-10-02', '2026-11-03'];
    expect(advise(evidence({ p: 'quarantine' }, GOOD, { days }))).toMatchObject({
      step: 'wait',
      title: 'Wait: only 2 of 33 days have messages.',
    });
    expect(advise(evidence({ p: 'none' }, GOOD, { days })).step).toBe('wait');
  });
  test('mail on working days alone is enough, after as many weeks', () => {
    const isWorkingDay = (day: string) => ![0, 6].includes(new Date(day).getUTCDay());
    const step = (lastDay: string) =>
      advise(evidence({ p: 'quarantine' }, GOOD, { days: daysTo(lastDay).filter(isWorkingDay) })).step;
    // From Thursday the first to the Wednesday after three weeks, and to the one after.
    expect([step('2026-10-21'), step('2026-10-28')]).toEqual(['wait', 'raise']);
  });
  test('99 messages are too few, 100 are not', () => {
    expect(advise(evidence({}, { Mailer: { messages: 99, passed: 99 } })).step).toBe('wait');
    expect(advise(evidence({}, { Mailer: { messages: 100, passed: 100 } })).step).toBe('raise');
  });
  test('nobody is told to leave reject for want of reports', () => {
    expect(advise(evidence({ p: 'reject' }, {})).step).toBe('stay');
  });
});

describe('a step up', () => {
  test.each([
    [{ p: 'none' }, 'quarantine', 'Move to p=quarantine.'],
    [{ p: 'quarantine' }, 'reject', 'Move to p=reject.'],
    [{ p: 'quarantine', pct: 100 }, 'reject', 'Move to p=reject.'],
    [{ p: 'quarantine', pct: 20 }, 'quarantine', 'Take pct=20 away, so that p=quarantine holds for all mail.'],
    [{ p: 'reject', pct: 0 }, 'reject', 'Take pct=0 away, so that p=reject holds for all mail.'],
    [{ p: 'reject', testing: 'y' }, 'reject', 'Take t=y away, so that p=reject holds.'],
    [{ p: null }, 'quarantine', 'Move to p=quarantine.'],
  ] as const)('from %j it is %s', (policy, next, title) => {
    expect(advise(evidence(policy, GOOD))).toMatchObject({ step: 'raise', next, title });
  });
  test('at reject there is none', () => {
    const { step, title, reasons } = advise(evidence({ p: 'reject' }, GOOD));
    expect([step, title]).toEqual(['stay', 'Stay at reject.']);
    expect(reasons).toContain('99.9 % of 10,000 messages passed DMARC.');
  });
  test('what looks forged does not hold it up, and is said', () => {
    const forged = { messages: 5_000, passed: 0 };
    const { step, reasons } = advise(
      evidence({}, GOOD, { addresses: { '192.0.2.1': forged, '192.0.2.2': { ...forged, messages: 3 } } }),
    );
    expect(step).toBe('raise');
    expect(reasons.join(' ')).toContain('5,003 messages of 2 senders that never pass would have gone to spam too');
  });
  test('what the present policy already handles is not counted again', () => {
    const addresses = { '192.0.2.1': { messages: 900, passed: 0, quarantined: 600, rejected: 200 } };
    const reasons = (p: 'none' | 'quarantine') => advise(evidence({ p }, GOOD, { addresses })).reasons.join(' ');
    expect(reasons('none')).toContain('100 messages of 1 sender that never passes would have gone to spam');
    expect(reasons('quarantine')).toContain('700 messages of 1 sender that never passes would have been refused');
  });
  test('a weaker policy for names that do not exist is said, also where sp is strict', () => {
    const said = (sp: 'none' | 'reject' | null, np: 'none' | 'reject' | null) =>
      advise(evidence({ p: 'reject', sp, np }, GOOD)).reasons.find((reason) => reason.includes(' away.'));
    expect(said('reject', 'none')).toMatch(/weaker policy np=none.*: take np away\.$/);
    expect(said(null, 'none')).toMatch(/: take np away\.$/);
    expect(said('none', 'none')).toMatch(/: take sp and np away\.$/);
    expect(said('none', 'reject')).toMatch(/weaker policy sp=none.*: take sp away\.$/);
    expect([said('reject', 'reject'), said(null, null)]).toEqual([undefined, undefined]);
  });
  test('what sp rules is said and not counted, and is to be looked at before sp goes', () => {
    const { step, reasons } = advise(evidence({ p: 'reject', sp: 'none' }, GOOD, { apart: 700 }));
    expect(step).toBe('stay');
    expect(reasons).toContain(
      '700 messages in the names of subdomains failed, and are not counted here: sp=none, or a record of their own, says what becomes of them.',
    );
    expect(reasons.at(-1)).toMatch(/: see who sends these, then take sp away\.$/);
  });
  test('a weaker policy for subdomains is said; an equal or stricter one is not', () => {
    const said = (sp: 'none' | 'quarantine' | 'reject') =>
      advise(evidence({ p: 'quarantine', sp }, GOOD)).reasons.some((reason) => reason.includes('take sp away'));
    expect([said('none'), said('quarantine'), said('reject')]).toEqual([true, false, false]);
  });
  test('mail that receivers made exceptions for does not hold it up, but stands in the way of reject', () => {
    const lists = { ...GOOD, Lists: { messages: 500, passed: 400, exempt: 100 } };
    const to = (p: 'none' | 'quarantine') => advise(evidence({ p }, lists));
    expect([to('none').step, to('quarantine').step]).toEqual(['raise', 'raise']);
    expect(to('quarantine').reasons.join(' ')).toMatch(
      /^.*100 messages failed and the receiver made an exception.*mailing lists, stay/,
    );
    expect(to('none').reasons.join(' ')).not.toContain('exception');
  });
});

describe('own senders that fail', () => {
  test('one is named, with what it would lose', () => {
    const advice = advise(evidence({}, { ...GOOD, Mailer: { messages: 1_000, passed: 300 } }));
    expect(advice).toMatchObject({ step: 'fix', next: 'quarantine', title: 'Fix Mailer, then move to p=quarantine.' });
    expect(advice.reasons[0]).toMatch(/^Mailer: 700 of its 1,000 messages would have gone to spam\./);
    expect(advice.senders).toMatchObject([{ name: 'Mailer', kind: 'service', standing: 'partly', hit: 700 }]);
  });
  test('an address without a service is named too', () => {
    const advice = advise(evidence({}, GOOD, { addresses: { '2001:db8::1': { messages: 100, passed: 50 } } }));
    expect(advice.title).toBe('Fix 2001:db8::1, then move to p=quarantine.');
    expect(advice.senders[0]?.kind).toBe('address');
  });
  test.each([
    ['excepted', { messages: 1_000, passed: 800, exempt: 200 }, 'raise'],
    ['excepted in part', { messages: 1_000, passed: 800, exempt: 100 }, 'fix'],
    ['quarantined in part', { messages: 1_000, passed: 800, quarantined: 150 }, 'fix'],
    ['quarantined', { messages: 1_000, passed: 800, quarantined: 200 }, 'raise'],
  ] as const)('what fails is judged alike with a name and without: %s', (_what, sent, step) => {
    expect(advise(evidence({}, { ...GOOD, Mailer: sent })).step).toBe(step);
    expect(advise(evidence({}, GOOD, { addresses: { '192.0.2.1': sent } })).step).toBe(step);
  });
  test('many are named by the first three, the most hit first', () => {
    const senders = Object.fromEntries(
      ['A', 'B', 'C', 'D', 'E'].map((name, at) => [name, { messages: 1_000, passed: 500 - at }]),
    );
    expect(advise(evidence({}, { ...GOOD, ...senders })).title).toBe(
      'Fix E, D, C and 2 others, then move to p=quarantine.',
    );
  });
  test('two in a hundred may fail, and nine messages are chance', () => {
    const step = (sent: Sent) => advise(evidence({}, { ...GOOD, Mailer: sent })).step;
    expect(step({ messages: 1_000, passed: 980 })).toBe('raise');
    expect(step({ messages: 1_000, passed: 979 })).toBe('fix');
    expect(step({ messages: 20, passed: 11 })).toBe('raise');
    expect(step({ messages: 20, passed: 10 })).toBe('fix');
  });
  test('a little of everybody is too much together', () => {
    const senders = Object.fromEntries(['A', 'B', 'C'].map((name) => [name, { messages: 1_000, passed: 982 }]));
    const advice = advise(evidence({}, senders));
    expect(advice.step).toBe('fix');
    expect(advice.reasons[0]).toContain('54 messages');
    expect(advice.reasons[0]).toContain('1.8 % of their mail');
  });
  test('under reject what was refused counts, and the policy stays', () => {
    const advice = advise(
      evidence({ p: 'reject' }, { ...GOOD, Mailer: { messages: 1_000, passed: 300, rejected: 700 } }),
    );
    expect(advice).toMatchObject({ step: 'fix', next: 'reject', title: 'Fix Mailer, then stay at reject.' });
    expect(advice.reasons[0]).toMatch(/700 of its 1,000 messages failed/);
  });
  test('where nothing passes, that comes first, and a domain without mail may refuse all', () => {
    const advice = advise(evidence({}, { Mailer: { messages: 1_000, passed: 0 } }));
    expect(advice.step).toBe('fix');
    expect(advice.title).toMatch(/no message of the domain passes/);
    expect(advice.reasons[1]).toContain('p=reject');
  });
});

describe('services that never pass', () => {
  const withUnknown = (messages: number, p: 'none' | 'reject' = 'none') =>
    advise(evidence({ p }, { ...GOOD, Newsletters: { messages, passed: 0 } }));
  test('a large one is to be looked at first', () => {
    const advice = withUnknown(200);
    expect(advice.title).toBe('Find out whether Newsletters sends for you, then move to p=quarantine.');
    expect(advice).toMatchObject({ step: 'check', senders: [{ name: 'Newsletters', standing: 'never' }] });
  });
  test('under one per cent it counts as forged', () => {
    expect(withUnknown(100).step).toBe('raise');
  });
  test('at reject they are what the policy is for', () => {
    expect(withUnknown(5_000, 'reject').step).toBe('stay');
  });
});

test.each([
  [100, 98, 'passes'],
  [100, 97, 'partly'],
  [100, 5, 'partly'],
  [100, 4, 'never'],
  [0, 0, 'never'],
] as const)('of %i messages %i passed: %s', (messages, passed, standing) => {
  expect(standingOf({ messages, passed })).toBe(standing);
});
