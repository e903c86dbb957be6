/**
 * Every answer that is made of sums is what counting the records themselves gives, whatever happened to the reports: one
 * by one, in parts, again, read anew. The count here knows nothing of sums: it reads all reports and their records.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DmarcReport, NewReport, NumberedRecord } from '../../../stores/records/dmarc/port.ts';
import type { Counts, DmarcAnswers, Range, StoredRecord } from '../../../stores/records/dmarc/queries-port.ts';
import { migrate, migrations } from '../../../stores/records/migrations/index.ts';
import { recordsOver } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import type { Database, Tables } from '../../../stores/records/tables.ts';
import { record, report } from './dmarc.ts';
import type { OpenedRecords } from './records.ts';

const DAY = 86_400;
/** 2026-01-20T00:00:00Z */
const BEGIN = 1_768_867_200;
const DAYS = 100;
const SERVICES = ['', 'Lists', 'Mailer'];
const RESULTS = ['pass', 'fail', null] as const;
const DISPOSITIONS = ['none', 'quarantine', 'reject', null] as const;
/** More records than a transaction adds up. */
const LARGE = 5_003;

/** Numbers that look like chance and are the same every time (Park and Miller's generator). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => (state = (state * 48_271) % 2_147_483_647) % below;
}

/** Records of one report: the same address now and then of another service, some addresses seen once. */
function draw(count: number, below: (most: number) => number, domain = 'sums.example'): NumberedRecord[] {
  return Array.from({ length: count }, (_, index) =>
    record(
      {
        source: `198.51.${below(3)}.${below(40)}`,
        count: 1 + below(50),
        dkim: RESULTS[below(3)],
        spf: RESULTS[below(3)],
        disposition: DISPOSITIONS[below(4)],
        service: SERVICES[below(3)],
        headerFrom: [domain, `News.${domain}`, `x${domain}`, null][below(4)],
        ...(below(4) === 0 ? { reason: 'mailing_list' as const } : {}),
      },
      index + 1,
    ),
  );
}

const drawReport = (domain: string, number: number, below: (most: number) => number): NewReport => {
  const begin = BEGIN + below(DAYS) * DAY;
  const organization = below(9) === 0 ? null : `Receiver ${below(5)}`;
  const policyDomain = below(5) === 0 ? `sub.${domain}` : domain;
  const one = report({ domain, reportId: `${number}`, begin, end: begin + DAY - 1, organization, policyDomain });
  return one.policy && below(2) ? { ...one, policy: { ...one.policy, sp: 'none' } } : one;
};

async function publishSome(records: Records, domain: string, generation: number, seed: number): Promise<void> {
  const below = chance(seed);
  const { reports } = records.dmarc;
  for (let number = 0; number < 60; number += 1) {
    const one = drawReport(domain, number, below);
    const content = { kind: 'aggregate' as const, records: draw(below(9), below, domain) };
    expect((await reports.publish(one, content, generation)).state).toBe('published');
    // Now and then it comes again, or somebody says something else in its name.
    const again = number % 7 === 0 ? one : { ...one, id: `${one.id}x`, sha256: number % 2 ? one.sha256 : 'other' };
    if (number % 3 === 0) await reports.publish(again, content, generation);
  }
}

async function publishLarge(records: Records, domain: string, generation: number): Promise<NewReport> {
  const below = chance(77);
  const large = drawReport(domain, 1_000, below);
  const rows = draw(LARGE, below, domain);
  const { reports } = records.dmarc;
  for (let from = 0; from < 5_000; from += 1_000)
    await reports.stage({ ...large, domain: 'guess.example' }, rows.slice(from, from + 1_000), generation);
  await reports.publish(large, { kind: 'aggregate', records: rows.slice(5_000) }, generation);
  return large;
}

