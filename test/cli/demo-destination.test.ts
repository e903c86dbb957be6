import { afterEach, describe, expect, it } from 'vitest';
import { startDestination, type Destination, type DestinationOptions } from '../../cli/demo/destination.ts';
import { startDnsServer, type DnsServer } from '../../cli/demo/dns-server.ts';
import { compose, EIGHT_BIT, signed } from '../../cli/demo/messages.ts';
import { submit, type Submission } from '../../cli/demo/send.ts';
import { createWorld, SIGNED_DOMAIN, type World } from '../../cli/demo/world.ts';

let destination: Destination | undefined;
let names: DnsServer | undefined;
afterEach(async () => {
  await destination?.close();
  await names?.close();
});

async function start(options: DestinationOptions = {}): Promise<{ destination: Destination; world: World }> {
  const world = await createWorld();
  names = await startDnsServer(world.zones);
  destination = await startDestination({ ...options, dns: names.address });
  return { destination, world };
}

function letter(world: World, to: string, more: Partial<Submission> = {}): Submission {
  const from = `alice@${SIGNED_DOMAIN}`;
  return { sender: world.senders.signed, from, to: [to], message: compose({ from, to, subject: 'Hello' }), ...more };
}

describe('the demo destination', () => {
  it('keeps what it takes byte for byte, with what verification found', async () => {
    const { destination, world } = await start();
    const message = await signed(
      compose({ from: `alice@${SIGNED_DOMAIN}`, to: 'b@mailbox.test', subject: 'Hi', ...EIGHT_BIT }),
      world.keys.signed,
    );
    const told = await submit(destination, letter(world, 'b@mailbox.test', { message, eightBit: true }));
    expect(told.code).toBe(250);
    const [arrival] = destination.received;
    expect(arrival?.raw.equals(message)).toBe(true);
    expect(arrival).toMatchObject({
      sender: `alice@${SIGNED_DOMAIN}`,
      recipients: ['b@mailbox.test'],
      tls: true,
      eightBit: true,
    });
    expect(arrival?.verdicts).toMatchObject({
      spf: { result: 'pass', domain: SIGNED_DOMAIN },
      dkim: [{ domain: SIGNED_DOMAIN, result: 'pass' }],
      arc: { result: 'none' },
      dmarc: { result: 'pass' },
    });
  });

  it('sees a change of one byte and a sender from elsewhere', async () => {
    const { destination, world } = await start();
    const good = await signed(
      compose({ from: `alice@${SIGNED_DOMAIN}`, to: 'b@mailbox.test', subject: 'Hi' }),
      world.keys.signed,
    );
    const changed = Buffer.from(good.toString('latin1').replace('this is a test', 'this is a tesT'), 'latin1');
    await submit(destination, letter(world, 'b@mailbox.test', { message: changed, sender: world.senders.forger }));
    const [arrival] = destination.received;
    expect(arrival?.verdicts).toMatchObject({
      spf: { result: 'fail' },
      dkim: [{ result: 'fail' }],
      dmarc: { result: 'fail', policy: 'reject' },
    });
  });

  it('defers as often as asked, then goes on', async () => {
    const { destination, world } = await start({
      recipients: {
        'late@mailbox.test': { does: 'defer', times: 2 },
        'never@mailbox.test': { does: 'defer', times: 1, at: 'data', then: { does: 'refuse', reply: '550 5.7.1 No' } },
      },
    });
    const codes = [];
    for (let attempt = 1; attempt <= 3; attempt++)
      codes.push((await submit(destination, letter(world, 'late@mailbox.test'))).code);
    expect(codes).toEqual([451, 451, 250]);
    expect((await submit(destination, letter(world, 'never@mailbox.test'))).code).toBe(451);
    expect((await submit(destination, letter(world, 'Never@mailbox.test'))).reply).toBe('550 5.7.1 No');
    expect(destination.received).toHaveLength(1);
    expect(destination.attempts('late@mailbox.test')).toBe(3);
  });

  it('refuses one of two recipients and takes the message for the other', async () => {
    const { destination, world } = await start({ recipients: { 'gone@mailbox.test': { does: 'refuse' } } });
    const told = await submit(destination, letter(world, '', { to: ['here@mailbox.test', 'gone@mailbox.test'] }));
    expect(told).toMatchObject({ code: 250, refused: { 'gone@mailbox.test': expect.stringMatching(/^550 5\.1\.1/) } });
    expect(destination.received[0]?.recipients).toEqual(['here@mailbox.test']);
  });

  it('cuts the connection after the final dot, having taken the message', async () => {
    const { destination, world } = await start({ recipients: { 'cut@mailbox.test': { does: 'cut', times: 1 } } });
    await expect(submit(destination, letter(world, 'cut@mailbox.test'))).rejects.toThrow();
    expect(destination.received).toHaveLength(1);
    expect((await submit(destination, letter(world, 'cut@mailbox.test'))).code).toBe(250);
    expect(destination.received).toHaveLength(2);
  });

  it('takes UTF-8 addresses (RFC 6531) and the null sender', async () => {
    const { destination, world } = await start();
    await submit(destination, letter(world, '用户@mailbox.test', { from: '' }));
    expect(destination.received[0]).toMatchObject({ sender: '', recipients: ['用户@mailbox.test'], utf8: true });
  });

  it('closes although a session hangs', async () => {
    const { destination, world } = await start({ recipients: { 'hang@mailbox.test': { does: 'hang' } } });
    const submission = submit(destination, letter(world, 'hang@mailbox.test')).catch((error: Error) => error.message);
    await expect.poll(() => destination.attempts('hang@mailbox.test')).toBe(1);
    await destination.close();
    expect(await submission).toBeDefined();
    expect(destination.received).toEqual([]);
  });
});
