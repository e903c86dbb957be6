/** What every records driver must do with triggers, the rules that follow from them, and their verdicts. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidv7 } from '../../../stores/records/ids.ts';
import type { Records, Trigger } from '../../../stores/records/port.ts';
import type { OpenedRecords } from './records.ts';

type Wanted = Parameters<Records['triggers']['put']>[0];

const MINUTE = 60_000;
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

/** A registration of a production workflow for mail, but for what is changed. */
export function wanted(change: Partial<Trigger> = {}): Wanted {
  return {
    id: uuidv7(),
    kind: 'mail',
    name: 'Sales',
    callbackUrl: 'http://127.0.0.1:5678/webhook/1/mail',
    link: null,
    tokenId: 't1',
    test: false,
    addresses: [],
    mode: 'verdict',
    timeoutMs: 30_000,
    troubleReply: { code: 451, text: 'Later' },
    workflows: [],
    outcomes: [],
    runs: [],
    leaseUntil: inMs(10 * MINUTE),
    ...change,
  };
}

export function triggersContract(name: string, open: () => Promise<OpenedRecords>): void {
  describe(`${name}: triggers`, () => {
    let opened: OpenedRecords;
    let records: Records;
    /** A domain of its own for each test, so that no two meet. */
    let domain: string;
    let count = 0;
    beforeAll(async () => {
      opened = await open();
      ({ records } = opened);
    });
    afterAll(() => opened.close());
    beforeEach(async () => {
      domain = `d${++count}.test`;
      await declare();
    });

    const declare = (...rules: string[]) =>
      records.rules.applyDeclared([
        { domain, rules: rules.map((localPart) => ({ localPart, action: { type: 'drop' as const } })) },
      ]);
    const at = (localPart: string) => `${localPart}@${domain}`;
    const put = (change: Partial<Trigger> = {}) => records.triggers.put(wanted(change), 'token:n8n');
    const owner = async (localPart: string) => {
      const rule = await records.rules.find(domain, localPart);
      return rule?.action.type === 'trigger' ? rule.action.trigger : rule?.action.type;
    };
    const audited = async () => (await records.audit.list({ limit: 500 })).map(({ action }) => action);

    it('gives back what was registered, and nothing where nothing was', async () => {
      const given = wanted({ addresses: [at('a'), at('*')], link: 'http://127.0.0.1:5678/workflow/1' });
      const made = await records.triggers.put(given, 'token:n8n');
      expect(made).toMatchObject(given);
      expect(await records.triggers.get(given.id)).toEqual(made);
      expect(await records.triggers.list('mail')).toContainEqual(made);
      expect(await records.triggers.list('resume')).not.toContainEqual(made);
      expect(await records.triggers.get('no-id')).toBeUndefined();
      expect(await records.triggers.remove('no-id', 'token:n8n')).toBe(false);
    });

    it('makes its addresses rules while it is there, and no longer', async () => {
      const { id } = await put({ addresses: [at('a'), at('*')], name: 'Sales' });
      expect(await records.rules.find(domain, 'a')).toMatchObject({
        source: 'trigger',
        enabled: true,
        action: { type: 'trigger', trigger: id, name: 'Sales' },
      });
      expect(await owner('anyone')).toBe(id);
      await put({ id, addresses: [at('b')] });
      expect([await owner('a'), await owner('b'), await owner('anyone')]).toEqual([undefined, id, undefined]);
      expect(await records.triggers.remove(id, 'token:n8n')).toBe(true);
      expect(await records.rules.list(domain)).toEqual([]);
    });

    it('writes the audit log for what changed, and not for a renewed lease', async () => {
      const { id } = await put({ addresses: [at('a')] });
      expect((await audited()).slice(0, 2)).toEqual(['trigger.added', 'rule.added']);
      const before = (await audited()).length;
      const renewed = await put({ id, addresses: [at('a')], leaseUntil: inMs(20 * MINUTE) });
      expect((await audited()).length).toBe(before);
      expect((await records.triggers.get(id))?.leaseUntil).toBe(renewed.leaseUntil);
      await put({ id, addresses: [at('a')], name: 'Sales 2' });
      expect((await audited()).slice(0, 2)).toEqual(['trigger.changed', 'rule.changed']);
      await records.triggers.remove(id, 'token:n8n');
      expect((await audited()).slice(0, 2)).toEqual(['trigger.removed', 'rule.removed']);
    });

    it('refuses an address of the file, of the API, or of another workflow, and changes nothing', async () => {
      await declare('file');
      await records.rules.put({ domain, localPart: 'api', action: { type: 'drop' }, source: 'api' }, 'token:somebody');
      await put({ addresses: [at('other')], name: 'Other workflow' });
      const { id } = await put({ addresses: [at('mine')] });
      for (const [localPart, holder] of [
        ['file', 'switchyard.yaml'],
        ['api', 'API'],
        ['other', 'Other workflow'],
      ] as const) {
        const refused = put({ id, addresses: [at('new'), at(localPart)] });
        await expect(refused).rejects.toMatchObject({ name: 'PermanentError', code: 'trigger.address_taken' });
        await expect(refused).rejects.toThrow(holder);
      }
      expect((await records.triggers.get(id))?.addresses).toEqual([at('mine')]);
      expect([await owner('mine'), await owner('new'), await owner('file')]).toEqual([id, undefined, 'drop']);
    });

    it('refuses an address of a domain that is not ours, also when another trigger once had one there', async () => {
      const { id } = await put({ addresses: [at('a')] });
      await records.rules.applyDeclared([]);
      for (const address of [at('b'), 'x@elsewhere.test'])
        await expect(put({ addresses: [address] })).rejects.toMatchObject({ code: 'trigger.domain_unknown' });
      await records.triggers.remove(id, 'token:n8n');
    });

    it('lets a try come before the workflow in production, and gives the address back after it', async () => {
      const production = await put({ addresses: [at('a')] });
      const trial = await put({ addresses: [at('a')], test: true, leaseUntil: inMs(MINUTE) });
      expect(await owner('a')).toBe(trial.id);
      // The renewal of the one that is displaced takes nothing back.
      await put({ id: production.id, addresses: [at('a')] });
      expect(await owner('a')).toBe(trial.id);
      await records.triggers.remove(trial.id, 'token:n8n');
      expect(await owner('a')).toBe(production.id);
    });

    it('counts a try whose time is over as gone', async () => {
      const production = await put({ addresses: [at('a')] });
      await put({ addresses: [at('a')], test: true, leaseUntil: inMs(-1) });
      expect(await owner('a')).toBe(production.id);
      // A production registration goes only when it is removed: n8n may be away for a while.
      await put({ id: production.id, addresses: [at('a')], leaseUntil: inMs(-1) });
      expect(await owner('a')).toBe(production.id);
    });

    it('gives the address to the file when that declares it, and takes it back afterwards', async () => {
      const { id } = await put({ addresses: [at('a')] });
      await declare('a');
      expect(await owner('a')).toBe('drop');
      await expect(put({ id, addresses: [at('a')] })).rejects.toMatchObject({ code: 'trigger.address_taken' });
      await declare();
      expect(await owner('a')).toBeUndefined();
      await put({ id, addresses: [at('a')] });
      expect(await owner('a')).toBe(id);
    });

    it('keeps when it was made and how far it has seen, whatever is registered again', async () => {
      const first = await put({ kind: 'run' });
      expect(first.seenUntil).toBe(first.createdAt);
      const later = inMs(MINUTE);
      await records.triggers.seen(first.id, later);
      await records.triggers.seen(first.id, first.createdAt);
      expect(await put({ kind: 'run', id: first.id })).toMatchObject({ seenUntil: later, createdAt: first.createdAt });
      await records.triggers.renew(first.id, later);
      expect((await records.triggers.get(first.id))?.leaseUntil).toBe(later);
    });

    it('keeps the first verdict of a message, until it is old', async () => {
      const deliveryKey = uuidv7();
      expect(await records.verdicts.get(deliveryKey)).toBeUndefined();
      const reply = { code: 550, enhanced: '5.7.1', text: 'No' };
      const first = await records.verdicts.put({
        deliveryKey,
        triggerId: 't',
        verdict: { verdict: 'reject', reply },
      });
      expect(first.verdict).toEqual({ verdict: 'reject', reply });
      expect(await records.verdicts.put({ deliveryKey, triggerId: 'u', verdict: { verdict: 'accept' } })).toEqual(
        first,
      );
      expect(await records.verdicts.get(deliveryKey)).toEqual(first);
      expect(await records.verdicts.expire('2000-01-01T00:00:00.000Z')).toBe(0);
      expect(await records.verdicts.expire(inMs(MINUTE))).toBeGreaterThan(0);
      expect(await records.verdicts.get(deliveryKey)).toBeUndefined();
    });

    it('gives the SHA-256 of a token as the key for calls to its owner', async () => {
      const { id, token } = await records.tokens.create('n8n', ['triggers:write']);
      expect(await records.tokens.callbackKey(id)).toEqual(createHash('sha256').update(token).digest());
      expect(await records.tokens.callbackKey('no-id')).toBeUndefined();
    });
  });
}
