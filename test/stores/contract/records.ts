/** What every records driver must do. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { Records } from '../../../stores/records/port.ts';
import { activity } from './activity.ts';

export interface OpenedRecords {
  records: Records;
  close(): Promise<void>;
}

const REPLY = { code: 550, enhanced: '5.1.1', text: "No such user; ' OR 1=1 --" };

export function recordsContract(name: string, open: () => Promise<OpenedRecords>): void {
  describe(`${name}: records`, () => {
    let opened: OpenedRecords;
    let records: Records;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
    });
    afterAll(() => opened.close());

    it('passes its own check', () => records.check());

    describe('rules', () => {
      const forward = (destination: string) => ({ type: 'forward' as const, destinations: [destination] });
      const domain = 'rules.test';
      const put = (localPart: string, destination: string, enabled = true) =>
        records.rules.put({ domain, localPart, action: forward(destination), source: 'api', enabled }, 'token:t');

      it('finds nothing where no rule is', async () => {
        expect(await records.rules.find('nowhere.test', 'x')).toBeUndefined();
        expect(await records.rules.isLocalDomain('nowhere.test')).toBe(false);
        expect(await records.rules.domains()).not.toContain('nowhere.test');
        expect(await records.rules.get('no-id')).toBeUndefined();
        expect(await records.rules.remove('no-id', 'token:t')).toBe(false);
      });

      it('prefers the enabled exact rule, then the enabled catch-all', async () => {
        const catchAll = await put('*', 'all@x.test');
        const exact = await put('info', 'info@x.test');
        expect(await records.rules.find(domain, 'info')).toEqual(exact);
        expect(await records.rules.find(domain, 'other')).toEqual(catchAll);
        await put('info', 'info@x.test', false);
        expect((await records.rules.find(domain, 'info'))?.id).toBe(catchAll.id);
        await put('*', 'all@x.test', false);
        expect(await records.rules.find(domain, 'info')).toBeUndefined();
        expect(await records.rules.isLocalDomain(domain)).toBe(true);
        expect((await records.rules.domains()).filter((one) => one === domain)).toEqual([domain]);
      });

      it('replaces the rule of the same address, keeps its id, and audits before and after', async () => {
        const first = await put('same', 'one@x.test');
        const second = await put('same', 'two@x.test');
        expect(second.id).toBe(first.id);
        expect((await records.rules.list(domain)).filter((rule) => rule.localPart === 'same')).toEqual([second]);
        const [changed, added] = await records.audit.list({ limit: 2 });
        expect(changed).toMatchObject({
          actor: 'token:t',
          action: 'rule.changed',
          subject: `same@${domain}`,
          before: first,
          after: second,
        });
        expect(added).toMatchObject({ action: 'rule.added', before: null, after: first });
        expect(await records.rules.remove(first.id, 'token:u')).toBe(true);
        expect((await records.audit.list({ limit: 1 }))[0]).toMatchObject({
          actor: 'token:u',
          action: 'rule.removed',
          before: second,
          after: null,
        });
      });

      it('makes what the file declares so, once, and leaves the rules of the API alone', async () => {
        const api = await records.rules.put(
          { domain: 'file.test', localPart: 'api', action: { type: 'drop' }, source: 'api' },
          'token:t',
        );
        const rule = (localPart: string, destination: string) => ({ localPart, action: forward(destination) });
        const apply = (...rules: ReturnType<typeof rule>[]) =>
          records.rules.applyDeclared([{ domain: 'file.test', rules }]);
        expect(await apply(rule('a', 'a@x.test'), rule('b', 'b@x.test'))).toEqual({ added: 2, changed: 0, removed: 0 });
        const audited = (await records.audit.list({ limit: 500 })).length;
        expect(await apply(rule('a', 'a@x.test'), rule('b', 'b@x.test'))).toEqual({ added: 0, changed: 0, removed: 0 });
        expect((await records.audit.list({ limit: 500 })).length).toBe(audited);
        expect(await apply(rule('a', 'z@x.test'))).toEqual({ added: 0, changed: 1, removed: 1 });
        expect(await records.rules.get(api.id)).toEqual(api);
        expect(await apply(rule('api', 'z@x.test'))).toEqual({ added: 0, changed: 1, removed: 1 });
        expect(await records.rules.get(api.id)).toMatchObject({ source: 'file', action: forward('z@x.test') });
      });

      it('knows a declared domain without rules, and forgets it when the file does', async () => {
        await records.rules.applyDeclared([{ domain: 'bare.test', rules: [] }]);
        expect(await records.rules.isLocalDomain('bare.test')).toBe(true);
        await records.rules.applyDeclared([]);
        expect(await records.rules.isLocalDomain('bare.test')).toBe(false);
        expect((await records.audit.list({ limit: 1 }))[0]).toMatchObject({
          actor: 'file',
          action: 'domain.removed',
          subject: 'bare.test',
        });
      });
    });

    describe('activity', () => {
      it('returns a record as it was opened', async () => {
        const row = activity();
        await records.activity.open([row]);
        expect(await records.activity.get(row.id)).toEqual(row);
        expect(await records.activity.byDeliveryKey(row.deliveryKey!)).toEqual(row);
        expect(await records.activity.get('no-id')).toBeUndefined();
        expect(await records.activity.byDeliveryKey('no-key')).toBeUndefined();
      });

      it.each(['accepted', 'delivered', 'dropped', 'bounced'] as const)(
        'refuses a second record for a delivery key that is %s, and none of its companions is kept',
        async (outcome) => {
          const row = activity({ outcome });
          await records.activity.open([row]);
          const companion = activity();
          await expect(
            records.activity.open([companion, activity({ deliveryKey: row.deliveryKey })]),
          ).rejects.toMatchObject({
            name: 'PermanentError',
            code: 'activity.exists',
          });
          expect(await records.activity.get(companion.id)).toBeUndefined();
          expect(await records.activity.byDeliveryKey(row.deliveryKey!)).toEqual(row);
        },
      );

      it.each(['failed', 'refused', 'rejected'] as const)(
        'replaces a record that is %s, with its deliveries',
        async (outcome) => {
          const row = activity({ outcome });
          await records.activity.open([row]);
          await records.deliveries.set(row.id, 'c@inbox.test', { state: 'refused', reply: REPLY });
          const again = activity({ deliveryKey: row.deliveryKey });
          await records.activity.open([again]);
          expect(await records.activity.byDeliveryKey(row.deliveryKey!)).toEqual(again);
          expect(await records.activity.get(row.id)).toBeUndefined();
          expect(await records.deliveries.list(row.id)).toEqual([]);
        },
      );

      it('frees the message of a record that is replaced, unless another takes its place under its id', async () => {
        const sha256 = uuidv7().replaceAll('-', '').padEnd(64, '0');
        const blob = { key: `mail/${sha256}`, sha256, size: 1 };
        const isOwned = () => records.blobOwners.isOwned(blob.key, '2026-01-01T00:00:00.000Z');
        const row = activity({ blob, outcome: 'failed' });
        await records.blobOwners.own(blob, `activity:${row.id}`, null);
        await records.activity.open([row]);
        await records.activity.open([row]);
        expect(await isOwned()).toBe(true);
        await records.activity.open([activity({ blob, deliveryKey: row.deliveryKey })]);
        expect(await isOwned()).toBe(false);
      });

      it('lets one of two win that open the same delivery key at once', async () => {
        const deliveryKey = uuidv7();
        const rows = [activity({ deliveryKey }), activity({ deliveryKey })];
        const ends = await Promise.allSettled(rows.map((row) => records.activity.open([row])));
        expect(ends.map((end) => end.status).sort()).toEqual(['fulfilled', 'rejected']);
      });

      it('takes any number of records without a delivery key', async () => {
        await records.activity.open([activity({ deliveryKey: null }), activity({ deliveryKey: null })]);
      });

      it('closes once: a final record stays as it is', async () => {
        const row = activity();
        await records.activity.open([row]);
        const end = { outcome: 'refused' as const, errorCode: 'mail.refused', errorText: 'no', reply: REPLY };
        const closed = await records.activity.close(row.id, end);
        expect(closed).toEqual({ ...row, ...end, closedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/) });
        const again = await records.activity.close(row.id, {
          outcome: 'delivered',
          errorCode: null,
          errorText: null,
          reply: null,
        });
        expect(again).toEqual(closed);
        expect(await records.activity.close('no-id', end)).toBeUndefined();
      });

      it('gives a message to a run, open again, and lets only that run close it', async () => {
        const row = activity({ workflowId: null, action: { type: 'trigger', trigger: 't', name: 'T' } });
        await records.activity.open([row]);
        const end = { outcome: 'delivered' as const, errorCode: null, errorText: null, reply: null };
        await records.activity.close(row.id, end, null);
        const action = { type: 'forward' as const, destinations: ['c@inbox.test'] };
        const given = await records.activity.giveTo(row.id, 'mail/2', action);
        expect(given).toEqual({ ...row, workflowId: 'mail/2', action, outcome: 'accepted', closedAt: null });
        for (const other of [null, 'mail/1'])
          expect((await records.activity.close(row.id, end, other))?.outcome).toBe('accepted');
        expect((await records.activity.close(row.id, end, 'mail/2'))?.outcome).toBe('delivered');
        expect(await records.activity.giveTo('no-id', 'mail/2', action)).toBeUndefined();
      });

      it('takes any text that a sender may give: NUL, half a pair, quotes', async () => {
        const row = activity({ helo: 'a\0b\'"\\', subject: '\ud800 x', headerFrom: '\0', headerMessageId: '\u0001' });
        await records.activity.open([row]);
        const found = await records.activity.get(row.id);
        expect(found).toMatchObject({ headerMessageId: '\u0001', sender: row.sender });
        expect(found?.helo).toMatch(/^a.b'"\\$/s);
        expect(found?.subject).toMatch(/ x$/);
      });

      it('cuts header fields to 200 characters, never inside one', async () => {
        const row = activity({ subject: '🚂'.repeat(300) });
        await records.activity.open([row]);
        expect((await records.activity.get(row.id))?.subject).toBe('🚂'.repeat(200));
      });

      it('pages newest first by id, under every filter', async () => {
        const recipient = 'page@pages.test';
        const rows = Array.from({ length: 5 }, (_, day) =>
          activity({
            recipient,
            sender: day % 2 ? '' : 'even@sender.test',
            receivedAt: `2025-01-0${day + 1}T00:00:00.000Z`,
            outcome: day === 4 ? 'dropped' : 'accepted',
          }),
        );
        await records.activity.open(rows);
        const ids = async (filter: Parameters<typeof records.activity.list>[0]) =>
          (await records.activity.list({ domain: 'pages.test', ...filter })).map((row) =>
            rows.findIndex((one) => one.id === row.id),
          );
        expect(await ids({ limit: 2 })).toEqual([4, 3]);
        expect(await ids({ limit: 2, before: rows[3]!.id })).toEqual([2, 1]);
        expect(await ids({ sender: '' })).toEqual([3, 1]);
        expect(await ids({ recipient, sender: 'even@sender.test' })).toEqual([4, 2, 0]);
        expect(await ids({ outcome: 'dropped' })).toEqual([4]);
        expect(await ids({ since: rows[1]!.receivedAt, until: rows[3]!.receivedAt })).toEqual([2, 1]);
        expect(await ids({ recipient: "' OR 1=1 --" })).toEqual([]);
      });

      it('goes through everything that is open, page by page, also what came at the same moment', async () => {
        const rows = Array.from({ length: 1_003 }, () => activity({ receivedAt: '1990-01-01T00:00:00.000Z' }));
        await records.activity.open(rows);
        const first = await records.activity.openBefore('1990-01-02T00:00:00.000Z');
        const rest = await records.activity.openBefore('1990-01-02T00:00:00.000Z', first.at(-1));
        expect([first.length, rest.length]).toEqual([1_000, 3]);
        expect(new Set([...first, ...rest].map(({ id }) => id)).size).toBe(1_003);
        for (const { id } of rows)
          await records.activity.close(id, { outcome: 'failed', errorCode: null, errorText: null, reply: null });
        await records.activity.expire('1990-01-02T00:00:00.000Z');
      });

      it('gives 50 records unless asked, and never more than 500', async () => {
        await records.activity.open(Array.from({ length: 510 }, () => activity({ recipient: 'many@many.test' })));
        expect((await records.activity.list({ domain: 'many.test' })).length).toBe(50);
        expect((await records.activity.list({ domain: 'many.test', limit: 9_999 })).length).toBe(500);
      });

      it('counts by outcome since a time, finds what is open too long, and expires only what is final', async () => {
        const [open, done] = [
          activity({ receivedAt: '1999-01-01T00:00:00.000Z' }),
          activity({ receivedAt: '1999-01-02T00:00:00.000Z', outcome: 'delivered' }),
        ];
        const late = activity({ receivedAt: '2099-01-01T00:00:00.000Z', outcome: 'bounced' });
        await records.activity.open([done, open, late]);
        await records.deliveries.set(done.id, 'c@inbox.test', { state: 'delivered' });
        expect(await records.activity.count('2098-01-01T00:00:00.000Z')).toEqual({ bounced: 1 });
        expect(await records.activity.openBefore('2000-01-01T00:00:00.000Z')).toEqual([open]);
        expect(await records.activity.openBefore('2000-01-01T00:00:00.000Z', open)).toEqual([]);
        expect(await records.activity.expire('2000-01-01T00:00:00.000Z')).toBe(1);
        expect(await records.activity.get(done.id)).toBeUndefined();
        expect(await records.deliveries.list(done.id)).toEqual([]);
        expect(await records.activity.get(open.id)).toEqual(open);
      });
    });

    describe('deliveries', () => {
      let id: string;
      const to = 'c@inbox.test';
      beforeEach(async () => {
        const row = activity();
        ({ id } = row);
        await records.activity.open([row]);
      });

      it('counts each attempt on the row and the record, and shows the row as it was', async () => {
        expect(await records.deliveries.begin(id, to)).toBeUndefined();
        await records.deliveries.set(id, to, { state: 'deferred', host: 'mx.inbox.test', reply: REPLY });
        expect(await records.deliveries.begin(id, to)).toMatchObject({
          state: 'deferred',
          attempts: 1,
          host: 'mx.inbox.test',
          reply: REPLY,
        });
        expect(await records.deliveries.get(id, to)).toMatchObject({ state: 'pending', attempts: 2 });
        await records.deliveries.begin(id, 'other@inbox.test');
        expect((await records.activity.get(id))?.attempts).toBe(3);
        expect((await records.deliveries.list(id)).map((one) => one.destination)).toEqual([to, 'other@inbox.test']);
      });

      it('shows committing to every attempt after a crash, until one has an end', async () => {
        await records.deliveries.begin(id, to);
        await records.deliveries.set(id, to, { state: 'committing', host: 'mx.inbox.test' });
        expect((await records.deliveries.begin(id, to))?.state).toBe('committing');
        expect((await records.deliveries.begin(id, to))?.state).toBe('committing');
        await records.deliveries.set(id, to, { state: 'delivered', resent: true });
        expect(await records.deliveries.get(id, to)).toMatchObject({
          state: 'delivered',
          resent: true,
          attempts: 3,
          host: 'mx.inbox.test',
        });
        expect((await records.activity.get(id))?.resent).toBe(true);
      });

      it.each(['delivered', 'refused'] as const)(
        'counts no attempt for what is %s, and leaves it so',
        async (state) => {
          await records.deliveries.begin(id, to);
          await records.deliveries.set(id, to, { state });
          const ended = await records.deliveries.get(id, to);
          expect(await records.deliveries.begin(id, to)).toEqual(ended);
          expect(await records.deliveries.get(id, to)).toEqual(ended);
          expect((await records.activity.get(id))?.attempts).toBe(1);
        },
      );

      it('lists destinations in the order of their bytes', async () => {
        const destinations = ['_@a.test', 'B@a.test', 'a-b@a.test', 'a@a.test', 'ab@a.test', 'ä@a.test'];
        for (const one of destinations.toReversed()) await records.deliveries.begin(id, one);
        expect((await records.deliveries.list(id)).map((one) => one.destination)).toEqual(
          destinations.toSorted((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other))),
        );
      });

      it('counts the attempts of a report about the message on its row alone', async () => {
        await records.deliveries.begin(id, to);
        await records.deliveries.begin(id, 'bounce:a@a.test', 'row');
        expect((await records.deliveries.get(id, 'bounce:a@a.test'))?.attempts).toBe(1);
        expect((await records.activity.get(id))?.attempts).toBe(1);
      });

      it('expires rows that have no record by their age', async () => {
        await records.deliveries.set('step:1', to, { state: 'delivered' });
        await records.deliveries.set(id, to, { state: 'delivered' });
        await records.activity.expire('2000-01-01T00:00:00.000Z');
        expect(await records.deliveries.get('step:1', to)).toBeDefined();
        await records.activity.expire('2099-01-01T00:00:00.000Z');
        expect(await records.deliveries.get('step:1', to)).toBeUndefined();
        expect(await records.deliveries.get(id, to)).toBeDefined();
      });

      it('loses no attempt of many at once', async () => {
        const before = await Promise.all(Array.from({ length: 20 }, () => records.deliveries.begin(id, to)));
        expect(before.map((row) => row?.attempts ?? 0).sort((a, b) => a - b)).toEqual(
          Array.from({ length: 20 }, (_, index) => index),
        );
      });
    });

    describe('deliveries in a session', () => {
      const destination = 'c@inbox.test';
      const first = (change: Parameters<typeof activity>[0] = {}) =>
        activity({ workflowId: null, attempts: 1, ...change });
      const before = { destination, state: 'committing' as const, host: 'mx.inbox.test', reply: null };
      const accepted = { code: 250, enhanced: '2.0.0', text: 'Stored' };
      const delivered = { outcome: 'delivered' as const, errorCode: null, errorText: null, reply: null };

      it('leave what the three stores of a run leave', async () => {
        const record = first();
        await records.inSession.open({ record, ...before });
        expect(await records.activity.get(record.id)).toEqual(record);
        expect(await records.deliveries.get(record.id, destination)).toMatchObject({
          state: 'committing',
          attempts: 1,
          host: 'mx.inbox.test',
          resent: false,
        });
        await records.inSession.settle(
          record.id,
          destination,
          { state: 'delivered', host: 'mx2.inbox.test', reply: accepted },
          delivered,
        );
        expect(await records.activity.get(record.id)).toEqual({
          ...record,
          ...delivered,
          closedAt: expect.stringMatching(/Z$/),
        });
        expect(await records.deliveries.list(record.id)).toMatchObject([
          { state: 'delivered', attempts: 1, host: 'mx2.inbox.test', reply: accepted },
        ]);
      });

      it('are refused for a message that has a record, and begin anew after an end that may be repeated', async () => {
        const record = first();
        await records.inSession.open({ record, ...before });
        const again = first({ deliveryKey: record.deliveryKey });
        await expect(records.inSession.open({ record: again, ...before })).rejects.toMatchObject({
          code: 'activity.exists',
        });
        expect(await records.deliveries.list(again.id)).toEqual([]);
        const end = { outcome: 'failed' as const, errorCode: 'mail.deferred', errorText: 'later', reply: null };
        await records.inSession.settle(record.id, destination, { state: 'deferred', host: null, reply: REPLY }, end);
        await records.inSession.open({ record: again, ...before });
        expect(await records.activity.get(record.id)).toBeUndefined();
        expect(await records.deliveries.list(record.id)).toEqual([]);
        expect(await records.activity.byDeliveryKey(record.deliveryKey ?? '')).toEqual(again);
      });

      it('do not close what was given to a run meanwhile, nor what is final', async () => {
        const record = first();
        await records.inSession.open({ record, ...before });
        await records.activity.giveTo(record.id, 'mail/9', { type: 'forward', destinations: [destination] });
        const change = { state: 'delivered' as const, host: null, reply: accepted };
        await records.inSession.settle(record.id, destination, change, delivered);
        expect(await records.activity.get(record.id)).toMatchObject({ outcome: 'accepted', workflowId: 'mail/9' });
        await records.activity.close(record.id, { ...delivered, outcome: 'bounced' }, 'mail/9');
        await records.inSession.settle(record.id, destination, change, delivered);
        expect(await records.activity.get(record.id)).toMatchObject({ outcome: 'bounced' });
      });
    });

    describe('blob owners', () => {
      const ref = { key: `mail/${'a'.repeat(64)}`, sha256: 'a'.repeat(64), size: 1 };
      const [early, now, late] = [
        '2026-01-01T00:00:00.000Z',
        '2026-01-02T00:00:00.000Z',
        '2026-01-03T00:00:00.000Z',
      ] as const;

      it('lets the sweep take only what nobody owns, and nobody own what it took', async () => {
        const [blob, soon, ago] = [
          { ...ref, key: `mail/${'c'.repeat(64)}` },
          new Date(Date.now() + 60_000).toISOString(),
          new Date(Date.now() - 60_000).toISOString(),
        ];
        await records.blobOwners.own(blob, 'one', late);
        expect(await records.blobOwners.claim(blob.key, now, soon)).toBe(false);
        await records.blobOwners.disown(blob.key, 'one');
        expect(await records.blobOwners.claim(blob.key, now, soon)).toBe(true);
        expect(await records.blobOwners.claim(blob.key, now, soon)).toBe(false);
        await expect(records.blobOwners.own(blob, 'two', null)).rejects.toMatchObject({
          name: 'TemporaryError',
          code: 'blob.unavailable',
        });
        await records.blobOwners.release(blob.key);
        await records.blobOwners.own(blob, 'two', null);
        await records.blobOwners.disown(blob.key, 'two');
        // A sweep that was killed holds nothing for long.
        expect(await records.blobOwners.claim(blob.key, now, ago)).toBe(true);
        await records.blobOwners.own(blob, 'two', null);
        await records.blobOwners.release(blob.key);
        await records.blobOwners.disown(blob.key, 'two');
      });

      it('holds a blob until its last owner is gone', async () => {
        expect(await records.blobOwners.isOwned(ref.key, now)).toBe(false);
        await records.blobOwners.own(ref, 'one', null);
        await records.blobOwners.own(ref, 'one', null);
        await records.blobOwners.own(ref, 'two', late);
        await records.blobOwners.disown(ref.key, 'one');
        await records.blobOwners.disown(ref.key, 'one');
        expect(await records.blobOwners.isOwned(ref.key, now)).toBe(true);
        await records.blobOwners.expireOwner('two', early);
        expect(await records.blobOwners.isOwned(ref.key, now)).toBe(false);
        expect(await records.blobOwners.expire(now)).toBe(1);
        expect(await records.blobOwners.expire(now)).toBe(0);
      });
    });

    describe('tokens', () => {
      it('finds a token by what was shown once, and nothing else', async () => {
        const { token, ...record } = await records.tokens.create('ci', ['mail:read']);
        expect(token).toMatch(/^sy_[\w-]{43}$/);
        for (const wrong of ['', 'sy_', token.slice(0, -1), `${token} `, token.toUpperCase()]) {
          expect(await records.tokens.find(wrong)).toBeUndefined();
        }
        expect(await records.tokens.find(token)).toEqual({ ...record, lastUsedAt: expect.any(String) });
        expect((await records.tokens.list()).map((one) => one.id)).toContain(record.id);
        expect(JSON.stringify(await records.tokens.list())).not.toContain(token);
        expect(await records.tokens.remove(record.id)).toBe(true);
        expect(await records.tokens.remove(record.id)).toBe(false);
        expect(await records.tokens.find(token)).toBeUndefined();
      });
    });

    describe('inbox', () => {
      it('pages newest first, by recipient where asked', async () => {
        const add = (...recipients: string[]) =>
          records.inbox.add({
            receivedAt: '2026-01-01T00:00:00.000Z',
            sender: '',
            recipients,
            from: null,
            subject: null,
            blob: activity().blob!,
            authentication: null,
          });
        const [one, two] = [await add('a@inbox.test', 'a@inbox.test', 'b@inbox.test'), await add('b@inbox.test')];
        expect(await records.inbox.get(one.id)).toEqual(one);
        expect(await records.inbox.get('no-id')).toBeUndefined();
        expect(await records.inbox.list({})).toEqual([two, one]);
        expect(await records.inbox.list({ recipient: 'a@inbox.test' })).toEqual([one]);
        expect(await records.inbox.list({ recipient: 'b@inbox.test', before: two.id, limit: 5 })).toEqual([one]);
      });
    });

    describe('keys', () => {
      const row = (selector: string) => ({
        domain: 'keys.test',
        selector,
        publicKey: 'p',
        sealed: new Uint8Array([0, 255, 128]),
        createdAt: '2026-01-01T00:00:00.000Z',
      });

      it('gives the newest, also within one millisecond, and refuses a selector twice', async () => {
        expect(await records.keys.newest('keys.test')).toBeUndefined();
        await records.keys.add(row('b'));
        await records.keys.add(row('a'));
        await expect(records.keys.add(row('a'))).rejects.toMatchObject({ name: 'PermanentError', code: 'key.exists' });
        const newest = await records.keys.newest('keys.test');
        expect(newest).toMatchObject({ selector: 'a' });
        expect(Buffer.from(newest!.sealed)).toEqual(Buffer.from([0, 255, 128]));
        expect((await records.keys.list()).map((one) => one.selector)).toEqual(['b', 'a']);
      });

      it('keeps the first value of a secret, whichever that is', async () => {
        const stored = await Promise.all([1, 2, 3].map((byte) => records.keys.secret('s', new Uint8Array([byte]))));
        const [first] = stored.map((one) => [...one]);
        expect(stored.map((one) => [...one])).toEqual([first, first, first]);
        expect([...(await records.keys.secret('s', new Uint8Array([4])))]).toEqual(first);
      });
    });
  });
}