/** @param fresh an empty database, each time another */
export function dmarcSumsContract(
  name: string,
  open: () => Promise<OpenedRecords>,
  fresh: () => Promise<Database>,
): void {
  describe(`${name}: sums of reports`, () => {
    let opened: OpenedRecords;
    let records: Records;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
    });
    afterAll(() => opened.close());
    const current = async () => (await records.dmarc.generations.current()).number;

    it('are what the records come to, of reports that come again and of large ones', async () => {
      const domain = 'sums.example';
      await publishSome(records, domain, await current(), 1);
      await publishSome(records, 'beside.example', await current(), 2);
      const large = await publishLarge(records, domain, await current());
      expect(await records.dmarc.queries.report(large.id)).toMatchObject({ records: LARGE });
      await expectDirectCount(records, domain);
    });

    it('are those of the new reading as soon as it is the current one, and of nothing else', async () => {
      const domain = 'sums.example';
      const { generations, reports, queries } = records.dmarc;
      const { number } = await generations.begin(2);
      const below = chance(5);
      for (const one of await generations.missing(number, undefined, 10_000)) {
        const rows = draw(below(6), below);
        await reports.publish({ ...one, identity: one.id, parser: 2 }, { kind: 'aggregate', records: rows }, number);
      }
      const before = await queries.services({ domain, from: '2026-01-01', to: '2026-12-31' });
      await expectDirectCount(records, domain);
      expect(await generations.switchTo(number)).toBe(0);
      expect(await queries.services({ domain, from: '2026-01-01', to: '2026-12-31' })).not.toEqual(before);
      await expectDirectCount(records, domain);
      while ((await generations.clear()) > 0);
      await expectDirectCount(records, domain);
    });

    it('have all of a large report in every answer, or nothing of it', async () => {
      const domain = 'whole.example';
      const one = report({ domain, begin: BEGIN, end: BEGIN + DAY - 1 });
      const rows = draw(3 * LARGE, chance(11));
      const range = { domain, from: '2026-01-01', to: '2026-12-31' };
      const { queries, reports } = records.dmarc;
      const whole = rows.reduce((sum, { record: { count } }) => sum + count, 0);
      const seen = new Set<number>();
      let isOver = false;
      const publication = reports
        .publish(one, { kind: 'aggregate', records: rows }, await current())
        .finally(() => (isOver = true));
      while (!isOver) {
        const sum = (some: Counts[]) => some.reduce((all, { messages }) => all + messages, 0);
        const answers = [
          (await queries.totals(range)).messages,
          sum(await queries.sources({ ...range, limit: 500 })),
          sum(await queries.newSources({ domain, since: '2026-01-01', limit: 500 })),
          sum(await all(queries.everySource(range))),
        ];
        for (const messages of answers) seen.add(messages);
        // Nothing that SQLite does alone lets anything else happen.
        await setImmediate();
      }
      expect((await publication).state).toBe('published');
      expect([0, whole]).toEqual(expect.arrayContaining([...seen]));
      expect(seen).toContain(0);
      await expectDirectCount(records, domain);
    });

    it('agree with each other where several are asked of one state, whatever is published between them', async () => {
      const domain = 'between.example';
      const range = { domain, from: '2026-01-01', to: '2026-12-31' };
      const { queries, reports } = records.dmarc;
      const publish = async (reportId: string) =>
        reports.publish(
          report({ domain, reportId, begin: BEGIN, end: BEGIN + DAY - 1 }),
          { kind: 'aggregate', records: draw(20, chance(5)) },
          await current(),
        );
      await publish('first');
      const figures = async (of: DmarcAnswers) => [
        await of.totals(range),
        await of.services(range),
        await of.countsBySource({ ...range, limit: 500 }),
        (await of.reports({ domain, limit: 500 })).length,
      ];
      const before = await figures(queries);
      let publication: Promise<unknown> | undefined;
      const [first, second] = await queries.inOneState(async (of) => {
        const asked = await figures(of);
        publication = publish('between');
        // SQLite keeps it waiting until this is over, PostgreSQL does it beside.
        await Promise.race([publication, sleep(300)]);
        return [asked, await figures(of)];
      });
      expect([first, second]).toEqual([before, before]);
      await publication;
      expect((await figures(queries)).at(-1)).toBe(2);
    });

    it('are whole for whoever asks after a publication that was killed between two parts of a large report', async () => {
      const database = await fresh();
      try {
        await migrate(database);
        const whole = recordsOver(database);
        const { number } = await whole.dmarc.generations.current();
        const one = report({ domain: 'killed.example' });
        const content = { kind: 'aggregate' as const, records: draw(LARGE + 5_000, chance(9)) };
        const messages = content.records.reduce((sum, { record: { count } }) => sum + count, 0);
        const written = async () =>
          (await rowsIn(database, 'dmarc_sources')).reduce((sum, row) => sum + Number(row['messages']), 0);
        // Its transactions: eleven that write ahead, the one that publishes, and those with the other parts.
        const killed = recordsOver(failing(database, 12));
        await expect(killed.dmarc.reports.publish(one, content, number)).rejects.toThrow('killed');
        expect(await written()).toBeLessThan(messages);
        const { queries, reports } = whole.dmarc;
        const range = { domain: 'killed.example', from: '2026-01-01', to: '2026-12-31' };
        const [most] = await queries.sources({ ...range, limit: 1 });
        expect(await written()).toBe(messages);
        const ofMost = content.records.filter(({ record }) => record.sourceIp === most?.source);
        expect(most?.messages).toBe(ofMost.reduce((sum, { record: { count } }) => sum + count, 0));
        expect(await queries.totals(range)).toMatchObject({ messages, reports: 1 });
        // The next try finds nothing to do.
        expect(await reports.publish(one, content, number)).toEqual({ state: 'published', id: one.id });
        await expectDirectCount(whole, 'killed.example');
      } finally {
        await database.destroy();
      }
    });

    it('are ended by the clean-up where nobody asks', async () => {
      const database = await fresh();
      try {
        await migrate(database);
        const { dmarc } = recordsOver(database);
        const { number } = await dmarc.generations.current();
        const content = { kind: 'aggregate' as const, records: draw(LARGE, chance(9)) };
        const killed = recordsOver(failing(database, 7));
        await expect(killed.dmarc.reports.publish(report(), content, number)).rejects.toThrow('killed');
        expect(await rowsIn(database, 'dmarc_staging')).toHaveLength(1);
        expect(await dmarc.reports.expireStaged('2000-01-01T00:00:00.000Z')).toBe(0);
        expect(await rowsIn(database, 'dmarc_staging')).toEqual([]);
        await expectDirectCount(recordsOver(database), 'example.com');
      } finally {
        await database.destroy();
      }
    });

    it('of records that an older build wrote are filled by the migration', async () => {
      const [old, present] = [await fresh(), await fresh()];
      try {
        await migrate(present);
        const { number } = await recordsOver(present).dmarc.generations.current();
        await publishSome(recordsOver(present), 'old.example', number, 3);
        await publishLarge(recordsOver(present), 'old.example', number);
        // What the older build had of it: fewer sums, and of an address fewer figures.
        await migrate(
          old,
          migrations.slice(
            0,
            migrations.findIndex(({ name: one }) => one === 'dmarc-sums'),
          ),
        );
        for (const table of ['dmarc_reports', 'dmarc_records', 'dmarc_source_days'] as const)
          await copy(await rowsIn(present, table), old, table);
        await copy(withoutRuledBy(await rowsIn(present, 'dmarc_days')), old, 'dmarc_days');
        const sources = await rowsIn(present, 'dmarc_sources');
        await copy(
          sources.map(({ dkim: _dkim, spf: _spf, quarantined: _q, rejected: _r, ...rest }) => rest),
          old,
          'dmarc_sources',
        );
        await migrate(old);
        for (const table of SUMS)
          expect([table, await rowsIn(old, table)]).toEqual([table, await rowsIn(present, table)]);
        await publishSome(recordsOver(old), 'old.example', number, 4);
        await expectDirectCount(recordsOver(old), 'old.example');
      } finally {
        await Promise.all([old.destroy(), present.destroy()]);
      }
    });
  });
}

