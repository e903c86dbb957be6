/** The direct lane through real processes, and beside it the same mail as runs: what both leave in the records is the same. */
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Behaviour } from '../../cli/demo/destination.ts';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { eventually, openHouse, simpleMessage, type House } from '../support/house.ts';
import { openSmtp, stuffed } from '../support/smtp-client.ts';

const NOWHERE = 'nowhere.test';
const CASES = ['plain', 'refused', 'refused-late', 'hangs', 'cuts', 'defers'] as const;
/** Its answer to the final dot comes after `sessionWait` and before `finalDotWait`. */
const SLOW = { address: 'slow', answersAfterMs: 4_500 };
let house: House;
let closedPort: number;

beforeAll(async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  closedPort = (probe.address() as AddressInfo).port;
  probe.close();
  const forward = (address: string, to = `${address}@${MAILBOX_DOMAIN}`) => ({ address, forward: [to] });
  house = await openHouse({
    destination: {
      onArrival: async ({ recipients }) => {
        if (recipients.includes(mailbox(SLOW.address))) await sleep(SLOW.answersAfterMs);
      },
    },
    mail: {
      runs: 'deferred',
      sessionWait: '3s',
      finalDotWait: '6s',
      limits: { verification: '2s' },
      retry: { delays: ['1s'], giveUpAfter: '5d' },
      domains: {
        [FORWARD_DOMAIN]: {
          rules: [
            ...CASES.map((name) => forward(name)),
            ...CASES.map((name) => ({ ...forward(`run-${name}`), runs: 'always' as const })),
            { address: 'both', forward: [`plain@${MAILBOX_DOMAIN}`, `other@${MAILBOX_DOMAIN}`] },
            forward('gone', `someone@${NOWHERE}`),
            forward(SLOW.address),
          ],
        },
      },
    },
    outbound: { dataTimeout: '8s', transport: { [NOWHERE]: `127.0.0.1:${closedPort}` } },
  });
});
afterAll(() => house?.close());

const at = (localPart: string) => `${localPart}@${FORWARD_DOMAIN}`;
const mailbox = (localPart: string) => `${localPart}@${MAILBOX_DOMAIN}`;
const arrivals = (localPart: string) =>
  house.destination.received.filter((one) => one.recipients.includes(mailbox(localPart)));
const send = (localPart: string, message = simpleMessage(at(localPart))) =>
  house.send({ to: [at(localPart)], message });
const newest = async (localPart: string): Promise<MailActivity> => {
  const [record] = await house.records.activity.list({ recipient: at(localPart), limit: 1 });
  if (!record) throw new Error(`no record of ${localPart}`);
  return record;
};
const atItsFinalDot = (localPart: string): Promise<MailActivity> =>
  eventually(async () => {
    const [record] = await house.records.activity.list({ recipient: at(localPart), limit: 1 });
    const [row] = record ? await house.records.deliveries.list(record.id) : [];
    return record?.outcome === 'accepted' && row?.state === 'committing' ? record : undefined;
  }, 'an attempt at its final dot');
/** A session that has sent its message, or the beginning of it, and has no answer. */
const begin = async (localPart: string, bytes: Buffer | string) => {
  const { address, helo } = house.world.senders.plain;
  const client = await openSmtp(house.installation.addresses.smtp, address);
  for (const line of [`EHLO ${helo}`, `MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<${at(localPart)}>`, 'DATA'])
    await client.command(line);
  client.raw(bytes);
  return client;
};

