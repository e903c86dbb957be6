/** What reports said about some days, for people who will not look at a page: facts, and a mail made of them. */
import { z } from 'zod';
import { defineStep } from '../step.ts';
import type { Dependencies } from '../dependencies.ts';
import { adviseOn } from './advise.ts';
import { hasWeekBefore } from './newcomers.ts';
import { htmlOf, subjectOf, textOf } from './summary-mail.ts';
import { POLICIES } from '../../protocols/dmarc/aggregate.ts';
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import { PermanentError } from '../../protocols/errors.ts';
import type { Range, SourceCounts } from '../../stores/records/dmarc/queries-port.ts';

/** A week has the newsletter once and every weekday. */
export const SUMMARY_DAYS = 7;
/** A year: a longer one is a page to look at. */
export const MOST_SUMMARY_DAYS = 366;
/** Domains that are told of one by one, those with most failing messages. */
const SHOWN_DOMAINS = 25;
/** Bytes of the HTML: mail clients cut what is over 100 KB. Strangers' words can make a few domains as long as that. */
const MAIL_SIZE = 95_000;
/** New senders of a domain; the others are behind the link. */
const SHOWN_SOURCES = 5;
/** What the records answer at most. */
const SOURCES = 500;
const SHOWN_REASONS = 3;
/** Characters of what a stranger may have written. */
const WORDS = 200;

const Count = z.number().int();
const Figures = z.object({
  messages: Count,
  passed: Count.describe('DKIM or SPF passed in alignment.'),
  passRate: z.number().nullable().describe('Part of the messages that passed, 0 to 1; none without messages.'),
});
export type Figures = z.output<typeof Figures>;

const NewSource = z.object({
  source: z.string().describe('IPv4 or IPv6 address.'),
  name: z.string().nullable().describe('Name of the host, or of the service that runs it.'),
  country: z.string().nullable(),
  network: z.string().nullable(),
  messages: Count,
  failed: Count,
});

const DomainOfSummary = z.object({
  domain: z.string(),
  url: z.string().describe('The page about these days.'),
  policy: z.enum(POLICIES).nullable().describe('As receivers found it last.'),
  now: Figures,
  before: Figures.describe('As many days before.'),
  reports: Count,
  refused: Count.describe('Mails and files that came as reports since the first day and were not taken.'),
  isComparable: z
    .boolean()
    .describe(
      'Whether there is a week of reports before these days; without one every sender is new, and none is named.',
    ),
  newFailing: z.array(NewSource).describe('Senders first seen in these days that fail; most failed first.'),
  newFailingMore: Count.describe('How many more of them there are.'),
  advice: z.object({
    step: z.enum(['wait', 'fix', 'check', 'raise', 'stay']),
    title: z.string(),
    reasons: z.array(z.string()),
  }),
});
export type DomainOfSummary = z.output<typeof DomainOfSummary>;

const Facts = z.object({
  from: z.string().describe('First day, UTC.'),
  to: z.string().describe('Last day, UTC.'),
  days: Count,
  url: z.string().describe('The page about all domains.'),
  now: Figures.describe('Of all domains together.'),
  before: Figures,
  domains: z.array(DomainOfSummary).describe('Most failing messages first.'),
  domainsMore: Count.describe('Domains that are not told of one by one.'),
});
export type Facts = z.output<typeof Facts>;

export const Summary = Facts.extend({ subject: z.string(), text: z.string(), html: z.string() });

export const SummaryInput = z.object({
  domain: z.string().max(253).nullable().default(null).describe('The domain; without it every one that is known.'),
  days: z.number().int().min(1).max(MOST_SUMMARY_DAYS).default(SUMMARY_DAYS).describe('How many days.'),
  to: z.iso
    .date()
    .optional()
    .describe('The last of them, such as 2026-11-22; yesterday (UTC) where it is not said: today has no reports yet.'),
});

