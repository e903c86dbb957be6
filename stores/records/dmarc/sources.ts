/**
 * Addresses that mail came from, those with most messages first. The answer is exact, and few rows are read for it: what
 * was ever reported of an address is a bound of what was reported of it within a range, and the very figure where it was
 * seen within the range alone. So the addresses are taken by their bound, most first; days are read of those alone that
 * were seen beside the range as well, of the range or of what lies around it, whichever is shorter; and it is over when no
 * bound that is left can reach into the answer.
 */
import { sql } from 'kysely';
import { dayBefore } from '../../../protocols/dmarc/identity.ts';
import { TemporaryError } from '../../../protocols/errors.ts';
import { pageSize, type Database } from '../tables.ts';
import { currentGeneration } from './generation.ts';
import { dmarcHostRecords } from './hosts.ts';
import { inOneState } from './one-state.ts';
import type { Span } from './range.ts';
import type { Counts, Range, SourceCounts, WantedSources } from './queries-port.ts';

/** How many times as many candidates are looked at, when the first were not enough. */
const MORE = 4;
/** Values of one statement. */
const AT_ONCE = 500;

/** As `largestCounts`, and what is known of each. */
export async function largestSources(database: Database, range: Range, wanted: WantedSources): Promise<SourceCounts[]> {
  const generation = await generationNow(database);
  return describeSources(database, generation, range.domain, await largest(database, generation, range, wanted));
}

/** Most messages first, then by address. */
export const largestCounts = async (database: Database, range: Range, wanted: WantedSources): Promise<Source[]> =>
  largest(database, await generationNow(database), range, wanted);

async function largest(database: Database, generation: number, range: Range, wanted: WantedSources): Promise<Source[]> {
  const skip = wanted.skip ?? 0;
  const end = skip + pageSize(wanted.limit);
  const inRange = new Map<string, Counts>();
  for (let asked = end * 2; ; asked *= MORE) {
    const candidates = await candidatesOf(database, generation, range, wanted)
      .orderBy(wanted.failing ? sql`messages - passed` : sql`messages`, 'desc')
      .orderBy('source')
      .limit(asked)
      .execute();
    await sumUp(database, generation, range, candidates, wanted, inRange);
    const found = [...inRange].map(([source, counts]) => ({ source, ...counts }));
    const sorted = ranked(found, wanted);
    const last = candidates.at(-1);
    const place = sorted[end - 1];
    // Those that are left come after the last candidate, by their bounds too.
    if (candidates.length < asked || !last || (place && comesAfter(last, place, wanted)))
      return sorted.slice(skip, end);
  }
}

/** By address, so many at a time: each one once, whatever is published meanwhile. What comes at a time is of one state. */
export const everySource = (
  database: Database,
  range: Range,
  wanted: Pick<WantedSources, 'service' | 'failing'>,
): AsyncGenerator<SourceCounts[]> =>
  inPages(database, async (state, generation, after) => {
    const candidates = await candidatesOf(state, generation, range, wanted)
      .where('source', '>', after)
      .orderBy('source')
      .limit(AT_ONCE)
      .execute();
    const inRange = new Map<string, Counts>();
    await sumUp(state, generation, range, candidates, wanted, inRange);
    const found = candidates.flatMap(({ source }) => {
      const counts = inRange.get(source);
      return counts ? [{ source, ...counts }] : [];
    });
    const sources = await describeSources(state, generation, range.domain, wantedOf(found, wanted));
    return { sources, last: candidates.at(-1)?.source };
  });

interface Page {
  sources: SourceCounts[];
  /** The last address that was looked at; none where there are no more. */
  last: string | undefined;
}

async function* inPages(
  database: Database,
  pageAfter: (state: Database, generation: number, after: string) => Promise<Page>,
): AsyncGenerator<SourceCounts[]> {
  const generation = await generationNow(database);
  for (let after = ''; ;) {
    const from = after;
    const { sources, last } = await inOneState(database, (state) => pageAfter(state, generation, from));
    if (last === undefined) return refuseReplaced(database, generation);
    yield sources;
    after = last;
  }
}