const SUMS = [
  'dmarc_reported',
  'dmarc_reporters',
  'dmarc_domain_days',
  'dmarc_days',
  'dmarc_months',
  'dmarc_source_days',
  'dmarc_source_failures',
  'dmarc_sources',
  'dmarc_service_sources',
] as const;

type Cells = Record<string, string | number | null>;

export async function rowsIn(database: Database, table: keyof Tables): Promise<Cells[]> {
  const rows = (await database.selectFrom(table).selectAll().execute()) as Cells[];
  const text = (row: Cells) => JSON.stringify(Object.entries(row).sort());
  return rows.sort((one, other) => (text(one) < text(other) ? -1 : 1));
}

/** Sums as they were before they said what rules a message. */
function withoutRuledBy(rows: Cells[]): Cells[] {
  const sums = new Map<string, Cells>();
  for (const { ruled_by: _, messages, exempt, records, ...key } of rows) {
    const known = sums.get(JSON.stringify(key)) ?? { ...key, messages: 0, exempt: 0, records: 0 };
    const added = Object.entries({ messages, exempt, records }).map(([name, one]) => [
      name,
      Number(one) + Number(known[name]),
    ]);
    sums.set(JSON.stringify(key), { ...known, ...(Object.fromEntries(added) as Cells) });
  }
  return [...sums.values()];
}

