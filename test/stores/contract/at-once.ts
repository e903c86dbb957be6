/**
 * What every records driver must do when several change the same at once. The promises of one process run side by side
 * where the database runs several transactions; `processes` of the drivers' own tests add the rest.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { MailActivity, Records } from '../../../stores/records/port.ts';
import { activity } from './activity.ts';
import { record, report } from './dmarc.ts';
import type { OpenedRecords } from './records.ts';
import { wanted } from './triggers.ts';

/** Rounds of each race: enough that one which can go wrong does. */
const ROUNDS = 25;
const TO = 'c@inbox.test';

export function atOnceContract(name: string, open: () => Promise<OpenedRecords>): void {
  describe(`${name}: at once`, () => {
    let opened: OpenedRecords;
    let records: Records;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
    });
    afterAll(() => opened.close());

    /** Does each thing several times over, all of it at once. */
    async function race<T>(things: (() => Promise<T>)[]): Promise<PromiseSettledResult<T>[]> {
      return Promise.allSettled(things.map((thing) => thing()));
    }
    const won = (ends: PromiseSettledResult<unknown>[]) => ends.filter((end) => end.status === 'fulfilled').length;
    const losses = (ends: PromiseSettledResult<unknown>[]) =>
      ends.flatMap((end) => (end.status === 'rejected' ? [(end.reason as { code?: string }).code] : []));
    const rounds = Array.from({ length: ROUNDS }, (_, index) => index);

    it('one of many opens a message, with all of its recipients, in whatever order they come', async () => {
      for (const _ of rounds) {
        const keys = [uuidv7(), uuidv7(), uuidv7()];
        const rows = (order: number[]) => order.map((index) => activity({ deliveryKey: keys[index] as string }));
        const given = [rows([0, 1, 2]), rows([2, 1, 0]), rows([1, 0, 2]), rows([2, 0, 1])];
        const ends = await race(given.map((one) => () => records.activity.open(one)));
        expect(losses(ends)).toEqual(['activity.exists', 'activity.exists', 'activity.exists']);
        const found = await Promise.all(keys.map((key) => records.activity.byDeliveryKey(key)));
        const winner = given[ends.findIndex((end) => end.status === 'fulfilled')] ?? [];
        expect(new Set(found.map((row) => row?.id))).toEqual(new Set(winner.map((row) => row.id)));
      }
    });

    it('one of many delivers a message, be it inside its session or as a run', async () => {
      for (const round of rounds) {
        const deliveryKey = uuidv7();
        if (round % 2 === 1) await records.activity.open([activity({ deliveryKey, outcome: 'failed' })]);
        const given = [1, 2, 3, 4].map(() => activity({ deliveryKey, attempts: 1 }));
        const inSession = (record: MailActivity) =>
          records.inSession.open({ record, destination: TO, state: 'committing', host: 'mx', reply: null });
        const ends = await race(
          given.map((row, index) => () => (index === 3 ? records.activity.open([row]) : inSession(row))),
        );
        expect([won(ends), new Set(losses(ends))]).toEqual([1, new Set(['activity.exists'])]);
        const winner = given[ends.findIndex((end) => end.status === 'fulfilled')];
        expect((await records.activity.byDeliveryKey(deliveryKey))?.id).toBe(winner?.id);
        const rows = await Promise.all(given.map(({ id }) => records.deliveries.list(id)));
        expect(rows.flat().every(({ activityId }) => activityId === winner?.id)).toBe(true);
      }
    });

    it('one of many replaces a record that failed', async () => {
      for (const _ of rounds) {
        const deliveryKey = uuidv7();
        await records.activity.open([activity({ deliveryKey, outcome: 'failed' })]);
        const again = [1, 2, 3, 4].map(() => activity({ deliveryKey }));
        const ends = await race(again.map((row) => () => records.activity.open([row])));
        expect([won(ends), new Set(losses(ends))]).toEqual([1, new Set(['activity.exists'])]);
        const winner = again[ends.findIndex((end) => end.status === 'fulfilled')];
        expect((await records.activity.byDeliveryKey(deliveryKey))?.id).toBe(winner?.id);
      }
    });

    it('a message is not given to a run and replaced as well', async () => {
      for (const _ of rounds) {
        const row = activity({ outcome: 'failed' });
        await records.activity.open([row]);
        const [given, opened] = await race<unknown>([
          () => records.activity.giveTo(row.id, 'mail/2', { type: 'drop' }),
          () => records.activity.open([activity({ deliveryKey: row.deliveryKey })]),
        ]);
        const isGiven = given?.status === 'fulfilled' && given.value !== undefined;
        expect(opened?.status).toBe(isGiven ? 'rejected' : 'fulfilled');
      }
    });

    it('one of many closes a record, and all are told how', async () => {
      for (const _ of rounds) {
        const row = activity();
        await records.activity.open([row]);
        const ends = (['delivered', 'bounced', 'failed'] as const).map(
          (outcome) => () =>
            records.activity.close(row.id, { outcome, errorCode: outcome, errorText: null, reply: null }),
        );
        const told = await Promise.all(ends.map((end) => end()));
        expect(new Set(told.map((one) => `${one?.outcome} ${one?.errorCode} ${one?.closedAt}`)).size).toBe(1);
      }
    });

    it('an end of a delivery is never undone by an attempt that begins', async () => {
      for (const _ of rounds) {
        const row = activity();
        await records.activity.open([row]);
        await records.deliveries.begin(row.id, TO);
        const begins = await Promise.all([
          records.deliveries.begin(row.id, TO),
          records.deliveries.set(row.id, TO, { state: 'delivered' }),
          records.deliveries.begin(row.id, TO),
        ]);
        const { state, attempts } = (await records.deliveries.get(row.id, TO))!;
        expect(state).toBe('delivered');
        const counted = [begins[0], begins[2]].filter((before) => before?.state !== 'delivered').length;
        expect(attempts).toBe(1 + counted);
        expect((await records.activity.get(row.id))?.attempts).toBe(attempts);
      }
    });

    it('a blob is never both owned and taken by the sweep', async () => {
      const [now, soon] = [new Date().toISOString(), new Date(Date.now() + 60_000).toISOString()];
      for (const index of rounds) {
        const sha256 = index.toString(16).padStart(64, 'f');
        const ref = { key: `mail/${sha256}`, sha256, size: 1 };
        const [owned, claimed] = await race<unknown>([
          () => records.blobOwners.own(ref, 'a', null),
          () => records.blobOwners.claim(ref.key, now, soon),
        ]);
        const isClaimed = claimed?.status === 'fulfilled' && claimed.value === true;
        expect([index, owned?.status]).toEqual([index, isClaimed ? 'rejected' : 'fulfilled']);
      }
    });

    it('rules of one address, given by many, are one rule, and the audit log is a chain', async () => {
      const domain = 'race.test';
      const actions = rounds.map((index) => ({ type: 'forward' as const, destinations: [`${index}@x.test`] }));
      const made = await Promise.all(
        actions.map((action) => records.rules.put({ domain, localPart: 'a', action, source: 'api' }, 'token:t')),
      );
      expect(new Set(made.map((rule) => rule.id)).size).toBe(1);
      const log = (await records.audit.list({ limit: ROUNDS })).reverse();
      expect(log.map(({ action }) => action)).toEqual(['rule.added', ...Array(ROUNDS - 1).fill('rule.changed')]);
      // Ids are in the order of their making, not of their commit: follow the chain by what was before.
      const next = new Map(log.map(({ before, after }) => [JSON.stringify(before), JSON.stringify(after)]));
      let [at, length] = ['null', 0];
      for (let after = next.get(at); after !== undefined; after = next.get(at)) [at, length] = [after, length + 1];
      expect(length).toBe(ROUNDS);
      expect(await records.rules.list(domain)).toEqual([JSON.parse(at)]);
    });

    it('what the file declares is applied once by many that start together', async () => {
      const rules = [{ localPart: 'a', action: { type: 'drop' as const } }];
      const counts = await Promise.all(
        [1, 2, 3, 4].map(() => records.rules.applyDeclared([{ domain: 'start.test', rules }])),
      );
      expect(counts.map(({ added }) => added).sort()).toEqual([0, 0, 0, 1]);
    });

    it('one of many has an address for its trigger', async () => {
      await records.rules.applyDeclared([{ domain: 'trigger.test', rules: [] }]);
      for (const index of rounds) {
        const addresses = [`a${index}@trigger.test`];
        const ends = await race([1, 2, 3].map(() => () => records.triggers.put(wanted({ addresses }), 'token:n8n')));
        expect(losses(ends)).toEqual(['trigger.address_taken', 'trigger.address_taken']);
      }
    });

    it('a registration that comes again never takes the cursor back', async () => {
      const first = await records.triggers.put(wanted({ kind: 'run' }), 'token:n8n');
      for (const index of rounds) {
        const until = new Date(Date.now() + index * 1_000).toISOString();
        await Promise.all([
          records.triggers.put(wanted({ kind: 'run', id: first.id }), 'token:n8n'),
          records.triggers.seen(first.id, until),
          records.triggers.put(wanted({ kind: 'run', id: first.id }), 'token:n8n'),
        ]);
        expect((await records.triggers.get(first.id))?.seenUntil).toBe(until);
      }
    });

    it('all are told the one verdict of a message', async () => {
      for (const _ of rounds) {
        const deliveryKey = uuidv7();
        const told = await Promise.all(
          ['t', 'u', 'v'].map((triggerId) =>
            records.verdicts.put({ deliveryKey, triggerId, verdict: { verdict: 'accept' } }),
          ),
        );
        expect(new Set(told.map(({ triggerId }) => triggerId)).size).toBe(1);
      }
    });

    it('one of many has a selector', async () => {
      for (const index of rounds) {
        const row = {
          domain: 'keys.test',
          selector: `s${index}`,
          publicKey: 'p',
          sealed: new Uint8Array(),
          createdAt: '',
        };
        const ends = await race([1, 2, 3].map(() => () => records.keys.add(row)));
        expect(losses(ends)).toEqual(['key.exists', 'key.exists']);
      }
    });

    it('one of many has the last place of a report address for the day', async () => {
      const amount = { mails: 2, bytes: 1_000, records: 10 };
      const quota = { sender: amount, address: amount };
      const now = new Date().toISOString();
      for (const round of rounds) {
        const domain = `day${round}.example`;
        const mail = (sender: string) => ({ id: uuidv7(), domain, sender, mails: 1, bytes: 1, records: 0 });
        await records.dmarc.intake.take(mail('first.example'), quota, now);
        const ends = await Promise.all(
          ['a', 'b', 'c', 'd'].map((sender) => records.dmarc.intake.take(mail(sender), quota, now)),
        );
        expect(ends.filter((over) => over === undefined)).toHaveLength(1);
      }
    });

    it('one of many publishes a report, and all are told which one', async () => {
      const { number } = await records.dmarc.generations.current();
      for (const round of rounds) {
        const domain = `race${round}.example`;
        const given = ['a', 'a', 'b', 'a'].map((content) => report({ domain }, content));
        const ends = await Promise.all(
          given.map(async (one) => {
            await records.dmarc.reports.stage(one, [record({ count: 2 }, 1)], number);
            return records.dmarc.reports.publish(one, { kind: 'aggregate', records: [record({}, 2)] }, number);
          }),
        );
        const winner = given[ends.findIndex(({ state }) => state === 'published')];
        expect(ends.map(({ state }) => state)).toEqual(
          given.map((one) =>
            one === winner ? 'published' : one.sha256 === winner?.sha256 ? 'repeated' : 'conflicting',
          ),
        );
        expect(new Set(ends.map(({ id }) => id))).toEqual(new Set([winner?.id]));
        const range = { domain, from: '2026-10-01', to: '2026-10-31' };
        expect(await records.dmarc.queries.totals(range)).toMatchObject({ messages: 3, reports: 1 });
      }
    });

    it('loses no message of reports that are published side by side', async () => {
      const { number } = await records.dmarc.generations.current();
      const domain = 'side-by-side.example';
      const sent = Array.from({ length: 20 }, (_, index) => record({ source: `192.0.2.${index % 3}` }, index + 1));
      await Promise.all(
        rounds.map((round) =>
          records.dmarc.reports.publish(
            report({ domain, reportId: String(round) }),
            { kind: 'aggregate', records: round % 2 === 0 ? sent : sent.toReversed() },
            number,
          ),
        ),
      );
      const range = { domain, from: '2026-10-01', to: '2026-10-31' };
      const { queries } = records.dmarc;
      expect(await queries.totals(range)).toMatchObject({ messages: 20 * ROUNDS, reports: ROUNDS, sources: 3 });
      expect((await queries.sources(range)).reduce((sum, { messages }) => sum + messages, 0)).toBe(20 * ROUNDS);
    });

    it('publishes each of many reports once, whatever becomes of those beside it', async () => {
      const { number } = await records.dmarc.generations.current();
      const { reports, queries, generations } = records.dmarc;
      const domain = 'batch.example';
      const given = Array.from({ length: 130 }, (_, index) => {
        const [first, last] = [report({ domain, reportId: `${index}` }), report({ domain, reportId: `${index}` })];
        // One in ten comes again at once, one in ten with other content, one in ten with an id that is taken.
        if (index % 10 === 3) return [first, last];
        if (index % 10 === 6) return [first, report({ domain, reportId: `${index}` }, 'other')];
        if (index % 10 === 9) return [first, { ...last, identity: `another ${index}`, id: first.id }];
        return [first];
      }).flat();
      const rows = (index: number) => [record({ count: 1 + index }, 1), record({ source: '192.0.2.7' }, 2)];
      const beside = await generations.begin(77);
      const ends = await race([
        ...given.map((one, index) => () => reports.publish(one, { kind: 'aggregate', records: rows(index) }, number)),
        () => reports.publish(report({ domain }), { kind: 'aggregate', records: rows(0) }, beside.number),
        () => reports.publish(report({ domain }), { kind: 'aggregate', records: rows(0) }, -1),
      ]);
      expect(ends.pop()).toMatchObject({ reason: { code: 'dmarc.generation_over' } });
      const states = ends.map((end) => (end.status === 'fulfilled' ? end.value.state : 'failed'));
      expect(states.pop()).toBe('published');
      expect(states).toEqual(
        given.map(({ identity, id }, index) => {
          const first = given.findIndex((one) => one.identity === identity);
          if (first < index) return given[first]?.sha256 === given[index]?.sha256 ? 'repeated' : 'conflicting';
          return given.findIndex((one) => one.id === id) < index ? 'failed' : 'published';
        }),
      );
      const counting = [...states.keys()].filter((index) => states[index] === 'published');
      expect(counting).toHaveLength(130);
      expect(await queries.totals({ domain, from: '2026-10-01', to: '2026-10-31' })).toMatchObject({
        messages: counting.reduce((sum, index) => sum + 2 + index, 0),
        reports: 130,
        sources: 2,
      });
      const counted = await queries.sources({ domain, from: '2026-10-01', to: '2026-10-31', source: '192.0.2.7' });
      expect(counted).toMatchObject([{ messages: 130 }]);
      await generations.drop(beside.number);
    });

    it('a report that comes while the reports are read anew is in the new reading, or keeps it from taking over', async () => {
      const { generations, reports, queries } = records.dmarc;
      for (const round of rounds.slice(0, 5)) {
        const { number: old } = await generations.current();
        const { number } = await generations.begin(100 + round);
        const reread = async () => {
          for (const one of await generations.missing(number, undefined, 10_000))
            await reports.publish({ ...one, identity: one.id }, { kind: 'aggregate', records: [] }, number);
        };
        await reread();
        const late = report({ domain: 'late.example', reportId: `late ${round}` });
        const [published, left] = await race<unknown>([
          () => reports.publish(late, { kind: 'aggregate', records: [] }, old),
          () => generations.switchTo(number),
        ]);
        if (left?.status === 'fulfilled' && left.value === 0)
          expect(published).toMatchObject({ status: 'rejected', reason: { code: 'dmarc.generation_over' } });
        else {
          expect(left).toMatchObject({ value: 1 });
          await reread();
          expect(await generations.switchTo(number)).toBe(0);
          expect(await queries.report(late.id)).toBeDefined();
        }
      }
    });
  });
}