/** Those that were first seen on or after a day: all that was ever reported of them is new. */
export async function newestSources(
  database: Database,
  { domain, since, failing, limit, skip = 0 }: NewWanted & Pick<WantedSources, 'limit' | 'skip'>,
): Promise<SourceCounts[]> {
  const generation = await generationNow(database);
  const query = newOf(database, generation, { domain, since, failing })
    .orderBy(failing ? sql`messages - passed` : sql`messages`, 'desc')
    .orderBy('source')
    .limit(pageSize(limit))
    .offset(skip);
  return describeSources(database, generation, domain, await query.execute());
}

/** Of the same, every one, as `everySource` gives them. */
export const everyNewSource = (database: Database, wanted: NewWanted): AsyncGenerator<SourceCounts[]> =>
  inPages(database, async (state, generation, after) => {
    const found = await newOf(state, generation, wanted)
      .where('source', '>', after)
      .orderBy('source')
      .limit(AT_ONCE)
      .execute();
    return {
      sources: await describeSources(state, generation, wanted.domain, found),
      last: found.at(-1)?.source,
    };
  });

interface NewWanted {
  domain: string;
  since: string;
  failing?: boolean;
}

function newOf(database: Database, generation: number, { domain, since, failing }: NewWanted) {
  const query = database
    .selectFrom('dmarc_sources')
    .select(['source', ...COUNTS])
    .where('generation', '=', generation)
    .where('domain', '=', domain)
    .where('first_day', '>=', since);
  return failing ? query.where(sql<boolean>`messages > passed`) : query;
}

/** Rows of a generation that is not current any more are removed, under whoever walks through them. */
async function refuseReplaced(database: Database, generation: number): Promise<void> {
  if ((await generationNow(database)) === generation) return;
  throw new TemporaryError({
    code: 'dmarc.generation_over',
    message: 'The reports were read anew while their sources were listed, so the list is not whole.',
    fix: 'Ask again.',
    details: { generation },
  });
}

const COUNTS = ['messages', 'passed', 'dkim', 'spf', 'quarantined', 'rejected'] as const;

type Source = { source: string } & Counts;
type Candidate = Source & { first_day: string; last_day: string };

const countsOf = ({ messages, passed, dkim, spf, quarantined, rejected }: Counts): Counts => ({
  messages,
  passed,
  dkim,
  spf,
  quarantined,
  rejected,
});

const generationNow = async (database: Database): Promise<number> =>
  (await database.selectNoFrom(currentGeneration.as('number')).executeTakeFirstOrThrow()).number;

/** Addresses that may have been seen within the range, with all that was ever reported of them. */
function candidatesOf(
  database: Database,
  generation: number,
  { domain, from, to }: Range,
  { service, source, failing, isNew }: WantedSources,
) {
  let query = database
    .selectFrom(service === undefined ? 'dmarc_sources' : 'dmarc_service_sources')
    .select(['source', 'first_day', 'last_day', ...COUNTS])
    .where('generation', '=', generation)
    .where('domain', '=', domain)
    .where('first_day', '<=', to)
    .where('last_day', '>=', from);
  if (service !== undefined) query = query.where('service', '=', service);
  if (source !== undefined) query = query.where('source', '=', source);
  if (failing) query = query.where(sql<boolean>`messages > passed`);
  if (isNew) query = query.where('first_day', '>=', from);
  return query;
}

/** Adds the figures of the candidates within the range to those that are known. */
async function sumUp(
  database: Database,
  generation: number,
  range: Range,
  candidates: Candidate[],
  { service }: WantedSources,
  known: Map<string, Counts>,
): Promise<void> {
  const { from, to } = range;
  const sumOf = (some: Candidate[], days: Span) =>
    sumOfDays(database, generation, { domain: range.domain, ...days }, some, service);
  const around: Candidate[] = [];
  const within: Candidate[] = [];
  for (const one of candidates) {
    if (known.has(one.source)) continue;
    if (one.first_day >= from && one.last_day <= to) known.set(one.source, countsOf(one));
    else (isMostlyWithin(range, one) ? around : within).push(one);
  }
  const left = new Map(around.map((one) => [one.source, countsOf(one)]));
  const before = around.filter(({ first_day }) => first_day < from);
  const after = around.filter(({ last_day }) => last_day > to);
  for (const part of [
    await sumOf(before, { from: EVER.from, to: dayBefore(from, 1) }),
    await sumOf(after, { from: dayBefore(to, -1), to: EVER.to }),
  ])
    for (const [source, counts] of part) {
      const all = left.get(source);
      if (all) for (const name of COUNTS) all[name] -= counts[name];
    }
  for (const one of around) {
    const counts = left.get(one.source);
    // Nothing of it was seen within the range, or records of no messages.
    if (!counts || counts.messages === 0) within.push(one);
    else known.set(one.source, counts);
  }
  for (const [source, counts] of await sumOf(within, range)) known.set(source, counts);
}