describe('both lanes leave the same records', () => {
  const ENDINGS: { name: (typeof CASES)[number]; behaviour: Behaviour; reply: RegExp; outcome: object }[] = [
    {
      name: 'plain',
      behaviour: { does: 'accept' },
      reply: /^250 2\.6\.0 Delivered \(/,
      outcome: { outcome: 'delivered', attempts: 1, resent: false, errorCode: null, reply: null },
    },
    {
      name: 'refused',
      behaviour: { does: 'refuse', reply: '552 5.2.2 Mailbox full, see the help page' },
      reply: /^552 5\.2\.2 Mailbox full, see the help page$/,
      outcome: { outcome: 'refused', attempts: 1, errorCode: 'mail.refused', reply: { code: 552 } },
    },
    {
      name: 'refused-late',
      behaviour: { does: 'refuse', reply: '550 5.7.1 Spam', at: 'data' },
      reply: /^550 5\.7\.1 Spam$/,
      outcome: { outcome: 'refused', attempts: 1, errorCode: 'mail.refused', reply: { code: 550 } },
    },
    {
      name: 'hangs',
      behaviour: { does: 'hang', times: 1 },
      reply: /^250 2\.6\.0 Queued as /,
      outcome: { outcome: 'delivered', attempts: 2, resent: true },
    },
    {
      name: 'cuts',
      behaviour: { does: 'cut', times: 1 },
      reply: /^250 2\.6\.0 Queued as /,
      outcome: { outcome: 'delivered', attempts: 2, resent: true },
    },
  ];

  /** What both lanes must say alike: all but names, times and the run. */
  const told = async (localPart: string) => {
    const record = await house.finalRecord(at(localPart));
    const { id, deliveryKey, receivedAt, messageId, recipient, headerMessageId, subject, blob, ...rest } = record;
    const [delivery, ...others] = await house.records.deliveries.list(id);
    expect(others).toEqual([]);
    const {
      activityId: _id,
      destination,
      updatedAt: _at,
      ...row
    } = delivery ?? { activityId: '', destination: '', updatedAt: '' };
    expect([deliveryKey, receivedAt, messageId, headerMessageId, subject, blob]).not.toContain(null);
    expect([recipient, destination]).toEqual([at(localPart), mailbox(localPart)]);
    return {
      ...rest,
      action: rest.action?.type,
      ruleId: typeof rest.ruleId,
      closedAt: typeof rest.closedAt,
      workflowId: undefined,
      row,
    };
  };

  it.for(ENDINGS)('$name', async ({ name, behaviour, reply, outcome }) => {
    for (const localPart of [name, `run-${name}`]) house.destination.behave(mailbox(localPart), behaviour);
    expect((await send(name)).data).toMatch(reply);
    expect((await send(`run-${name}`)).data).toMatch(reply);
    const [direct, run] = [await told(name), await told(`run-${name}`)];
    expect(direct).toMatchObject(outcome);
    expect(direct).toEqual(run);
    const queued = reply.source.includes('Queued');
    expect((await newest(name)).workflowId === null).toBe(!queued);
    expect((await newest(`run-${name}`)).workflowId).toMatch(/^mail\//);
    expect(arrivals(name).length).toBe(arrivals(`run-${name}`).length);
  });
});

describe('a message in the direct lane', () => {
  it('arrives sealed, signed and with a rewritten envelope sender, as over a run', async () => {
    await send('plain');
    const arrival = arrivals('plain').at(-1);
    expect(arrival?.sender).toMatch(new RegExp(`^SRS0=[^=]{8,}=..=${PLAIN_DOMAIN}=sender@${FORWARD_DOMAIN}$`));
    expect(arrival?.verdicts).toMatchObject({
      spf: { result: 'pass', domain: FORWARD_DOMAIN },
      arc: { result: 'pass', instance: 1 },
      dkim: [{ domain: FORWARD_DOMAIN, result: 'pass' }],
    });
    const raw = arrival?.raw.toString() ?? '';
    expect(raw).toMatch(/^ARC-Seal: i=1;/);
    expect(raw).toContain('Authentication-Results: mx.forward.test;');
    expect(raw).toMatch(/\r\nReceived: from mail\.plain\.test[^]*for <plain@forward\.test>/);
  });

  it('needs no Temporal', async () => {
    const temporal = house.installation.processes.find((one) => one.name === 'temporal');
    process.kill(temporal?.pid ?? 0, 'SIGSTOP');
    try {
      expect((await send('plain')).data).toMatch(/^250 .*Delivered/);
    } finally {
      process.kill(temporal?.pid ?? 0, 'SIGCONT');
    }
  });

  it('is passed through the store when it is large', async () => {
    const body = `${'Grüße über alles. '.repeat(40)}\r\n`.repeat(1_500);
    const message = `${simpleMessage(at('plain'))}${body}`;
    expect((await send('plain', message)).data).toMatch(/^250 .*Delivered/);
    const arrival = arrivals('plain').at(-1);
    expect(arrival?.raw.toString()).toContain(body);
    expect(arrival?.verdicts?.arc).toEqual({ result: 'pass', instance: 1 });
  });

  it('goes out once when it comes again, and when it comes in several sessions at once', async () => {
    const message = simpleMessage(at('plain'));
    const before = arrivals('plain').length;
    const replies = await Promise.all([1, 2, 3].map(() => send('plain', message)));
    replies.push(await send('plain', message));
    for (const { data } of replies) expect(data).toMatch(/^250 /);
    expect(arrivals('plain').length).toBe(before + 1);
  });

  it('is told the refusal again, and nobody is asked twice', async () => {
    house.destination.behave(mailbox('refused'), { does: 'refuse', reply: '550 5.1.1 Gone' });
    const message = simpleMessage(at('refused'));
    expect((await send('refused', message)).data).toBe('550 5.1.1 Gone');
    expect((await send('refused', message)).data).toBe('550 5.1.1 Gone');
    expect(house.destination.attempts(mailbox('refused'))).toBe(1);
  });

  it('stays with its sender while the destination says later, and goes out once it says yes', async () => {
    house.destination.behave(mailbox('defers'), { does: 'defer', times: 2, reply: '451 4.7.1 Greylisted' });
    const message = simpleMessage(at('defers'));
    for (let i = 0; i < 2; i += 1) expect((await send('defers', message)).data).toBe('451 4.7.1 Greylisted');
    expect(await newest('defers')).toMatchObject({
      outcome: 'failed',
      errorCode: 'mail.deferred',
      reply: { code: 451, enhanced: '4.7.1', text: 'Greylisted' },
      workflowId: null,
    });
    expect((await send('defers', message)).data).toMatch(/^250 .*Delivered/);
    expect(await newest('defers')).toMatchObject({ outcome: 'delivered', resent: false });
    expect(arrivals('defers')).toHaveLength(1);
    expect(await house.records.activity.list({ recipient: at('defers') })).toHaveLength(1);
  });

  it('stays with its sender when nobody can be reached', async () => {
    expect((await send('gone')).data).toBe('451 4.4.1 The next mail host cannot be reached now, please try again');
    expect(await newest('gone')).toMatchObject({ outcome: 'failed', errorCode: 'mail.connection_failed' });
  });

  it('becomes runs when it has two destinations, or two recipients', async () => {
    expect((await send('both')).data).toMatch(/^250 /);
    expect((await newest('both')).workflowId).toMatch(/^mail\//);
    expect((await house.send({ to: [at('plain'), at('defers')] })).data).toMatch(/^250 /);
    expect((await newest('plain')).workflowId).toMatch(/^mail\//);
  });

  it('comes back by its SRS address, in the same lane', async () => {
    await send('plain');
    const srs = arrivals('plain').at(-1)?.sender ?? '';
    const { senders } = house.world;
    const bounce = [
      'From: MAILER-DAEMON@mailbox.test',
      `To: ${srs}`,
      'Subject: Undelivered',
      'Message-ID: <d1@mailbox.test>',
      '',
      'Sorry.',
      '',
    ].join('\r\n');
    const { data } = await house.send({ from: '', to: [srs], ...sourceOf(senders.mailbox), message: bounce });
    expect(data).toMatch(/^250 .*Delivered/);
    const [record] = await house.records.activity.list({ recipient: srs });
    expect(record).toMatchObject({ outcome: 'delivered', workflowId: null, ruleId: null });
  });

  it.each(['plain', 'run-plain'])('with a sender of 253 octets goes out and comes back, from %s', async (localPart) => {
    const domain = `${'d'.repeat(63)}.${'e'.repeat(63)}.${'f'.repeat(48)}.${PLAIN_DOMAIN}`;
    const from = `${'a'.repeat(64)}@${domain}`.slice(-253);
    house.dns.set(domain, [`TXT v=spf1 ip4:${house.world.senders.plain.address} -all`]);
    house.destination.behave(from, { does: 'accept' });
    const { data } = await house.send({ to: [at(localPart)], from });
    expect(data).toMatch(/^250 .*Delivered/);
    const srs = arrivals(localPart).at(-1)?.sender ?? '';
    // RFC 5321, 4.5.3.1.3.
    expect(Buffer.byteLength(`<${srs}>`)).toBeLessThanOrEqual(256);
    expect(srs).toMatch(/^SRS0=.*@forward\.test$/);
    const answer = simpleMessage(srs, 'Undelivered');
    await house.send({ from: '', to: [srs], ...sourceOf(house.world.senders.mailbox), message: answer });
    const record = await house.finalRecord(srs);
    expect(record).toMatchObject({ ruleId: null, action: { type: 'forward', destinations: [from] } });
    const forged = srs.replace(/[0-9a-f](?=@)/, (digit) => (digit === '0' ? '1' : '0'));
    expect((await house.send({ from: '', to: [forged] })).rcpt).toEqual([expect.stringMatching(/^550 5\.1\.1 /)]);
  });

  it('is refused by the policy as in a run, and nothing of it is stored', async () => {
    const { data } = await house.send({ to: [at('plain')], ...sourceOf(house.world.senders.forger) });
    expect(data).toMatch(/^550 5\.7\.26 /);
    expect(await newest('plain')).toMatchObject({ outcome: 'rejected', blob: null });
  });

  it('whose process died at the final dot is sent again and marked when its sender comes again', async () => {
    house.destination.behave(mailbox('hangs'), { does: 'hang', times: 1 });
    const message = simpleMessage(at('hangs'));
    const first = send('hangs', message).catch(() => undefined);
    const committing = await atItsFinalDot('hangs');
    expect(committing).toMatchObject({ workflowId: null, attempts: 1 });
    const smtp = house.installation.processes.find((one) => one.name === 'smtp');
    process.kill(smtp?.pid ?? 0, 'SIGKILL');
    expect(await first).toBeUndefined();
    const again = await eventually(async () => {
      const { data } = (await send('hangs', message).catch(() => undefined)) ?? {};
      return data?.startsWith('250') ? data : undefined;
    }, 'a 250');
    expect(again).toMatch(/^250 .*Delivered/);
    expect(await newest('hangs')).toMatchObject({ id: committing.id, outcome: 'delivered', attempts: 2, resent: true });
  });
});

describe('a destination that has the message and takes longer than sessionWait', () => {
  it('is waited for: the message goes out once, and its 250 goes to the sender', async () => {
    const before = arrivals('slow').length;
    expect((await send('slow')).data).toMatch(/^250 2\.6\.0 Delivered \(/);
    const record = await newest('slow');
    expect(record).toMatchObject({ outcome: 'delivered', attempts: 1, resent: false, workflowId: null });
    expect(arrivals('slow').length).toBe(before + 1);
  });

  it('is waited for when the sender hangs up, who hears of it on coming again', async () => {
    const before = arrivals('slow').length;
    const message = simpleMessage(at('slow'));
    const client = await begin('slow', stuffed(message));
    const { id } = await atItsFinalDot('slow');
    client.close();
    const again = await Promise.all([send('slow', message), send('slow', message)]);
    for (const { data } of again) expect(data).toMatch(/^250 2\.6\.0 Delivered \(/);
    expect(await newest('slow')).toMatchObject({ id, outcome: 'delivered', resent: false, workflowId: null });
    expect((await send('slow', message)).data).toMatch(/^250 2\.6\.0 Delivered \(/);
    expect(arrivals('slow').length).toBe(before + 1);
  });

  it('and never answers gets it again, marked, though the sender has hung up', async () => {
    const before = arrivals('hangs').length;
    house.destination.behave(mailbox('hangs'), { does: 'hang', times: 1 });
    const message = simpleMessage(at('hangs'));
    const client = await begin('hangs', stuffed(message));
    const { id } = await atItsFinalDot('hangs');
    client.close();
    const record = await house.finalRecord(at('hangs'));
    expect(record).toMatchObject({ id, outcome: 'delivered', attempts: 2, resent: true });
    expect((await send('hangs', message)).data).toMatch(/^250 /);
    expect(arrivals('hangs').length).toBe(before + 1);
  });
});

it('a message that comes slowly was received when all of it was here: nobody takes its session for dead', async () => {
  const [head = '', body = ''] = simpleMessage(at('plain')).split(/(?<=\r\n\r\n)/);
  const client = await begin('plain', head);
  await send('both');
  const before = Date.now();
  client.raw(stuffed(body));
  expect(await client.reply()).toMatch(/^250 .*Delivered/);
  client.close();
  expect(Date.parse((await newest('plain')).receivedAt)).toBeGreaterThanOrEqual(before);
});

it('a delivery whose client has hung up becomes a run when the process is stopped', { timeout: 120_000 }, async () => {
  const before = arrivals('hangs').length;
  house.destination.behave(mailbox('hangs'), { does: 'hang', times: 1 });
  const client = await begin('hangs', stuffed(simpleMessage(at('hangs'))));
  const { id } = await atItsFinalDot('hangs');
  client.close();
  const smtp = house.installation.processes.find((one) => one.name === 'smtp');
  process.kill(smtp?.pid ?? 0, 'SIGTERM');
  // Left to itself it would be found by a sweep, minutes later.
  const record = await house.finalRecord(at('hangs'));
  expect(record).toMatchObject({ id, outcome: 'delivered', attempts: 2, resent: true });
  expect(record.workflowId).toMatch(/^mail\//);
  expect(arrivals('hangs').length).toBe(before + 1);
});

const sourceOf = ({ address, helo }: { address: string; helo: string }) => ({ source: address, helo });
