/**
 * What to do next about a domain's policy, from what receivers reported: a pure function of sums, so that everybody can
 * read how it comes about. A policy is made stricter one step at a time, and only where the domain's own mail would not be
 * lost (RFC 9989, 5.1).
 */
import { number, plural, share } from '../figures.ts';
import type { Policy, PolicyPublished } from './aggregate.ts';

/** Days that are looked at: five of every weekday, and every day of a month. What was mended before no longer counts. */
export const ADVICE_DAYS = 35;
/** Two weeks have the weekly newsletter twice. Quarantined mail can still be found by who waits for it. */
export const DAYS_BEFORE_QUARANTINE = 14;
/** Four weeks have the monthly invoices once. Refused mail is gone. */
export const DAYS_BEFORE_REJECT = 28;
/**
 * Part of these days that must have messages: an office sends on five days of seven, and a receiver who saw nothing reports
 * nothing. Fewer are a gap that reports were lost in, or mail that goes out too seldom to be judged so soon.
 */
export const DAYS_WITH_MAIL = 0.5;
/** Of fewer messages one per cent is no message. */
export const MIN_MESSAGES = 100;
/** Whose mail passes as often as this is set up for the domain, if not well: a forger's never passes. */
export const OWN_SHARE = 0.05;
/** Part of a sender's mail that may fail: forwarding and lists break as much, and nobody can mend them. */
export const SENDER_LOSS = 0.02;
/** Part of all own mail that may fail, from whichever senders. */
export const DOMAIN_LOSS = 0.01;
/** Fewer messages of one sender are chance. */
export const MIN_LOSS = 10;
/** A named service that never passes and has this part of all mail may well be one's own. */
export const UNKNOWN_SHARE = 0.01;

export interface SenderCounts {
  messages: number;
  passed: number;
}

interface Hit {
  hit: number;
  exempt: number;
}
interface Hits {
  hit: number;
  services: (Hit & { service: string })[];
}

export interface Evidence {
  /** Of the newest report about the domain itself. */
  policy: PolicyPublished | null;
  /** Days with messages, `YYYY-MM-DD`, ascending. */
  days: string[];
  services: (SenderCounts & { service: string })[];
  /** Failed and not yet quarantined or refused; failed and not yet refused; failed; failed and not ruled by `p`. */
  whatIf: { messages: number; passed: number; quarantine: Hits; reject: Hits; failed: Hits; apart: number };
  /** Addresses with failures that belong to no service, and the same of each. */
  unnamed: (SenderCounts & { source: string; quarantine: Hit; reject: Hit; failed: Hit })[];
}

/** `passes`, or nearly; `partly`: set up, not well; `never`: a forger, or a service that was never set up. */
export type Standing = 'passes' | 'partly' | 'never';

export interface AdvisedSender extends SenderCounts {
  /** Of a service, or the address of what no rule names. */
  name: string;
  kind: 'service' | 'address';
  standing: Standing;
  /** Messages that the next policy would touch; those that failed where there is no next one. */
  hit: number;
  /** Of these the receiver made an exception: forwarded, a mailing list, local policy. */
  exempt: number;
}

export interface Advice {
  /** `wait` for more reports, `fix` own senders, `check` whose senders these are, `raise` the policy, `stay`. */
  step: 'wait' | 'fix' | 'check' | 'raise' | 'stay';
  current: Policy | null;
  /** The policy to have next, once what stands before it is done. */
  next: Policy;
  /** One sentence that says what to do. */
  title: string;
  /** Whole sentences, the weightiest first. */
  reasons: string[];
  /** Those that the title speaks of, most hit first. */
  senders: AdvisedSender[];
}