/** What was reported of them on the days; those without any are left out. */
async function sumOfDays(
  database: Database,
  generation: number,
  { domain, from, to }: Range,
  candidates: Candidate[],
  service: string | undefined,
): Promise<Map<string, Counts>> {
  const sums = new Map<string, Counts>();
  for (let at = 0; at < candidates.length; at += AT_ONCE) {
    const sources = candidates.slice(at, at + AT_ONCE).map(({ source }) => source);
    let query = database
      .selectFrom('dmarc_source_days')
      .select(['source', ...COUNTS.map((name) => total(name).as(name))])
      .where('generation', '=', generation)
      .where('domain', '=', domain)
      .where('source', 'in', sources)
      .where('day', '>=', from)
      .where('day', '<=', to)
      .groupBy('source');
    if (service !== undefined) query = query.where('service', '=', service);
    for (const { source, ...counts } of await query.execute()) sums.set(source, counts);
  }
  return sums;
}

/** Whether more of the days on which it was seen may lie in the range than around it. */
function isMostlyWithin({ from, to }: Span, { first_day: first, last_day: last }: Candidate): boolean {
  const [begin, end] = [first > from ? first : from, last < to ? last : to];
  return 2 * daysFrom(begin, end) > daysFrom(first, last);
}

const daysFrom = (first: string, last: string): number => (Date.parse(last) - Date.parse(first)) / 86_400_000;

/** Before and after every day that a report can be of. */
const EVER: Span = { from: '', to: '9999-12-31' };

/** PostgreSQL's sum of a bigint is a numeric, which reads as text. */
const total = (column: string) => sql<number>`cast(sum(${sql.ref(column)}) as bigint)`;

const figureOf = ({ messages, passed }: Counts, { failing }: WantedSources): number =>
  failing ? messages - passed : messages;

const wantedOf = (sources: Source[], wanted: WantedSources): Source[] =>
  sources.filter((one) => !wanted.failing || figureOf(one, wanted) > 0);

const ranked = (sources: Source[], wanted: WantedSources): Source[] =>
  wantedOf(sources, wanted).sort((one, other) => (comesAfter(one, other, wanted) ? 1 : -1));

/** Addresses are compared by their bytes, as the databases do: they are ASCII. */
function comesAfter(one: Source, other: Source, wanted: WantedSources): boolean {
  const difference = figureOf(one, wanted) - figureOf(other, wanted);
  return difference === 0 ? one.source >= other.source : difference < 0;
}

/** What is known of each beside its figures. */
async function describeSources(
  database: Database,
  generation: number,
  domain: string,
  sources: Source[],
): Promise<SourceCounts[]> {
  if (sources.length === 0) return [];
  const addresses = sources.map(({ source }) => source);
  const hosts = await dmarcHostRecords(database).find(addresses);
  const rows = await database
    .selectFrom('dmarc_sources')
    .select(['source', 'service', 'first_day', 'last_day'])
    .where('generation', '=', generation)
    .where('domain', '=', domain)
    .where('source', 'in', addresses)
    .execute();
  const known = new Map(rows.map((row) => [row.source, row]));
  return sources.map(({ source, ...counts }) => {
    const { service = '', first_day: firstDay = '', last_day: lastDay = '' } = known.get(source) ?? {};
    const { name = null, country = null, network = null } = hosts.get(source) ?? {};
    return { source, service, name, country, network, firstDay, lastDay, ...counts };
  });
}
