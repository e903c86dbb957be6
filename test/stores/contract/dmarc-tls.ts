/**
 * Answers about TLS reports are what counting the policies and failures of every report gives, and stay small whatever a
 * stranger calls his kinds of failure. The count here knows nothing of sums.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TlsPolicy } from '../../../protocols/dmarc/tls.ts';
import type { Range } from '../../../stores/records/dmarc/queries-port.ts';
import { migrate, migrations } from '../../../stores/records/migrations/index.ts';
import { recordsOver } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import type { Database } from '../../../stores/records/tables.ts';
import { report } from './dmarc.ts';
import { copy, rowsIn } from './dmarc-sums.ts';
import type { OpenedRecords } from './records.ts';

const DAY = 86_400;
/** 2026-01-20T00:00:00Z */
const BEGIN = 1_768_867_200;
const DOMAIN = 'tls-sums.example';
const YEAR: Range = { domain: DOMAIN, from: '2026-01-01', to: '2026-12-31' };
const KINDS = ['certificate-expired', 'validation-failure', 'starttls-not-supported', 'x-of-its-own'];

type Failed = Pick<TlsPolicy['failures'][number], 'resultType' | 'receivingMxHostname' | 'sessions'>;

const policy = (successful: number, failures: Failed[]): TlsPolicy => ({
  ...{ type: 'sts', domain: DOMAIN, text: [], mxHosts: [], successful },
  failed: failures.reduce((sum, { sessions }) => sum + sessions, 0),
  failures: failures.map((one) => ({
    ...{ sendingMtaIp: null, receivingMxHelo: null, receivingIp: null, additionalInformation: null, reasonCode: null },
    ...one,
  })),
});

/** Reports of many days, and one of a stranger with more kinds and hosts than anyone has. */
const REPORTS: { day: number; policies: TlsPolicy[] }[] = [
  ...Array.from({ length: 40 }, (_, n) => ({
    day: n % 15,
    policies: [
      policy(100 + n, [
        { resultType: KINDS[n % 4] ?? '', receivingMxHostname: `mx${n % 7}.example`, sessions: 1 + (n % 5) },
        { resultType: KINDS[(n + 1) % 4] ?? '', receivingMxHostname: null, sessions: 2 },
      ]),
      policy(n, []),
    ],
  })),
  { day: 3, policies: [] },
  {
    day: 20,
    policies: [
      policy(1, [
        ...Array.from({ length: 600 }, (_, n) => ({
          resultType: `kind ${n}`,
          receivingMxHostname: `host ${n}`.repeat(60),
          sessions: 1_000 - n,
        })),
        { resultType: 'kind 1', receivingMxHostname: `${'host 1'.repeat(60)}x`, sessions: 1 },
        ...KINDS.map((resultType) => ({ resultType, receivingMxHostname: 'mx0.example', sessions: 1 })),
      ]),
    ],
  },
];

async function publishAll({ dmarc }: Records, generation: number): Promise<string[]> {
  const ids: string[] = [];
  for (const [number, { day, policies }] of REPORTS.entries()) {
    const begin = BEGIN + day * DAY;
    const one = report({
      kind: 'tls',
      policy: null,
      domain: DOMAIN,
      reportId: `${number}`,
      begin,
      end: begin + DAY - 1,
    });
    expect((await dmarc.reports.publish(one, { kind: 'tls', policies }, generation)).state).toBe('published');
    await dmarc.reports.publish({ ...one, id: `${one.id}x` }, { kind: 'tls', policies }, generation);
    ids.push(one.id);
  }
  return ids;
}

/** @param ids of the reports whose days are asked for */
async function expectDirectCount({ dmarc: { queries } }: Records, first: number, last: number): Promise<void> {
  const day = (of: number) => new Date((BEGIN + of * DAY) * 1_000).toISOString().slice(0, 10);
  const answer = await queries.tls({ domain: DOMAIN, from: day(first), to: day(last) });
  const reports = REPORTS.filter((one) => one.day >= first && one.day <= last);
  const sum = (some: typeof reports, name: 'successful' | 'failed') =>
    some.flatMap(({ policies }) => policies).reduce((all, one) => all + one[name], 0);
  expect(answer).toMatchObject({
    reports: reports.length,
    successful: sum(reports, 'successful'),
    failed: sum(reports, 'failed'),
    days: [...Map.groupBy(reports, (one) => one.day)]
      .sort(([one], [other]) => one - other)
      .map(([of, some]) => ({ day: day(of), successful: sum(some, 'successful'), failed: sum(some, 'failed') })),
  });
  const failures = reports.flatMap(({ policies }) => policies.flatMap((one) => one.failures));
  for (const kind of KINDS.slice(0, 3)) {
    const wanted = failures.filter(({ resultType }) => resultType === kind).reduce((all, one) => all + one.sessions, 0);
    expect([kind, answer.results.find(({ result }) => result === kind)?.sessions ?? 0]).toEqual([kind, wanted]);
  }
}