export function advise(evidence: Evidence): Advice {
  const { policy, whatIf } = evidence;
  const current = policy?.p ?? null;
  const { next, by } = nextPolicy(policy);
  const base = { current, next };
  const early = tooEarly(evidence, next);
  if (early) return { ...base, step: current === 'reject' ? 'stay' : 'wait', ...early, senders: [] };

  const senders = sendersOf(evidence, next, by === null);
  const own = senders.filter(({ standing }) => standing !== 'never');
  const toFix = own.filter((one) => isLossy(one));
  const toCheck = senders.filter(
    ({ kind, standing, messages }) =>
      standing === 'never' && kind === 'service' && messages >= UNKNOWN_SHARE * whatIf.messages && messages >= MIN_LOSS,
  );
  const then = by ?? 'stay at reject';
  const passing = `${share(whatIf.passed, whatIf.messages)} of ${plural(whatIf.messages, 'message')} passed DMARC.`;
  const rest = [
    passing,
    ...forgeryReasons(senders, toCheck, next, by === null),
    ...listReasons(senders, next, by),
    ...subdomainReasons(policy, whatIf.apart),
  ];

  if (whatIf.passed === 0)
    return {
      ...base,
      step: 'fix',
      title: `Set up DKIM or SPF first: no message of the domain passes.`,
      reasons: [
        `Of ${plural(whatIf.messages, 'message')} none was signed by the domain or came from a host that its SPF record names.`,
        'If the domain sends no mail at all, nothing can be lost: publish p=reject and an SPF record of "v=spf1 -all".',
      ],
      senders: senders.slice(0, SHOWN),
    };
  if (toFix.length > 0)
    return {
      ...base,
      step: 'fix',
      title: `Fix ${names(toFix)}, then ${then}.`,
      reasons: [...toFix.slice(0, SHOWN).map((one) => fixReason(one, next, by === null)), fixWords(toFix), ...rest],
      senders: toFix,
    };
  const loss = own.reduce((sum, one) => sum + lossOf(one), 0);
  if (loss > DOMAIN_LOSS * (whatIf.passed + loss))
    return {
      ...base,
      step: 'fix',
      title: `Look at the senders that fail now and then${by === null ? '' : `, before you ${by}`}.`,
      reasons: [
        `No sender stands out, but together ${plural(loss, 'message')} of senders that are set up for the domain ${verb(next, by === null)}; that is ${share(loss, whatIf.passed + loss)} of their mail.`,
        ...rest,
      ],
      senders: own.filter((one) => lossOf(one) > 0).slice(0, SHOWN),
    };
  if (toCheck.length > 0 && by !== null)
    return {
      ...base,
      step: 'check',
      title: `Find out whether ${names(toCheck)} ${toCheck.length === 1 ? 'sends' : 'send'} for you, then ${then}.`,
      reasons: [...toCheck.slice(0, SHOWN).map((one) => checkReason(one)), ...rest],
      senders: toCheck,
    };
  return {
    ...base,
    step: by === null ? 'stay' : 'raise',
    title: by === null ? 'Stay at reject.' : `${by[0]?.toUpperCase()}${by.slice(1)}.`,
    reasons: [
      ...(by === null
        ? ["It is the strictest policy, and the domain's own mail passes it."]
        : [
            loss === 0
              ? `No message of the senders that are set up for the domain ${verb(next, false)}.`
              : `Only ${plural(loss, 'message')} of the senders that are set up for the domain ${verb(next, false)}, about what forwarding breaks anywhere.`,
          ]),
      ...rest,
    ],
    senders: [],
  };
}

/** How a sender stands with the domain. */
export function standingOf({ messages, passed }: SenderCounts): Standing {
  if (passed < OWN_SHARE * messages || passed === 0) return 'never';
  return messages - passed > SENDER_LOSS * messages ? 'partly' : 'passes';
}

/** Senders that a sentence or a list names. */
const SHOWN = 3;