export async function copy(rows: Cells[], into: Database, table: keyof Tables): Promise<void> {
  for (let from = 0; from < rows.length; from += 500)
    await into
      .insertInto(table)
      .values(rows.slice(from, from + 500) as never)
      .execute();
}

/** The database, until it has begun so many transactions. */
const failing = (database: Database, transactions: number): Database =>
  new Proxy(database, {
    get(target, name) {
      if (name === 'transaction' && transactions-- <= 0) throw new Error('killed');
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });

interface Row extends StoredRecord {
  report: DmarcReport;
}

/** Every record of the current reading. */
async function rowsOf(
  { dmarc: { queries } }: Records,
  domain: string,
): Promise<{ reports: DmarcReport[]; rows: Row[] }> {
  const reports = await queries.reports({ domain, kind: 'aggregate', limit: 500 });
  const rows: Row[] = [];
  for (const one of reports)
    for (let after = 0; ;) {
      const page = await queries.reportRecords(one.id, after, 500);
      if (page.length === 0) break;
      rows.push(...page.map((row) => ({ ...row, report: one })));
      after = page.at(-1)?.number ?? 0;
    }
  return { reports, rows };
}

function countsOf(rows: Row[]): Counts {
  const sum = (of: (one: StoredRecord['record']['evaluated']) => boolean) =>
    rows.filter(({ record }) => of(record.evaluated)).reduce((all, { record }) => all + record.count, 0);
  return {
    messages: sum(() => true),
    passed: sum(({ dkim, spf }) => dkim === 'pass' || spf === 'pass'),
    dkim: sum(({ dkim }) => dkim === 'pass'),
    spf: sum(({ spf }) => spf === 'pass'),
    quarantined: sum(({ disposition }) => disposition === 'quarantine'),
    rejected: sum(({ disposition }) => disposition === 'reject'),
  };
}

const groupBy = (rows: Row[], of: (row: Row) => string) => Map.groupBy(rows, of);
const most = <Of extends { messages: number }>(sorted: Of[], name: (one: Of) => string) =>
  sorted.sort((one, other) => other.messages - one.messages || (name(one) < name(other) ? -1 : 1));

/** Months whole and cut, one day, all of it, and days before and after everything. */
const RANGES = [
  ['2026-01-01', '2026-12-31'],
  ['2026-02-01', '2026-02-28'],
  ['2026-01-31', '2026-03-01'],
  ['2026-02-10', '2026-04-12'],
  ['2026-03-05', '2026-03-20'],
  ['2026-02-14', '2026-02-14'],
  ['2025-01-01', '2025-12-31'],
] as const;

async function expectDirectCount(records: Records, domain: string): Promise<void> {
  const { queries } = records.dmarc;
  const { reports, rows } = await rowsOf(records, domain);
  const spans = spansOf(rows);
  const serviceOf = new Map(
    (await all(queries.everySource({ domain, from: '2000-01-01', to: '2099-12-31' }))).map((one) => [
      one.source,
      one.service,
    ]),
  );
  for (const [from, to] of RANGES) {
    const range: Range = { domain, from, to };
    const within = rows.filter(({ day }) => day >= from && day <= to);
    const reported = reports.filter(({ day }) => day >= from && day <= to);
    const days = groupBy(within, ({ day }) => day);
    expect(await queries.totals(range)).toEqual({
      ...countsOf(within),
      reports: reported.length,
      organizations: new Set(reported.map(({ organization }) => organization).filter((one) => one !== null)).size,
      sources: new Set(within.map(({ record }) => record.sourceIp)).size,
      days: days.size,
    });
    const byDay = (some: typeof days) =>
      [...some].map(([day, ofDay]) => ({ day, ...countsOf(ofDay) })).sort((a, b) => (a.day < b.day ? -1 : 1));
    expect(await queries.days(range)).toEqual(byDay(days));
    const lists = groupBy(
      within.filter(({ service }) => service === 'Lists'),
      ({ day }) => day,
    );
    expect(await queries.days({ ...range, service: 'Lists' })).toEqual(byDay(lists));
    const services = most(
      [...groupBy(within, ({ service }) => service)].map(([service, some]) => ({
        service,
        ...countsOf(some),
        sources: new Set(some.map(({ record }) => record.sourceIp)).size,
      })),
      ({ service }) => service,
    );
    expect(await queries.services(range)).toEqual(services);
    expect(await queries.countsByService(range)).toEqual(services.map(({ sources: _, ...counts }) => counts));
    for (const service of [undefined, '', 'Mailer'])
      for (const failing of [false, true]) {
        const some = within.filter((row) => service === undefined || row.service === service);
        const counted = [...groupBy(some, ({ record }) => record.sourceIp)]
          .map(([source, of]) => ({ source, ...countsOf(of) }))
          .filter(({ messages, passed }) => !failing || messages > passed);
        const figure = ({ messages, passed }: Counts) => (failing ? messages - passed : messages);
        counted.sort((one, other) => figure(other) - figure(one) || (one.source < other.source ? -1 : 1));
        const described = counted.map((one) => ({
          ...one,
          ...spans.get(one.source),
          service: serviceOf.get(one.source),
        }));
        const asked = { ...range, ...(service === undefined ? {} : { service }), failing };
        expect(await queries.sources({ ...asked, limit: 500 })).toMatchObject(described);
        expect(await queries.sources({ ...asked, limit: 3 })).toMatchObject(described.slice(0, 3));
        expect(await queries.countsBySource({ ...asked, limit: 500 })).toEqual(counted);
        if (service === undefined) {
          const isNew = described.filter(({ source }) => (spans.get(source)?.firstDay ?? '') >= from);
          expect(await queries.sources({ ...asked, isNew: true, limit: 500 })).toMatchObject(isNew);
          expect(await queries.sources({ ...asked, isNew: true, limit: 500 })).toHaveLength(isNew.length);
        }
        expect(await queries.sources({ ...asked, skip: 5, limit: 4 })).toMatchObject(described.slice(5, 9));
        const every = await all(queries.everySource(asked));
        expect(every).toMatchObject(described.toSorted((one, other) => (one.source < other.source ? -1 : 1)));
      }
    const fresh = groupBy(
      rows.filter(({ record }) => (spans.get(record.sourceIp)?.firstDay ?? '') >= from),
      ({ record }) => record.sourceIp,
    );
    const expected = most(
      [...fresh].map(([source, of]) => ({ source, ...countsOf(of) })),
      ({ source }) => source,
    );
    expect(await queries.newSources({ domain, since: from, limit: 500 })).toMatchObject(expected);
    expect(await queries.countNewSources({ domain, since: from })).toBe(expected.length);
    for (const failing of [false, true])
      expect(await all(queries.everyNewSource({ domain, since: from, failing }))).toMatchObject(
        expected
          .filter(({ messages, passed }) => !failing || messages > passed)
          .sort((one, other) => (one.source < other.source ? -1 : 1)),
      );
    await expectWhatIf(records, range, within);
  }
  expect(await queries.firstDay(domain)).toBe(rows.map(({ day }) => day).sort()[0]);
  const own = reports.filter(({ policyDomain }) => policyDomain === domain).map(({ day }) => day);
  expect((await queries.policy(domain))?.day).toBe(own.sort().at(-1));
  const since = '2026-03-01';
  expect((await queries.domains(since)).find((one) => one.domain === domain)).toMatchObject({
    reports: reports.length,
    counts: countsOf(rows.filter(({ day }) => day >= since)),
  });
}

async function expectWhatIf({ dmarc }: Records, range: Range, within: Row[]): Promise<void> {
  const sp = (await dmarc.queries.policy(range.domain))?.policy.sp ?? null;
  const isRuled = ({ report: { policyDomain }, record: { identifiers } }: Row) =>
    policyDomain === range.domain &&
    (sp === null || !`${identifiers.headerFrom}`.toLowerCase().endsWith(`.${range.domain}`));
  const all = within.filter(({ record: { evaluated } }) => evaluated.dkim !== 'pass' && evaluated.spf !== 'pass');
  const failed = all.filter(isRuled);
  const hitBy = (untouched: Row[]) => {
    const services = [...groupBy(untouched, ({ service }) => service)].map(([service, some]) => ({
      service,
      hit: countsOf(some).messages,
      exempt: countsOf(some.filter(({ record }) => record.evaluated.reasons.length > 0)).messages,
    }));
    services.sort((one, other) => other.hit - one.hit || (one.service < other.service ? -1 : 1));
    return { hit: countsOf(untouched).messages, services };
  };
  const { messages, passed } = countsOf(within);
  const letThrough = (words: (string | null)[]) =>
    failed.filter(({ record }) => !words.includes(record.evaluated.disposition));
  expect(await dmarc.queries.whatIf(range)).toEqual({
    messages,
    passed,
    quarantine: hitBy(letThrough(['quarantine', 'reject'])),
    reject: hitBy(letThrough(['reject'])),
    failed: hitBy(failed),
    apart: countsOf(all.filter((row) => !isRuled(row))).messages,
  });
  const unnamed = groupBy(
    failed.filter(({ service }) => service === ''),
    ({ record }) => record.sourceIp,
  );
  const sources = [...new Set(within.map(({ record }) => record.sourceIp))];
  const answers = await dmarc.queries.whatIfSources({ ...range, sources });
  const hitOf = (rows: Row[], words: (string | null)[]) => {
    const { hit, services } = hitBy(rows.filter(({ record }) => !words.includes(record.evaluated.disposition)));
    return { hit, exempt: services[0]?.exempt ?? 0 };
  };
  expect(new Map(answers.map(({ source, ...one }) => [source, one]))).toEqual(
    new Map(
      [...unnamed].map(([source, rows]) => [
        source,
        { quarantine: hitOf(rows, ['quarantine', 'reject']), reject: hitOf(rows, ['reject']), failed: hitOf(rows, []) },
      ]),
    ),
  );
}

/** First and last day of every address. */
function spansOf(rows: Row[]): Map<string, { firstDay: string; lastDay: string }> {
  const spans = new Map<string, { firstDay: string; lastDay: string }>();
  for (const { day, record } of rows) {
    const { firstDay = day, lastDay = day } = spans.get(record.sourceIp) ?? {};
    spans.set(record.sourceIp, {
      firstDay: day < firstDay ? day : firstDay,
      lastDay: day > lastDay ? day : lastDay,
    });
  }
  return spans;
}

async function all<Item>(pages: AsyncIterable<Item[]>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const page of pages) items.push(...page);
  return items;
}
