/** Registrations heal and go by themselves: real processes, n8n over the wire, leases of seconds. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, simpleMessage } from '../support/house.ts';
import { BOOTING, isSignedWith, verdict } from '../support/fake-n8n.ts';
import { wanted } from '../stores/contract/triggers.ts';
import { openTriggerHouse, type TriggerHouse } from './house.ts';

let world: TriggerHouse;
beforeAll(async () => {
  world = await openTriggerHouse({ triggers: { lease: '1s', forgetAfter: '20s' } });
});
afterAll(() => world?.close());

const send = (to: string) => world.house.send({ to: [to], message: simpleMessage(to) });
const isThere = async (id: string) => (await world.call('GET', `/v1/triggers/${id}`)).status === 200;

describe('a registration whose lease is over', () => {
  it('is asked, signed, and stays while its webhook answers', async () => {
    const { id, address, path } = await world.mailTrigger('stays');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    const before = (await world.house.records.triggers.get(id))?.leaseUntil ?? '';
    await eventually(
      async () => ((await world.house.records.triggers.get(id))?.leaseUntil ?? '') > before,
      'a longer lease',
    );
    const [ping] = world.n8n.pings(path);
    expect(ping && isSignedWith(world.token, ping)).toBe(true);
    expect((await send(address)).data).toMatch(/^250 /);
    await world.call('DELETE', `/v1/triggers/${id}`);
  });

  it('goes when n8n no longer knows its webhook, and its addresses with it', async () => {
    const { id, address } = await world.mailTrigger('forgotten');
    await eventually(async () => !(await isThere(id)), 'the removal');
    expect((await send(address)).rcpt[0]).toMatch(/^550 5\.1\.1 /);
    const [rule, trigger] = (await world.house.records.audit.list({ limit: 500 })).filter(
      ({ subject }) => subject === address || subject === id,
    );
    expect([rule?.action, trigger?.action, trigger?.actor].sort()).toEqual([
      'lease',
      'rule.removed',
      'trigger.removed',
    ]);
  });

  it('stays while n8n starts, which answers 404 with a page', async () => {
    const { id } = await world.mailTrigger('starting', { callbackUrl: world.n8n.url(BOOTING) });
    await eventually(() => world.n8n.pings(BOOTING).length >= 2, 'two questions');
    expect(await isThere(id)).toBe(true);
    await world.call('DELETE', `/v1/triggers/${id}`);
  });

  it('stays while n8n is away for a while, and heals without a click', async () => {
    const { id, address, path } = await world.mailTrigger('heals');
    world.n8n.on(path, () => verdict({ verdict: 'accept' }));
    await world.n8n.goAway();
    const over = Date.parse((await world.house.records.triggers.get(id))?.leaseUntil ?? '') + 6_000;
    await eventually(() => Date.now() > over, 'some time');
    expect((await send(address)).data).toMatch(/^451 /);
    await world.n8n.comeBack();
    expect((await send(address)).data).toMatch(/^250 /);
    await eventually(async () => {
      const trigger = await world.house.records.triggers.get(id);
      return trigger && Date.parse(trigger.leaseUntil) > over;
    }, 'a longer lease');
    await world.call('DELETE', `/v1/triggers/${id}`);
  });

  it('goes when n8n is not reached for too long', async () => {
    const { id, address } = await world.mailTrigger('lost');
    await world.n8n.goAway();
    try {
      await eventually(async () => !(await isThere(id)), 'the removal', 90_000);
      expect((await send(address)).rcpt[0]).toMatch(/^550 5\.1\.1 /);
    } finally {
      await world.n8n.comeBack();
    }
  });
});

describe('a try in the editor', () => {
  it('has the mail of the workflow in production until it ends', async () => {
    const production = await world.mailTrigger('tried');
    const trial = { path: '/webhook-test/tried' };
    world.n8n.on(production.path, () => verdict({ verdict: 'accept' }));
    world.n8n.on(trial.path, () => verdict({ verdict: 'reject', text: 'A try' }));
    const registered = await world.call('PUT', `/v1/triggers/${production.id}:test`, {
      kind: 'mail',
      name: 'tried',
      callbackUrl: world.n8n.url(trial.path),
      addresses: [production.address],
      answer: 'verdict',
      test: true,
    });
    expect(registered.status).toBe(200);
    expect((await send(production.address)).data).toBe('550 5.7.1 A try');
    await world.call('DELETE', `/v1/triggers/${production.id}:test`);
    expect((await send(production.address)).data).toMatch(/^250 /);
    await world.call('DELETE', `/v1/triggers/${production.id}`);
  });

  it('ends by its time alone, when n8n says nothing', async () => {
    const production = await world.mailTrigger('timed');
    world.n8n.on(production.path, () => verdict({ verdict: 'accept' }));
    // Its webhook still answers: that is no reason to keep it.
    world.n8n.on('/webhook-test/timed', () => verdict({ verdict: 'accept' }));
    // As it is registered over HTTP, but for the three minutes.
    await world.house.records.triggers.put(
      wanted({
        id: 'timed:test',
        tokenId: (await world.house.records.triggers.get(production.id))?.tokenId ?? '',
        addresses: [production.address],
        test: true,
        callbackUrl: world.n8n.url('/webhook-test/timed'),
        leaseUntil: new Date(Date.now() + 1_000).toISOString(),
      }),
      'token:test',
    );
    const owner = async () => (await world.house.records.rules.find('forward.test', 'timed'))?.action;
    expect(await owner()).toMatchObject({ trigger: 'timed:test' });
    await eventually(async () => (await owner())?.type === 'trigger' && !(await isThere('timed:test')), 'the end');
    expect(await owner()).toMatchObject({ trigger: production.id });
    expect((await send(production.address)).data).toMatch(/^250 /);
  });
});