/** The policy to have next and how one gets there; null where there is nothing stricter. */
function nextPolicy(policy: PolicyPublished | null): { next: Policy; by: string | null } {
  const current = policy?.p ?? 'none';
  if (current === 'none') return { next: 'quarantine', by: 'move to p=quarantine' };
  // RFC 9989, 4.7: under t=y receivers do what the next weaker policy says.
  if (policy?.testing === 'y') return { next: current, by: `take t=y away, so that p=${current} holds` };
  // RFC 7489, 6.3: the rest is treated as under the next weaker policy.
  if (policy?.pct !== null && policy?.pct !== undefined && policy.pct < 100)
    return { next: current, by: `take pct=${policy.pct} away, so that p=${current} holds for all mail` };
  return current === 'quarantine' ? { next: 'reject', by: 'move to p=reject' } : { next: 'reject', by: null };
}

function tooEarly({ whatIf, days }: Evidence, next: Policy): Pick<Advice, 'title' | 'reasons'> | undefined {
  if (whatIf.messages === 0)
    return {
      title: 'Wait for the first reports.',
      reasons: ['Receivers send one a day, most of them in the hours after midnight UTC, to the address in rua=.'],
    };
  const span = daysBetween(days[0] ?? '', days.at(-1) ?? '');
  const needed = next === 'reject' ? DAYS_BEFORE_REJECT : DAYS_BEFORE_QUARANTINE;
  if (span < needed)
    return {
      title: `Wait: reports reach back ${number(span)} of ${plural(needed, 'day')}.`,
      reasons: [
        next === 'reject'
          ? 'Before p=reject a whole month should have been seen: invoices and reminders go out once in it.'
          : 'Two weeks have every weekday twice, with the newsletter that goes out on one of them.',
      ],
    };
  if (days.length < DAYS_WITH_MAIL * needed)
    return {
      title: `Wait: only ${number(days.length)} of ${plural(span, 'day')} ${days.length === 1 ? 'has' : 'have'} messages.`,
      reasons: [
        `${number(DAYS_WITH_MAIL * needed)} should have some, or most of what the domain sends may not have been seen: reports of a time in which none could come are missing for good.`,
        'If the domain sends mail more seldom than that, go on once everything that it sends in a month has been reported.',
      ],
    };
  if (whatIf.messages < MIN_MESSAGES)
    return {
      title: `Wait: too few messages so far (${number(whatIf.messages)}).`,
      reasons: [`From ${number(MIN_MESSAGES)} messages on a part of them says something about the rest.`],
    };
  return undefined;
}

/** Both ends included. @returns NaN of no days */
function daysBetween(first: string, last: string): number {
  return Math.round((Date.parse(last) - Date.parse(first)) / 86_400_000) + 1;
}

/** Most hit first. @param isLast there is no next policy: all that failed counts */
function sendersOf({ services, whatIf, unnamed }: Evidence, next: Policy, isLast: boolean): AdvisedSender[] {
  const by = isLast ? 'failed' : next === 'reject' ? 'reject' : 'quarantine';
  const hits = whatIf[by].services;
  const named = services
    .filter(({ service }) => service !== '')
    .map(({ service: name, messages, passed }): AdvisedSender => {
      const { hit = 0, exempt = 0 } = hits.find(({ service }) => service === name) ?? {};
      const kind = 'service';
      const counts = { messages, passed };
      return { name, kind, ...counts, standing: standingOf(counts), hit, exempt };
    });
  const addresses = unnamed.map(({ source: name, messages, passed, ...each }): AdvisedSender => {
    return { name, kind: 'address', messages, passed, standing: standingOf({ messages, passed }), ...each[by] };
  });
  return [...named, ...addresses].sort((one, other) => other.hit - one.hit || (one.name < other.name ? -1 : 1));
}

const lossOf = ({ hit, exempt }: AdvisedSender): number => Math.max(0, hit - exempt);
const isLossy = (one: AdvisedSender): boolean => lossOf(one) >= MIN_LOSS && lossOf(one) > SENDER_LOSS * one.messages;