/** @param fresh an empty database, each time another */
export function dmarcTlsContract(
  name: string,
  open: () => Promise<OpenedRecords>,
  fresh: () => Promise<Database>,
): void {
  describe(`${name}: sums of TLS reports`, () => {
    let opened: OpenedRecords;
    let records: Records;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
      await publishAll(records, (await records.dmarc.generations.current()).number);
    });
    afterAll(() => opened.close());

    it.each([
      [0, 30],
      [0, 14],
      [4, 9],
      [20, 20],
      [25, 30],
    ])('of the days %i to %i are what the reports say, however often they came', async (first, last) => {
      await expectDirectCount(records, first, last);
    });

    it('name the largest kinds and hosts of a stranger, and have all of his sessions', async () => {
      const { failed, results } = await records.dmarc.queries.tls({ ...YEAR, from: '2026-02-09', to: '2026-02-09' });
      expect(results).toHaveLength(50);
      expect(results.every(({ hosts }) => hosts.length <= 5)).toBe(true);
      const sessionsOf = (wanted: string) => results.find(({ result }) => result === wanted)?.sessions;
      // Two names that are one as far as they are kept.
      expect(sessionsOf('kind 1')).toBe(1_000);
      expect(sessionsOf('kind 599')).toBeUndefined();
      const rest = results.find(({ result }) => result === '');
      expect(rest?.hosts).toEqual([]);
      expect(rest?.sessions).toBeGreaterThan(300_000);
      expect(failed).toBe(REPORTS.at(-1)?.policies[0]?.failed);
    });

    it('take words that are the same to a database for one kind', async () => {
      const one = report({ kind: 'tls', policy: null, domain: 'words.example', begin: BEGIN, end: BEGIN + DAY - 1 });
      const failures = ['a\0', 'a\uFFFD', 'a\uD800'].map((resultType) => {
        return { resultType, receivingMxHostname: 'mx\0', sessions: 1 };
      });
      const { dmarc } = records;
      const { number } = await dmarc.generations.current();
      await dmarc.reports.publish(one, { kind: 'tls', policies: [policy(0, failures)] }, number);
      const { results } = await dmarc.queries.tls({ ...YEAR, domain: 'words.example' });
      expect(results).toEqual([{ result: 'a\uFFFD', sessions: 3, hosts: ['mx\uFFFD'] }]);
    });

    it('name at most five hosts of a kind, those with most sessions first', async () => {
      const { results } = await records.dmarc.queries.tls({ ...YEAR, to: '2026-02-05' });
      const counted = new Map<string, number>();
      for (const { day, policies } of REPORTS)
        for (const { resultType, receivingMxHostname: host, sessions } of day < 16
          ? policies.flatMap((one) => one.failures)
          : [])
          if (resultType === KINDS[0] && host !== null) counted.set(host, (counted.get(host) ?? 0) + sessions);
      const hosts = [...counted].sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1)).map(([host]) => host);
      expect(hosts.length).toBeGreaterThan(5);
      expect(results.find(({ result }) => result === KINDS[0])?.hosts).toEqual(hosts.slice(0, 5));
    });

    it('of a new reading are there when it is the current one, and go with the old one', async () => {
      const { dmarc } = records;
      const { number } = await dmarc.generations.begin(2);
      for (const one of await dmarc.generations.missing(number, undefined, 500)) {
        const policies = await dmarc.queries.reportTls(one.id);
        await dmarc.reports.publish({ ...one, identity: one.id }, { kind: 'tls', policies }, number);
      }
      expect(await dmarc.generations.switchTo(number)).toBe(0);
      await expectDirectCount(records, 0, 30);
      while ((await dmarc.generations.clear()) > 0);
      await expectDirectCount(records, 0, 30);
    });

    it('of reports that an older build wrote are filled by the migration', async () => {
      const [old, present] = [await fresh(), await fresh()];
      try {
        await migrate(present);
        await publishAll(recordsOver(present), 1);
        const before = migrations.findIndex(({ name: one }) => one === 'dmarc-tls-sums');
        await migrate(old, migrations.slice(0, before));
        for (const table of ['dmarc_reports', 'dmarc_tls_policies', 'dmarc_tls_failures'] as const)
          await copy(await rowsIn(present, table), old, table);
        await migrate(old);
        for (const table of ['dmarc_tls_days', 'dmarc_tls_results'] as const)
          expect([table, await rowsIn(old, table)]).toEqual([table, await rowsIn(present, table)]);
      } finally {
        await Promise.all([old.destroy(), present.destroy()]);
      }
    });
  });
}
