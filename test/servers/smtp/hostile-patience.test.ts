/** Clients that hold a session and bring no mail, with limits that a test can wait for. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PLAIN_DOMAIN } from '../../../cli/demo/world.ts';
import { sessions } from '../../../servers/smtp/metrics.ts';
import { eventually } from '../../support/house.ts';
import { GOOD, OWN_DOMAIN, startReceiver, type Receiver } from '../../support/receiver.ts';
import { openSmtp, type SmtpClient } from '../../support/smtp-client.ts';

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver({ mail: { limits: { idle: '2s', commands: 20, connectionsPerAddress: 5 } } });
});
afterAll(() => receiver?.close());

const recipient = `slow@${OWN_DOMAIN}`;

async function inData(): Promise<SmtpClient> {
  const { address, helo } = receiver.world.senders.plain;
  const client = await openSmtp(receiver.endpoint, address);
  for (const line of [`EHLO ${helo}`, `MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<${recipient}>`, 'DATA'])
    await client.command(line);
  return client;
}
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The answer, while `bytes` go out every 200 ms. */
async function dripping(client: SmtpClient, bytes: string, times: number): Promise<string> {
  let answered = false;
  const answer = client.reply().finally(() => (answered = true));
  for (let i = 0; i < times && !answered; i++) {
    client.raw(bytes);
    await pause(200);
  }
  if (!answered) client.raw('.\r\n');
  return answer;
}

describe('a message that drips', () => {
  it('is cut off though it is never silent, and leaves nothing', async () => {
    const client = await inData();
    client.raw(GOOD);
    expect(await dripping(client, 'x\r\n', 100)).toMatch(/^421 4\.4\.2 Less than 500 bytes a second/);
    client.close();
    await eventually(async () => (await receiver.unfinished()).length === 0, 'no unfinished file');
    expect(await receiver.records.activity.list({ recipient })).toEqual([]);
    await eventually(async () => (await sessions.get()).values[0]?.value === 0, 'no open session');
  });

  it('is taken when it is slow but comes', async () => {
    const client = await inData();
    client.raw(GOOD);
    expect(await dripping(client, `${'x'.repeat(500)}\r\n`, 25)).toMatch(/^250 2\.6\.0 /);
    client.close();
  });
});

it('a silent session is closed', async () => {
  const client = await openSmtp(receiver.endpoint);
  expect(await client.reply()).toMatch(/^421 4\.4\.2 /);
});

describe('a session of commands without a message', () => {
  it('is closed after the limit, with the recipients left out of it', async () => {
    const { address, helo } = receiver.world.senders.plain;
    const client = await openSmtp(receiver.endpoint, address);
    await client.command(`EHLO ${helo}`);
    for (let i = 0; i < 9; i++) {
      expect(await client.command(`MAIL FROM:<sender@${PLAIN_DOMAIN}>`)).toMatch(/^250 /);
      for (let j = 0; j < 5; j++) expect(await client.command(`RCPT TO:<${j}@${OWN_DOMAIN}>`)).toMatch(/^250 /);
      expect(await client.command('RSET')).toMatch(/^250 /);
    }
    expect(await client.command('NOOP')).toMatch(/^250 /);
    expect(await client.command('NOOP')).toMatch(/^421 4\.7\.0 /);
  });

  it('is told from one that sends messages', async () => {
    const { address, helo } = receiver.world.senders.plain;
    const client = await openSmtp(receiver.endpoint, address);
    await client.command(`EHLO ${helo}`);
    for (let i = 0; i < 15; i++) {
      for (const line of [`MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<many@${OWN_DOMAIN}>`, 'DATA'])
        await client.command(line);
      client.raw(`${GOOD}.\r\n`);
      expect(await client.reply()).toMatch(/^250 2\.6\.0 /);
      expect(await client.command('RSET')).toMatch(/^250 /);
    }
    client.close();
  });
});

it('one address never has all sessions', async () => {
  const clients = await Promise.all(Array.from({ length: 5 }, () => openSmtp(receiver.endpoint)));
  expect((await openSmtp(receiver.endpoint)).greeting).toMatch(/^421 4\.7\.0 Too many connections from 127\.0\.0\.1/);
  expect((await receiver.send({})).data).toMatch(/^250 /);
  for (const client of clients) client.close();
});
