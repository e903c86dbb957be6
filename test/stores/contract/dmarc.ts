/** What every records driver must do with reports: count each once, and answer what was reported. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AggregateRecord, PolicyPublished } from '../../../protocols/dmarc/aggregate.ts';
import { dayOf, reportIdentity } from '../../../protocols/dmarc/identity.ts';
import { rereadAct, type NewReport, type NumberedRecord } from '../../../stores/records/dmarc/port.ts';
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { Records } from '../../../stores/records/port.ts';
import type { OpenedRecords } from './records.ts';

const DAY = 86_400;
/** 2026-10-05T00:00:00Z, a Monday. */
const MONDAY = 1_791_158_400;

interface Sent {
  source?: string;
  count?: number;
  disposition?: AggregateRecord['evaluated']['disposition'];
  dkim?: 'pass' | 'fail' | null;
  spf?: 'pass' | 'fail' | null;
  reason?: AggregateRecord['evaluated']['reasons'][number]['type'];
  service?: string;
  headerFrom?: string | null;
}

export function record(sent: Sent, number: number): NumberedRecord {
  const { source = '192.0.2.1', count = 1, disposition = 'none', dkim = 'pass', spf = 'fail', reason } = sent;
  const { headerFrom = 'example.com' } = sent;
  return {
    number,
    service: sent.service ?? '',
    record: {
      sourceIp: source,
      count,
      evaluated: { disposition, dkim, spf, reasons: reason === undefined ? [] : [{ type: reason, comment: "it's" }] },
      identifiers: { headerFrom, envelopeFrom: null, envelopeTo: null },
      // Two signatures and one SPF result: one record all the same.
      dkim: [
        { domain: 'example.com', selector: 's1', result: 'pass', humanResult: null },
        { domain: 'esp.example', selector: 's2', result: 'fail', humanResult: '"; drop table' },
      ],
      spf: [{ domain: 'example.com', scope: 'mfrom', result: 'fail', humanResult: null }],
      extensions: [],
    },
  };
}

const POLICY: PolicyPublished = {
  domain: 'example.com',
  p: 'none',
  sp: null,
  np: null,
  adkim: 'r',
  aspf: 'r',
  pct: 100,
  fo: null,
  testing: null,
  discoveryMethod: null,
};

/** @param content stands for the bytes: another one is another content under the same name */
export function report(change: Partial<NewReport> = {}, content = 'first'): NewReport {
  const { domain = 'example.com', begin = MONDAY, end = MONDAY + DAY - 1 } = change;
  const { policyDomain = domain } = change;
  const sha256 = createHash('sha256').update(content).digest('hex');
  const whole = {
    id: uuidv7(),
    kind: 'aggregate' as const,
    domain,
    policyDomain,
    organization: 'Receiver, Inc.',
    email: 'dmarc@receiver.example',
    reportId: '17000001',
    begin,
    end,
    day: dayOf(begin, end),
    receivedAt: '2026-10-06T01:02:03.004Z',
    sha256,
    blob: { key: `dmarc/2026/10/${sha256}`, sha256, size: 1_234 },
    file: null,
    mail: null,
    policy: { ...POLICY, domain: policyDomain },
    details: { form: 'rfc7489' as const },
    warnings: [],
    parser: 1,
    ...change,
  };
  return { ...whole, identity: change.identity ?? reportIdentity(whole) };
}