export const summarize = defineStep({
  name: 'dmarc.summarize',
  summary: 'Sum up what was reported in some days: facts, and the subject, text and HTML of a mail about them.',
  input: SummaryInput,
  output: Summary,
  needs: ['records', 'publicUrl'],
  takes: 'long',
  repeat: 'safe',
  scope: 'dmarc:read',
  errors: ['dmarc.domain_missing', 'records.unavailable'],
  async run({ domain, days, to = dayBefore(new Date().toISOString().slice(0, 10), 1) }, dependencies, step) {
    const range = { from: dayBefore(to, days - 1), to };
    const known = await domainsOf(domain, dependencies);
    const counted = [];
    for (const name of known) {
      step.signal.throwIfAborted();
      counted.push(await figuresOf({ domain: name, ...range }, days, dependencies));
      step.report({ domains: counted.length });
    }
    const failing = ({ now }: { now: Figures }) => now.messages - now.passed;
    counted.sort((one, other) => failing(other) - failing(one) || other.now.messages - one.now.messages);
    const domains = [];
    for (const one of counted.slice(0, SHOWN_DOMAINS)) domains.push(await describe(one, range, dependencies));
    const rest = {
      ...range,
      days,
      url: `${dependencies.publicUrl}/dmarc`,
      now: sum(counted.map(({ now }) => now)),
      before: sum(counted.map(({ before }) => before)),
    };
    for (let shown = domains.length; ; shown -= 1) {
      const facts: Facts = { ...rest, domains: domains.slice(0, shown), domainsMore: counted.length - shown };
      const html = htmlOf(facts);
      if (shown > 1 && Buffer.byteLength(html) > MAIL_SIZE) continue;
      return { ...facts, subject: subjectOf(facts), text: textOf(facts), html };
    }
  },
});

type Part = Pick<Dependencies, 'records' | 'publicUrl'>;

/** @throws PermanentError `dmarc.domain_missing` */
async function domainsOf(wanted: string | null, { records }: Pick<Part, 'records'>): Promise<string[]> {
  const known = (await records.dmarc.queries.domains(new Date().toISOString().slice(0, 10))).map(
    ({ domain }) => domain,
  );
  if (wanted === null) return known;
  const domain = wanted.trim().toLowerCase().replace(/\.$/, '');
  if (known.includes(domain)) return [domain];
  throw new PermanentError({
    code: 'dmarc.domain_missing',
    message: `No reports about ${JSON.stringify(wanted)} are taken here.`,
    fix: 'switchyard dmarc list shows the domains; switchyard dmarc add takes reports about another one.',
  });
}

interface Counted {
  domain: string;
  now: Figures;
  before: Figures;
  reports: number;
}

async function figuresOf(range: Range, days: number, { records }: Pick<Part, 'records'>): Promise<Counted> {
  const { queries } = records.dmarc;
  const earlier = { ...range, from: dayBefore(range.from, days), to: dayBefore(range.from, 1) };
  const { now, before } = await queries.inOneState(async (of) => ({
    now: await of.totals(range),
    before: await of.totals(earlier),
  }));
  return { domain: range.domain, now: figures(now), before: figures(before), reports: now.reports };
}

const figures = ({ messages, passed }: { messages: number; passed: number }): Figures => ({
  messages,
  passed,
  passRate: messages === 0 ? null : passed / messages,
});

function sum(all: Figures[]): Figures {
  const total = (name: 'messages' | 'passed') => all.reduce((count, one) => count + one[name], 0);
  return figures({ messages: total('messages'), passed: total('passed') });
}

async function describe(
  { domain, ...counted }: Counted,
  { from, to }: Omit<Range, 'domain'>,
  { records, publicUrl }: Part,
): Promise<DomainOfSummary> {
  const { queries, quarantine } = records.dmarc;
  const { policy, isComparable, fresh } = await queries.inOneState(async (of) => ({
    policy: await of.policy(domain),
    isComparable: await hasWeekBefore(of, domain, from),
    fresh: await of.sources({ domain, from, to, failing: true, isNew: true, limit: SOURCES }),
  }));
  const { advice } = await adviseOn(queries, domain, to);
  const refused = await quarantine.count({ domain, since: `${from}T00:00:00.000Z` });
  const sources = isComparable ? fresh : [];
  return {
    domain,
    url: `${publicUrl}/dmarc/${encodeURIComponent(domain)}?from=${from}&to=${to}`,
    policy: policy?.policy.p ?? null,
    ...counted,
    refused,
    isComparable,
    newFailing: sources.slice(0, SHOWN_SOURCES).map(shownSource),
    newFailingMore: Math.max(0, sources.length - SHOWN_SOURCES),
    advice: {
      step: advice.step,
      title: clean(advice.title),
      reasons: advice.reasons.slice(0, SHOWN_REASONS).map(clean),
    },
  };
}

const shownSource = ({ source, service, name, country, network, messages, passed }: SourceCounts) => ({
  source,
  name: (name ?? service) === '' ? null : clean(name ?? service),
  country: country === null ? null : clean(country),
  network: network === null ? null : clean(network),
  messages,
  failed: messages - passed,
});

/** One line, whatever a stranger put into a name. */
const clean = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, WORDS);