function names(senders: AdvisedSender[]): string {
  const shown = senders.slice(0, SHOWN).map(({ name }) => name);
  const more = senders.length - shown.length;
  const all = more > 0 ? [...shown, plural(more, 'other')] : shown;
  return all.length === 1 ? (all[0] ?? '') : `${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;
}

/** What the policy would have done with the messages, or what happened to them. */
const verb = (next: Policy, isLast: boolean): string =>
  isLast ? 'failed' : next === 'reject' ? 'would have been refused' : 'would have gone to spam';

const fixReason = (one: AdvisedSender, next: Policy, isLast: boolean): string =>
  `${one.name}: ${number(lossOf(one))} of its ${plural(one.messages, 'message')} ${verb(next, isLast)}.`;

const fixWords = (senders: AdvisedSender[]): string =>
  senders.length === 1
    ? 'Other mail of it passes, so it is set up for the domain, but not everywhere: let it sign with a DKIM key of the domain.'
    : 'Other mail of them passes, so they are set up for the domain, but not everywhere: let them sign with a DKIM key of the domain.';

const checkReason = (one: AdvisedSender): string =>
  `${one.name} sent ${plural(one.messages, 'message')} and ${one.passed === 0 ? 'none' : 'next to none'} passed. If it is a service that you use, give it a DKIM key of the domain first; if nobody knows it, these are forgeries and the policy stops them.`;

function forgeryReasons(senders: AdvisedSender[], apart: AdvisedSender[], next: Policy, isLast: boolean): string[] {
  const forged = senders.filter((one) => one.standing === 'never' && !apart.includes(one) && one.hit > 0);
  const hit = forged.reduce((sum, one) => sum + one.hit, 0);
  if (hit === 0) return [];
  const from = `${plural(hit, 'message')} of ${plural(forged.length, 'sender')} that never ${forged.length === 1 ? 'passes' : 'pass'}`;
  return [
    isLast
      ? `${from} look forged, and receivers were told to refuse them.`
      : `${from} ${verb(next, false)} too: they look forged, and that is what the policy is for.`,
  ];
}

/** RFC 9989, 7.4: what goes through mailing lists fails by no fault of the sender, and a receiver may refuse it. */
function listReasons(senders: AdvisedSender[], next: Policy, by: string | null): string[] {
  const exempt = senders.reduce((sum, one) => sum + one.exempt, 0);
  if (exempt === 0 || next !== 'reject' || by === null) return [];
  return [
    `${plural(exempt, 'message')} failed and the receiver made an exception (forwarded, mailing list, local policy); it need not make it again. If people of the domain write to mailing lists, stay at quarantine.`,
  ];
}

/** RFC 9989, 4.7: without sp, subdomains have the policy of the domain; without np, those that do not exist have theirs. */
function subdomainReasons(policy: PolicyPublished | null, apart: number): string[] {
  const { p = null, sp = null, np = null } = policy ?? {};
  const isWeaker = (one: Policy | null): one is Policy => p !== null && one !== null && RANK[one] < RANK[p];
  const reasons = [];
  if (apart > 0)
    reasons.push(
      `${plural(apart, 'message')} in the names of subdomains failed, and ${apart === 1 ? 'is' : 'are'} not counted here: ${sp === null ? 'a record of their own' : `sp=${sp}, or a record of their own,`} says what becomes of them.`,
    );
  if (isWeaker(sp))
    reasons.push(
      `Subdomains have the weaker policy sp=${sp}${isWeaker(np) ? `, those that do not exist np=${np}` : ''}, and forgers may use any name below the domain: ${apart > 0 ? 'see who sends these, then ' : ''}take ${isWeaker(np) ? 'sp and np' : 'sp'} away.`,
    );
  else if (isWeaker(np))
    reasons.push(
      `Subdomains that do not exist have the weaker policy np=${np}, and forgers may make up any name below the domain: take np away.`,
    );
  return reasons;
}

const RANK: Record<Policy, number> = { none: 0, quarantine: 1, reject: 2 };