export function dmarcContract(name: string, open: () => Promise<OpenedRecords>): void {
  describe(`${name}: reports`, () => {
    let opened: OpenedRecords;
    let records: Records;
    let domain: string;
    let generation: number;
    let count = 0;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
    });
    afterAll(() => opened.close());
    beforeEach(async () => {
      domain = `d${++count}.example`;
      generation = (await records.dmarc.generations.current()).number;
    });

    const week = () => ({ domain, from: '2026-10-05', to: '2026-10-11' });
    const publish = (change: Partial<NewReport>, sent: Sent[], content?: string) => {
      const whole = report({ domain, ...change }, content);
      const rows = sent.map((one, index) => record(one, index + 1));
      return records.dmarc.reports.publish(whole, { kind: 'aggregate', records: rows }, generation);
    };

    describe('domains', () => {
      const mailDomain = 'mail.example';
      beforeEach(() => records.rules.applyDeclared([{ domain: mailDomain, rules: [] }]));

      it('refuses an address of a mail domain that is not ours, or that somebody has', async () => {
        const { domains } = records.dmarc;
        await expect(domains.put(domain, 'd@elsewhere.example', 'token:t')).rejects.toMatchObject({
          code: 'dmarc.mail_domain_unknown',
        });
        const drop = { domain: mailDomain, localPart: 'rule', action: { type: 'drop' as const } };
        await records.rules.put({ ...drop, source: 'api' }, 'token:t');
        const taken = { code: 'dmarc.address_taken' };
        await expect(domains.put(domain, `rule@${mailDomain}`, 'token:t')).rejects.toMatchObject(taken);
        await domains.put(domain, `${domain}@${mailDomain}`, 'token:t');
        await expect(domains.put('other.example', `${domain}@${mailDomain}`, 'token:t')).rejects.toMatchObject(taken);
        expect(await domains.get('other.example')).toBeUndefined();
      });

      it('is not overruled by the file: neither takes what the other has, and the error names it', async () => {
        const { domains } = records.dmarc;
        const rule = (localPart: string) => ({
          domain: mailDomain,
          rules: [{ localPart, action: { type: 'forward' as const, destinations: ['c@inbox.test'] } }],
        });
        await records.rules.applyDeclared([rule('filed')]);
        await expect(domains.put(domain, `filed@${mailDomain}`, 'token:t')).rejects.toMatchObject({
          code: 'dmarc.address_taken',
          message: expect.stringMatching(/rule for filed under mail\.domains\.mail\.example in .*to c@inbox\.test/),
        });
        await domains.put(domain, `r-${domain}@${mailDomain}`, 'token:t');
        await expect(records.rules.applyDeclared([rule(`r-${domain}`)])).rejects.toMatchObject({
          code: 'rule.report_address',
          message: expect.stringContaining(`r-${domain} under mail.domains.mail.example`),
          fix: expect.stringContaining(`switchyard dmarc add ${domain} --address`),
        });
        // All of the file or nothing of it.
        expect(await records.rules.find(mailDomain, 'filed')).toMatchObject({ source: 'file' });
        expect(await records.rules.find(mailDomain, `r-${domain}`)).toMatchObject({ source: 'dmarc' });
        await records.rules.applyDeclared([rule('*')]);
        expect(await records.rules.find(mailDomain, `r-${domain}`)).toMatchObject({ source: 'dmarc' });
      });

      it('has the address as a rule until it is removed, and audits it', async () => {
        const { domains } = records.dmarc;
        const first = await domains.put(domain, `a-${domain}@${mailDomain}`, 'token:t');
        const moved = await domains.put(domain, `b-${domain}@${mailDomain}`, 'token:t');
        expect(moved).toEqual({ ...first, address: `b-${domain}@${mailDomain}` });
        expect(await records.rules.find(mailDomain, `a-${domain}`)).toBeUndefined();
        expect(await records.rules.find(mailDomain, `b-${domain}`)).toMatchObject({
          action: { type: 'dmarc', domain },
          source: 'dmarc',
        });
        expect(await domains.byAddress(moved.address)).toEqual(moved);
        expect(await domains.list()).toContainEqual(moved);
        expect(await domains.remove(domain, 'token:t')).toBe(true);
        expect(await domains.remove(domain, 'token:t')).toBe(false);
        expect(await records.rules.find(mailDomain, `b-${domain}`)).toBeUndefined();
        const actions = (await records.audit.list({ limit: 20 }))
          .filter(({ subject }) => subject === domain)
          .map(({ action }) => action);
        expect(actions).toEqual(['dmarc.domain.removed', 'dmarc.domain.changed', 'dmarc.domain.added']);
      });
    });

    describe('what comes in a day', () => {
      const amount = { mails: 2, bytes: 1_000, records: 10 };
      const quota = { sender: amount, address: { ...amount, mails: 3 } };
      const now = '2026-10-06T01:02:03.004Z';
      const mail = (sender: string, id = uuidv7()) => ({ id, domain, sender, mails: 1, bytes: 10, records: 0 });

      it('is counted once by sender and address, up to the quota', async () => {
        const { intake } = records.dmarc;
        const first = mail('a.example');
        expect(await intake.take(first, quota, now)).toBeUndefined();
        expect(await intake.take(first, quota, now)).toBeUndefined();
        expect(await intake.take(mail('a.example'), quota, now)).toBeUndefined();
        expect(await intake.take(mail('a.example'), quota, now)).toEqual({ scope: 'sender', what: 'mails', limit: 2 });
        expect(await intake.take(first, quota, now)).toBeUndefined();
        expect(await intake.isFull(domain, quota, now)).toBeUndefined();
        expect(await intake.take(mail('b.example'), quota, now)).toBeUndefined();
        const full = { scope: 'address', what: 'mails', limit: 3 };
        expect(await intake.take(mail('c.example'), quota, now)).toEqual(full);
        expect(await intake.isFull(domain, quota, now)).toEqual(full);
        expect(await intake.isFull('other.example', quota, now)).toBeUndefined();
        expect(await intake.take({ ...mail('c.example'), domain: 'other.example' }, quota, now)).toBeUndefined();
      });

      it('has room again a day later, and is forgotten', async () => {
        const { intake } = records.dmarc;
        for (const _ of [1, 2]) await intake.take(mail('a.example'), quota, now);
        expect(await intake.take(mail('a.example'), quota, '2026-10-07T01:02:03.003Z')).toBeDefined();
        expect(await intake.take(mail('a.example'), quota, '2026-10-07T01:02:03.004Z')).toBeUndefined();
        expect(await intake.expire('2026-10-07T01:02:03.003Z')).toBe(0);
        expect(await intake.expire('2026-10-07T01:02:03.004Z')).toBeGreaterThanOrEqual(2);
      });
    });

    describe('publishing', () => {
      it('counts a report once however often it comes, and says which one counts', async () => {
        const first = await publish({}, [{ count: 7 }]);
        expect(first.state).toBe('published');
        expect(await publish({ id: first.id }, [{ count: 7 }])).toEqual(first);
        expect(await publish({}, [{ count: 7 }])).toEqual({ state: 'repeated', id: first.id });
        expect(await publish({}, [{ count: 9 }], 'other')).toEqual({ state: 'conflicting', id: first.id });
        expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 7, reports: 1, sources: 1 });
        expect(await records.dmarc.queries.reportRecords(first.id)).toHaveLength(1);
      });

      it('takes the same id of another reporter, interval or domain for another report', async () => {
        const states = [
          await publish({}, [{}]),
          await publish({ organization: 'Another' }, [{}]),
          await publish({ begin: MONDAY + DAY, end: MONDAY + 2 * DAY - 1 }, [{}]),
          await publish({ policyDomain: `sub.${domain}` }, [{}]),
          await publish({ reportId: null }, [{}]),
          await publish({ reportId: null }, [{}], 'without an id the content tells'),
        ].map(({ state }) => state);
        expect(new Set(states)).toEqual(new Set(['published']));
        expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 6, reports: 6, organizations: 2 });
      });

      it('shows nothing of what is staged until it is published, and then all of it, once', async () => {
        const whole = report({ domain });
        const rows = Array.from({ length: 1_203 }, (_, index) =>
          record({ source: `192.0.2.${index % 200}`, count: 2 }, index + 1),
        );
        await records.dmarc.reports.stage({ ...whole, domain: 'guess.example' }, rows.slice(0, 700), generation);
        await records.dmarc.reports.stage({ ...whole, domain: 'guess.example' }, rows.slice(0, 1_200), generation);
        expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 0, reports: 0, sources: 0 });
        expect(await records.dmarc.queries.records({ domain, source: '192.0.2.3' })).toEqual([]);
        const content = { kind: 'aggregate' as const, records: rows.slice(1_200) };
        expect((await records.dmarc.reports.publish(whole, content, generation)).state).toBe('published');
        // A late attempt of the same.
        await records.dmarc.reports.stage(whole, rows.slice(0, 700), generation);
        await records.dmarc.reports.expireStaged(new Date(Date.now() + 60_000).toISOString());
        expect(await records.dmarc.queries.report(whole.id)).toMatchObject({ records: 1_203, messages: 2_406 });
        expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 2_406, sources: 200 });
        expect(await records.dmarc.queries.reportRecords(whole.id, 1_202)).toHaveLength(1);
        expect(await records.dmarc.queries.records({ domain, source: '192.0.2.3' })).toHaveLength(6);
      });

      it('publishes no report of which staged records were removed meanwhile, and all of it the next time', async () => {
        const whole = report({ domain });
        const rows = Array.from({ length: 1_500 }, (_, index) => record({ count: 2 }, index + 1));
        const { reports, queries } = records.dmarc;
        await reports.stage(whole, rows.slice(0, 700), generation);
        await reports.expireStaged(new Date(Date.now() + 60_000).toISOString());
        await reports.stage(whole, rows.slice(700, 1_200), generation);
        const content = { kind: 'aggregate' as const, records: rows.slice(1_200) };
        await expect(reports.publish(whole, content, generation)).rejects.toMatchObject({
          name: 'TemporaryError',
          code: 'records.unavailable',
        });
        expect(await queries.report(whole.id)).toBeUndefined();
        await reports.stage(whole, rows.slice(0, 1_200), generation);
        expect((await reports.publish(whole, content, generation)).state).toBe('published');
        expect(await queries.totals(week())).toMatchObject({ messages: 3_000 });
      });

      it('keeps what was staged while something is added to it', async () => {
        const whole = report({ domain });
        await records.dmarc.reports.stage(whole, [record({}, 1)], generation);
        await sleep(5);
        const later = new Date().toISOString();
        await sleep(5);
        await records.dmarc.reports.stage(whole, [record({}, 2)], generation);
        expect(await records.dmarc.reports.expireStaged(later)).toBe(0);
        await records.dmarc.reports.publish(whole, { kind: 'aggregate', records: [record({}, 3)] }, generation);
        expect(await records.dmarc.queries.report(whole.id)).toMatchObject({ records: 3 });
      });

      it('answers with the nearest number where strangers claim more messages than a number can say', async () => {
        const most = 9_000_000_000_000_000;
        await publish({}, [{ count: most }]);
        await publish({ organization: 'Another' }, [{ count: most }]);
        expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 2 * most });
        expect((await records.dmarc.queries.domains('2000-01-01')).find((one) => one.domain === domain)).toMatchObject({
          counts: { messages: 2 * most },
        });
      });

      it('removes what was staged and never published', async () => {
        const [dead, other] = [report({ domain }), report({ domain })];
        await records.dmarc.reports.stage(dead, [record({}, 1)], generation);
        await records.dmarc.reports.stage(other, [record({}, 1)], generation);
        expect(await records.dmarc.reports.expireStaged('2000-01-01T00:00:00.000Z')).toBe(0);
        const content = { kind: 'aggregate' as const, records: [] };
        await records.dmarc.reports.publish(other, content, generation);
        expect(await records.dmarc.reports.expireStaged(new Date(Date.now() + 60_000).toISOString())).toBe(1);
        // Nothing of it is left that its publication would find.
        await records.dmarc.reports.publish({ ...dead, identity: 'another' }, content, generation);
        expect(await records.dmarc.queries.report(dead.id)).toMatchObject({ records: 0, messages: 0 });
      });

      it('refuses a generation that is over', async () => {
        const whole = report({ domain });
        await expect(records.dmarc.reports.publish(whole, { kind: 'aggregate', records: [] }, 0)).rejects.toMatchObject(
          { name: 'TemporaryError', code: 'dmarc.generation_over' },
        );
      });

      it('gives back what was reported, to the letter', async () => {
        const whole = report({
          domain,
          organization: '<script>alert(1)</script>',
          file: 'a/../b.xml',
          mail: { activityId: 'a1', sender: '', headerFrom: null, authentication: null },
          warnings: [{ code: 'zero_count', field: 'record/row/count', count: 1, example: '0' }],
        });
        const sent = [
          record({ dkim: null, spf: null, disposition: null, reason: null }, 1),
          record({ source: '2001:db8::1', count: 10_000_000_000 }, 2),
        ];
        await records.dmarc.reports.publish(whole, { kind: 'aggregate', records: sent }, generation);
        const { identity: _identity, ...said } = whole;
        const found = await records.dmarc.queries.report(whole.id);
        expect(found).toMatchObject({ ...said, records: 2, messages: 10_000_000_001, passed: 10_000_000_000 });
        const stored = await records.dmarc.queries.reportRecords(whole.id);
        expect(stored.map((one) => one.record)).toEqual(sent.map((one) => one.record));
        expect(stored[0]).toMatchObject({ reportId: whole.id, number: 1, organization: whole.organization });
      });
    });

    it('takes text that no database holds as it stands, and keeps the rest of it', async () => {
      const odd = record({ source: '192.0.2.77' }, 1);
      odd.record.identifiers = { headerFrom: 'a\0b', envelopeFrom: '\ud800 x "\\u0000', envelopeTo: '\u0001\\' };
      const whole = report({ domain, organization: 'O\0\udfff', email: null });
      const content = { kind: 'aggregate' as const, records: [odd, record({}, 2)] };
      expect((await records.dmarc.reports.publish(whole, content, generation)).state).toBe('published');
      const [stored] = await records.dmarc.queries.reportRecords(whole.id);
      expect(stored?.record.identifiers).toEqual({
        headerFrom: expect.stringMatching(/^a[\0\ufffd]b$/),
        envelopeFrom: '\ufffd x "\\u0000',
        envelopeTo: '\u0001\\',
      });
      const { organization } = (await records.dmarc.queries.report(whole.id)) ?? {};
      expect(organization).toMatch(/^O[\0\ufffd]\ufffd$/);
      expect(await records.dmarc.queries.totals(week())).toMatchObject({ messages: 2, organizations: 1 });
    });

    describe('answers', () => {
      /** Mon: 100 + 20 + 5; Tue: 40. */
      beforeEach(async () => {
        await publish({ reportId: 'mon' }, [
          { source: '192.0.2.1', count: 100, dkim: 'pass', spf: 'pass', service: 'Mailer' },
          { source: '192.0.2.2', count: 20, dkim: 'fail', spf: 'fail', service: '' },
          { source: '192.0.2.3', count: 5, dkim: 'fail', spf: 'fail', disposition: 'quarantine', service: 'Lists' },
        ]);
        await publish({ reportId: 'tue', begin: MONDAY + DAY, end: MONDAY + 2 * DAY - 1 }, [
          { source: '192.0.2.1', count: 30, dkim: 'fail', spf: 'pass', service: 'Mailer' },
          { source: '192.0.2.3', count: 8, dkim: 'fail', spf: 'fail', reason: 'mailing_list', service: 'Lists' },
          { source: '192.0.2.4', count: 2, dkim: 'fail', spf: 'fail', disposition: 'reject', service: '' },
        ]);
      });
      const monday = { messages: 125, passed: 100, dkim: 100, spf: 100, quarantined: 5, rejected: 0 };
      const tuesday = { messages: 40, passed: 30, dkim: 0, spf: 30, quarantined: 0, rejected: 2 };

      it('sums up by day, by service and in all', async () => {
        const { queries } = records.dmarc;
        expect(await queries.days(week())).toEqual([
          { day: '2026-10-05', ...monday },
          { day: '2026-10-06', ...tuesday },
        ]);
        expect(await queries.totals(week())).toEqual({
          messages: 165,
          passed: 130,
          dkim: 100,
          spf: 130,
          quarantined: 5,
          rejected: 2,
          reports: 2,
          organizations: 1,
          sources: 4,
          days: 2,
        });
        expect(await queries.totals({ ...week(), from: '2026-10-06' })).toMatchObject({ ...tuesday, sources: 3 });
        expect(await queries.totals({ ...week(), to: '2026-10-04' })).toMatchObject({
          messages: 0,
          reports: 0,
          days: 0,
        });
        const services = await queries.services(week());
        expect(services.map(({ service, messages, passed, sources }) => [service, messages, passed, sources])).toEqual([
          ['Mailer', 130, 130, 1],
          ['', 22, 0, 2],
          ['Lists', 13, 0, 1],
        ]);
        expect(await queries.days({ ...week(), service: 'Lists' })).toMatchObject([{ messages: 5 }, { messages: 8 }]);
        expect(await queries.domains('2026-10-06')).toContainEqual({
          domain,
          address: null,
          reports: 2,
          lastReportAt: '2026-10-06T01:02:03.004Z',
          counts: tuesday,
        });
      });

      it('knows where an address is and what it is called, each whoever says the other', async () => {
        const { hosts } = records.dmarc;
        const address = '203.0.113.61';
        await hosts.locate([{ address, country: 'DE', network: null }]);
        const located = { address, name: null, country: 'DE', network: null, lookedUpAt: '' };
        expect((await hosts.find([address])).get(address)).toEqual(located);
        await hosts.put([{ address, name: 'mx.example', country: 'DE', network: null }]);
        const named = (await hosts.find([address])).get(address);
        await hosts.locate([{ address, country: 'FR', network: 'AS64496 Net' }]);
        const moved = (await hosts.find([address])).get(address);
        expect(moved).toEqual({ ...named, country: 'FR', network: 'AS64496 Net' });
        expect([moved?.name, moved?.lookedUpAt]).toEqual(['mx.example', expect.stringMatching(/^20/)]);
      });

      it('lists sources with what is known of them, and those that are new', async () => {
        const { queries, hosts } = records.dmarc;
        await hosts.put([{ address: '192.0.2.4', name: 'mx.bad.example', country: 'DE', network: 'AS64496 Bad' }]);
        const sources = await queries.sources(week());
        expect(sources.map(({ source, messages }) => [source, messages])).toEqual([
          ['192.0.2.1', 130],
          ['192.0.2.2', 20],
          ['192.0.2.3', 13],
          ['192.0.2.4', 2],
        ]);
        expect(sources[0]).toEqual({
          source: '192.0.2.1',
          service: 'Mailer',
          name: null,
          country: null,
          network: null,
          firstDay: '2026-10-05',
          lastDay: '2026-10-06',
          messages: 130,
          passed: 130,
          dkim: 100,
          spf: 130,
          quarantined: 0,
          rejected: 0,
        });
        const failing = await queries.sources({ ...week(), failing: true, limit: 2 });
        expect(failing.map(({ source }) => source)).toEqual(['192.0.2.2', '192.0.2.3']);
        expect((await queries.sources({ ...week(), service: 'Lists' })).map(({ source }) => source)).toEqual([
          '192.0.2.3',
        ]);
        expect(await queries.sources({ ...week(), source: '192.0.2.3' })).toEqual([sources[2]]);
        const fresh = await queries.newSources({ domain, since: '2026-10-06' });
        expect(fresh).toMatchObject([{ source: '192.0.2.4', name: 'mx.bad.example', country: 'DE', messages: 2 }]);
        // A report about the past that comes late: it was there before.
        await publish({ reportId: 'late', begin: MONDAY - DAY, end: MONDAY - 1 }, [{ source: '192.0.2.4' }]);
        expect(await queries.newSources({ domain, since: '2026-10-06' })).toEqual([]);
      });

      it('says who would be hit by a stricter policy, and of whom the receiver knew better', async () => {
        const whatIf = await records.dmarc.queries.whatIf(week());
        expect(whatIf).toEqual({
          messages: 165,
          passed: 130,
          quarantine: {
            hit: 28,
            services: [
              { service: '', hit: 20, exempt: 0 },
              { service: 'Lists', hit: 8, exempt: 8 },
            ],
          },
          reject: {
            hit: 33,
            services: [
              { service: '', hit: 20, exempt: 0 },
              { service: 'Lists', hit: 13, exempt: 8 },
            ],
          },
          failed: {
            hit: 35,
            services: [
              { service: '', hit: 22, exempt: 0 },
              { service: 'Lists', hit: 13, exempt: 8 },
            ],
          },
          apart: 0,
        });
      });

      it('leaves out of it what another policy rules: sp, or the record of a subdomain', async () => {
        const failing = { dkim: 'fail', disposition: 'none' } as const;
        const sent = [
          { ...failing, source: '192.0.2.9', count: 700, headerFrom: `News.${domain}` },
          { ...failing, source: '192.0.2.9', count: 40, headerFrom: domain },
          // Another domain that ends alike.
          { ...failing, source: '192.0.2.9', count: 2, headerFrom: `x${domain}` },
        ];
        const { queries } = records.dmarc;
        const range = { domain, from: '2026-10-19', to: '2026-10-20' };
        const begin = MONDAY + 14 * DAY;
        const under = async (sp: 'none' | null, number: number) => {
          const at = begin + number * DAY;
          const policy = { ...POLICY, domain, sp };
          await publish({ reportId: `${number}`, begin: at, end: at + DAY - 1, policy }, sent);
          const [source] = await queries.whatIfSources({ ...range, sources: ['192.0.2.1', '192.0.2.9'] });
          const { quarantine, failed, apart } = await queries.whatIf(range);
          return [quarantine.hit, failed.hit, apart, source?.reject.hit];
        };
        // Without sp the policy of the domain rules them; with it, those of both days are apart.
        expect(await under(null, 0)).toEqual([742, 742, 0, 742]);
        expect(await under('none', 1)).toEqual([84, 84, 1_400, 84]);
        const policyDomain = `shop.${domain}`;
        await publish({ reportId: 'own', begin, end: begin + DAY - 1, policyDomain }, sent);
        expect(await under(null, 0)).toEqual([84, 84, 1_400 + 742, 84]);
      });

      it('says of an address what failed: not what was quarantined in spite of passing, and what was excepted', async () => {
        const source = '192.0.2.10';
        await publish({ reportId: 'q', begin: MONDAY + DAY, end: MONDAY + 2 * DAY - 1 }, [
          { source, count: 800, disposition: 'quarantine' },
          { source, count: 150, dkim: 'fail' },
          { source, count: 50, dkim: 'fail', reason: 'forwarded' },
          { source, count: 3, dkim: 'fail', disposition: 'quarantine' },
          { source, count: 1, dkim: 'fail', disposition: 'reject' },
        ]);
        expect(await records.dmarc.queries.whatIfSources({ ...week(), sources: [source, '203.0.113.1'] })).toEqual([
          {
            source,
            quarantine: { hit: 200, exempt: 50 },
            reject: { hit: 203, exempt: 50 },
            failed: { hit: 204, exempt: 50 },
          },
        ]);
      });

      it('pages through the records of a source, newest report first', async () => {
        const { queries } = records.dmarc;
        const first = await queries.records({ domain, source: '192.0.2.3', limit: 1 });
        expect(first).toMatchObject([{ day: '2026-10-06', record: { count: 8 }, service: 'Lists' }]);
        const rest = await queries.records({ domain, source: '192.0.2.3', before: first[0]! });
        expect(rest).toMatchObject([{ day: '2026-10-05', record: { count: 5 } }]);
        expect(await queries.records({ domain, source: '192.0.2.3', before: rest[0]! })).toEqual([]);
        expect(await queries.records({ domain: 'other.example', source: '192.0.2.3' })).toEqual([]);
      });

      it('shows the records that a figure counts: of its days, and those that failed', async () => {
        const counts = async (filter: { from?: string; to?: string; failing?: boolean }) =>
          (await records.dmarc.queries.records({ domain, source: '192.0.2.1', ...filter })).map(
            ({ record }) => record.count,
          );
        expect(await counts({})).toEqual([30, 100]);
        expect(await counts({ from: '2026-10-06' })).toEqual([30]);
        expect(await counts({ to: '2026-10-05' })).toEqual([100]);
        expect(await counts({ failing: true })).toEqual([]);
        const failed = await records.dmarc.queries.records({ domain, source: '192.0.2.3', failing: true });
        expect(failed.map(({ record }) => record.count)).toEqual([8, 5]);
      });

      it('lists reports newest first, and knows the newest policy of the domain itself', async () => {
        const { queries } = records.dmarc;
        const later = {
          reportId: 'sub',
          policyDomain: `sub.${domain}`,
          begin: MONDAY + 3 * DAY,
          end: MONDAY + 4 * DAY,
        };
        await publish(later, []);
        const listed = await queries.reports({ domain });
        expect(listed.map(({ reportId }) => reportId)).toEqual(['sub', 'tue', 'mon']);
        const page = await queries.reports({ domain, kind: 'aggregate', before: listed[1]!.id });
        expect(page.map(({ reportId }) => reportId)).toEqual(['mon']);
        const tuesdays = await queries.reports({ domain, from: '2026-10-06', to: '2026-10-06' });
        expect(tuesdays.map(({ reportId }) => reportId)).toEqual(['tue']);
        expect(await queries.policy(domain)).toEqual({ policy: { ...POLICY, domain }, day: '2026-10-06' });
        expect(await queries.policy('nothing.example')).toBeUndefined();
      });
    });

    it('keeps TLS and failure reports beside the others, and counts them for themselves', async () => {
      const { reports, queries } = records.dmarc;
      const failure = {
        resultType: 'certificate-expired',
        sendingMtaIp: null,
        receivingMxHostname: 'mx.example',
        receivingMxHelo: null,
        receivingIp: null,
        sessions: 3,
        additionalInformation: null,
        reasonCode: null,
      };
      const policy = {
        type: 'sts',
        domain,
        text: ['version: STSv1'],
        mxHosts: ['*.example'],
        successful: 40,
        failed: 5,
      };
      const policies = [
        { ...policy, failures: [failure, { ...failure, sessions: 2, receivingMxHostname: 'mx2.example' }] },
        { ...policy, type: 'tlsa', failed: 1, failures: [{ ...failure, sessions: 1, resultType: 'tlsa-invalid' }] },
      ];
      const tls = report({ domain, kind: 'tls', policy: null });
      expect((await reports.publish(tls, { kind: 'tls', policies }, generation)).state).toBe('published');
      const again = report({ domain, kind: 'tls', policy: null });
      expect((await reports.publish(again, { kind: 'tls', policies }, generation)).state).toBe('repeated');
      expect(await queries.tls(week())).toEqual({
        reports: 1,
        successful: 80,
        failed: 6,
        days: [{ day: '2026-10-05', successful: 80, failed: 6 }],
        results: [
          { result: 'certificate-expired', sessions: 5, hosts: ['mx.example', 'mx2.example'] },
          { result: 'tlsa-invalid', sessions: 1, hosts: ['mx.example'] },
        ],
      });
      const ruf = {
        authFailure: ['dmarc'],
        identityAlignment: [],
        sourceIp: '192.0.2.9',
        reportedDomain: domain,
        deliveryResult: 'reject',
        arrivedAt: MONDAY,
        mailFrom: null,
        rcptTo: [],
        envelopeId: null,
        authenticationResults: [],
        dkim: { domain: null, identity: null, selector: null },
        spfRecords: [],
        reporter: { userAgent: null, mta: null },
        incidents: 4,
      };
      const about = report({ domain, kind: 'failure', policy: null });
      await reports.publish(about, { kind: 'failure', failure: ruf }, generation);
      expect(await queries.failures({ domain })).toMatchObject([{ reportId: about.id, failure: ruf }]);
      expect(await queries.failures({ domain, before: about.id })).toEqual([]);
      expect(await queries.reportFailure(about.id)).toMatchObject({ reportId: about.id, failure: ruf });
      expect(await queries.reportFailure(tls.id)).toBeUndefined();
      expect(await queries.reportTls(tls.id)).toEqual(policies);
      expect(await queries.reportTls(about.id)).toEqual([]);
      expect(await queries.totals(week())).toMatchObject({ messages: 0, reports: 0 });
      expect(await queries.report(tls.id)).toMatchObject({ records: 2, messages: 86, passed: 80 });
    });

    it('keeps what was refused once, until its time or until a person removes it', async () => {
      const { quarantine } = records.dmarc;
      const sha256 = 'a'.repeat(64);
      const entry = {
        id: uuidv7(),
        act: `mail/${domain}`,
        domain,
        address: `r@${domain}`,
        sender: 'x@y.example',
        receivedAt: '2026-10-06T00:00:00.000Z',
        code: 'dmarc.doctype',
        message: 'The document has a DOCTYPE.',
        blob: { key: `dmarc/2026/10/${sha256}`, sha256, size: 10 },
        file: null,
        mail: null,
        expiresAt: '2026-11-06T00:00:00.000Z',
      };
      expect(await quarantine.put(entry)).toEqual(entry);
      expect(await quarantine.put({ ...entry, id: uuidv7() })).toEqual(entry);
      const other = await quarantine.put({
        ...entry,
        id: uuidv7(),
        act: `other/${domain}`,
        expiresAt: entry.receivedAt,
      });
      expect((await quarantine.list({ domain })).map(({ id }) => id)).toEqual([other.id, entry.id]);
      expect(await quarantine.list({ domain, before: other.id })).toEqual([entry]);
      expect(await quarantine.count({ domain })).toBe(2);
      expect(await quarantine.count({ domain, since: '2026-10-06T00:00:00.001Z' })).toBe(0);
      expect(await quarantine.expire('2026-10-07T00:00:00.000Z')).toBe(1);
      expect(await quarantine.remove(entry.id, 'token:t')).toBe(true);
      expect(await quarantine.remove(entry.id, 'token:t')).toBe(false);
      expect(await quarantine.get(entry.id)).toBeUndefined();
    });

    it('answers as before while reports are read anew, and from the new reading at once when it is whole', async () => {
      const { generations, reports, queries, quarantine } = records.dmarc;
      const first = await publish({ reportId: '1' }, [{ count: 3 }]);
      const refused = await publish({ reportId: '2' }, [{ count: 5 }]);
      const { number } = await generations.begin(2);
      expect(await generations.begin(2)).toMatchObject({ number, state: 'building' });
      const ours = async () =>
        (await generations.missing(number, undefined, 10_000)).filter((one) => one.domain === domain);
      expect((await ours()).map(({ id }) => id)).toEqual([first.id, refused.id]);
      // Those of the other tests: they are read too.
      for (const old of await generations.missing(number, undefined, 10_000))
        if (old.id !== first.id && old.id !== refused.id)
          await reports.publish({ ...old, identity: old.id, parser: 2 }, { kind: 'aggregate', records: [] }, number);
      const reread = report({ domain, reportId: '1', id: first.id, parser: 2 });
      const content = { kind: 'aggregate' as const, records: [record({ count: 4 }, 1)] };
      expect(await reports.publish(reread, content, number)).toEqual({ state: 'published', id: first.id });
      expect(await queries.totals(week())).toMatchObject({ messages: 8 });
      expect(await generations.switchTo(number)).toBe(1);
      const during = await publish({ reportId: '3' }, [{ count: 6 }]);
      expect((await ours()).map(({ id }) => id)).toEqual([refused.id, during.id]);
      await quarantine.put({
        ...(await queries.report(refused.id))!,
        id: uuidv7(),
        act: rereadAct(number, refused.id),
        address: null,
        sender: null,
        code: 'dmarc.malformed',
        message: 'No more.',
        expiresAt: '2100-01-01T00:00:00.000Z',
      });
      await reports.publish(report({ domain, reportId: '3', id: during.id }), content, number);
      expect(await queries.totals(week())).toMatchObject({ messages: 14 });
      // Who is in the middle of a list of the old ones is told, and does not take it for whole.
      const lists = [
        queries.everySource({ ...week(), failing: false }),
        queries.everyNewSource({ domain, since: week().from }),
      ].map((one) => one[Symbol.asyncIterator]());
      for (const list of lists) expect(await list.next()).toMatchObject({ done: false });
      expect(await generations.switchTo(number)).toBe(0);
      for (const list of lists) await expect(list.next()).rejects.toMatchObject({ code: 'dmarc.generation_over' });
      expect(await generations.switchTo(number)).toBe(0);
      expect(await generations.current()).toMatchObject({ number, parser: 2 });
      expect(await queries.totals(week())).toMatchObject({ messages: 8, reports: 2 });
      while ((await generations.clear()) > 0);
      expect(await queries.totals(week())).toMatchObject({ messages: 8, reports: 2 });
      const dropped = await generations.begin(3);
      await generations.drop(dropped.number);
      expect(await generations.building()).toBeUndefined();
      while ((await generations.clear()) > 0);
    });
  });
}
