/**
 * Messages made to cost more than they are worth: each is answered, and another session goes on meanwhile. The goal is
 * a second; the ceiling here is ten times that, since other tests run beside.
 */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PLAIN_DOMAIN, SIGNED_DOMAIN } from '../../../cli/demo/world.ts';
import { openSmtp } from '../../support/smtp-client.ts';
import { eventually } from '../../support/house.ts';
import { besides, GOOD, OWN_DOMAIN, startReceiver, type Receiver } from '../../support/receiver.ts';

const CEILING_MS = 10_000;
const MiB = 1_048_576;

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  await receiver.send({});
});
afterAll(() => receiver?.close());
afterEach(async () => {
  // Nothing is stuck after any of them, and no half of a message is left.
  expect((await receiver.send({})).data).toMatch(/^250 2\.6\.0 /);
  await eventually(async () => (await receiver.unfinished()).length === 0, 'no unfinished file');
});

const FROM = `From: <sender@${PLAIN_DOMAIN}>\r\n`;
const signature = (i: number, tags = '') =>
  `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=${SIGNED_DOMAIN}; s=demo; h=from; ${tags}bh=AAA${i}; b=AAAA\r\n`;
const many = (count: number, make: (i: number) => string) => Array.from({ length: count }, (_, i) => make(i)).join('');
const lines = (bytes: number) => `${'x'.repeat(76)}\r\n`.repeat(Math.floor(bytes / 78));

describe('a message that would cost a parser seconds is refused', () => {
  it.each<[string, () => string, RegExp, string]>([
    [
      'one field of 128 KB in folds',
      () => `${FROM}X: a\r\n${` ${'x'.repeat(998)}\r\n`.repeat(128)}\r\nHello.\r\n`,
      /^550 5\.6\.0 /,
      'mail.header_field_too_large',
    ],
    [
      'a header of 256 KB',
      () => `${FROM}${many(260, (i) => `X-${i}: ${'x'.repeat(1_000)}\r\n`)}\r\nHello.\r\n`,
      /^552 5\.3\.4 /,
      'mail.header_too_large',
    ],
    [
      'a header of more than 1,000 lines',
      () => `${FROM}${many(1_000, (i) => `X-${i}: x\r\n`)}\r\nHello.\r\n`,
      /^550 5\.6\.0 /,
      'mail.header_lines',
    ],
    [
      'a body of 24 MiB without a line end',
      () => `${FROM}\r\n${'x'.repeat(24 * MiB)}\r\n`,
      /^550 5\.6\.0 /,
      'mail.line_too_long',
    ],
    [
      '5,000 signatures',
      () => `${many(5_000, (i) => signature(i))}${FROM}\r\nHello.\r\n`,
      /^550 5\.7\.1 /,
      'mail.too_many_signatures',
    ],
    [
      'signatures padded with 30,000 blanks',
      () => `${many(7, (i) => signature(i, `x=${' '.repeat(30_000)}y; `))}${FROM}\r\nHello.\r\n`,
      /^550 5\.6\.0 /,
      'mail.header_blanks',
    ],
    [
      'signatures padded with blanks over many folds',
      () => `${many(7, (i) => signature(i, `x=${`${' '.repeat(900)}\r\n`.repeat(20)} y; `))}${FROM}\r\nHello.\r\n`,
      /^550 5\.6\.0 /,
      'mail.header_blanks',
    ],
    [
      '200 signatures, each over another part of 4 MiB',
      () => `${many(200, (i) => signature(i, `l=${i * 20_000}; `))}${FROM}\r\n${lines(4 * MiB)}`,
      /^550 5\.7\.1 /,
      'mail.too_many_signatures',
    ],
    [
      '50,000 Received fields',
      () => `${'Received: from a by b; now\r\n'.repeat(50_000)}${FROM}\r\nHello.\r\n`,
      /^554 5\.4\.6 /,
      'mail.loop',
    ],
  ])('%s', async (name, make, reply, code) => {
    const recipient = `${code}@${OWN_DOMAIN}`;
    const message = make();
    const began = performance.now();
    const { result, bystander } = await besides(receiver, () => receiver.send({ to: [recipient], message }));
    expect(performance.now() - began, name).toBeLessThan(CEILING_MS);
    expect(bystander.worst).toBeLessThan(CEILING_MS);
    expect(bystander.replies.every((one) => one.startsWith('250 '))).toBe(true);
    expect(result.data).toMatch(reply);
    expect((await receiver.records.activity.list({ recipient, limit: 1 }))[0]).toMatchObject({
      outcome: 'rejected',
      errorCode: code,
      blob: null,
    });
  });
});

describe('a message at the limits is taken', () => {
  it.each<[string, () => string]>([
    ['100,000 MIME parts', () => mime(100_000)],
    ['12 MiB of lines that are a dot', () => `${FROM}\r\n${'.\r\n'.repeat(4 * MiB)}`],
    ['12 MiB of empty lines, signed', () => `${signature(1)}${FROM}\r\n${'\r\n'.repeat(6 * MiB)}`],
    ['10 signatures over 4 MiB, each over another part', () => signedParts(10)],
    ['100 Received fields of 2 KB', () => `${`Received: from ${'a'.repeat(2_000)} by b; now\r\n`.repeat(100)}${GOOD}`],
    ['50 ARC sets that hold nothing', () => `${many(50, (i) => arcSet(50 - i))}${GOOD}`],
    ['seven fields of 32 KB in From and others', () => `${FROM}${many(7, (i) => wide(`X-${i}`))}\r\nHello.\r\n`],
    [
      'signatures padded with 30 times 900 blanks',
      () => `${many(7, (i) => signature(i, padded))}${FROM}\r\nHello.\r\n`,
    ],
    ['From with 3,000 comments', () => `From: ${'(a) '.repeat(3_000)}<sender@${PLAIN_DOMAIN}>\r\n\r\nHello.\r\n`],
  ])('%s', async (name, make) => {
    const message = make();
    const began = performance.now();
    const { result, bystander } = await besides(receiver, () => receiver.send({ message }));
    expect(performance.now() - began, name).toBeLessThan(CEILING_MS);
    expect(bystander.worst).toBeLessThan(CEILING_MS);
    expect(bystander.replies.every((one) => one.startsWith('250 '))).toBe(true);
    expect(result.data).toMatch(/^250 2\.6\.0 /);
  });

  const padded = `x=${`${' '.repeat(900)}y`.repeat(30)}; `;
  const mime = (parts: number) =>
    `${FROM}Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\n\r\nx\r\n'.repeat(parts)}--b--\r\n`;
  const signedParts = (count: number) =>
    `${many(count, (i) => signature(i, `l=${(i + 1) * 300_000}; `))}${FROM}\r\n${lines(4 * MiB)}`;
  const arcSet = (i: number) =>
    `ARC-Seal: i=${i}; a=rsa-sha256; cv=${i === 1 ? 'none' : 'pass'}; d=${SIGNED_DOMAIN}; s=demo; b=AAAA\r\n` +
    `ARC-Message-Signature: i=${i}; a=rsa-sha256; d=${SIGNED_DOMAIN}; s=demo; h=from; bh=AAAA; b=AAAA\r\n` +
    `ARC-Authentication-Results: i=${i}; other.test; none\r\n`;
  const wide = (name: string) => `${name}: x\r\n${` ${'x'.repeat(900)}\r\n`.repeat(35)}`;
});

describe('a client that does not keep to the order', () => {
  it('is cut off when a command has no end', async () => {
    const client = await openSmtp(receiver.endpoint);
    client.raw('MAIL FROM:<'.padEnd(20_000, 'x'));
    expect(await client.reply()).toMatch(/^421 /);
    await expect(client.command('NOOP')).rejects.toThrow();
  });

  it('is cut off after ten commands that are none', async () => {
    const client = await openSmtp(receiver.endpoint);
    const replies: string[] = [];
    for (let i = 0; i < 10; i++) replies.push(await client.command(`NONSENSE ${i}`));
    expect(replies.slice(0, 9).every((one) => one.startsWith('500 5.5.2 '))).toBe(true);
    expect(replies[9]).toMatch(/^421 /);
  });

  it.each(['WIZ please', 'SHELL', 'KILL', 'XCLIENT ADDR=192.0.2.1', 'XFORWARD NAME=a', 'AUTH PLAIN AAAA'])(
    'gets nothing for %s',
    async (command) => {
      const client = await openSmtp(receiver.endpoint);
      await client.command('EHLO client.test');
      expect(await client.command(command)).toMatch(/^5\d\d 5\.\d\.\d /);
      client.close();
    },
  );

  it('does not hold others up with 100,000 commands in one packet, and is cut off after 100 without a message', async () => {
    const client = await openSmtp(receiver.endpoint);
    const { bystander } = await besides(receiver, async () => {
      client.raw('NOOP\r\n'.repeat(100_000));
      for (let i = 0; i < 100; i++) expect(await client.reply()).toMatch(/^250 /);
      expect(await client.reply()).toMatch(/^421 4\.7\.0 /);
      await expect(client.reply()).rejects.toThrow();
    });
    expect(bystander.worst).toBeLessThan(CEILING_MS);
  });

  it('is refused when the message comes in one packet with DATA, and nothing of it is taken for a command', async () => {
    const client = await openSmtp(receiver.endpoint, receiver.world.senders.plain.address);
    await client.command(`EHLO ${receiver.world.senders.plain.helo}`);
    const recipient = `early@${OWN_DOMAIN}`;
    client.raw(
      `MAIL FROM:<sender@${PLAIN_DOMAIN}>\r\nRCPT TO:<${recipient}>\r\nDATA\r\n${GOOD}.\r\n` +
        `MAIL FROM:<sender@${PLAIN_DOMAIN}>\r\nRCPT TO:<${recipient}>\r\n`,
    );
    expect(await client.reply()).toMatch(/^250 2\.1\.0 /);
    expect(await client.reply()).toMatch(/^250 2\.1\.5 /);
    expect(await client.reply()).toMatch(/^354 /);
    expect(await client.reply()).toMatch(/^503 5\.5\.1 /);
    await expect(client.reply()).rejects.toThrow();
    expect(await receiver.records.activity.list({ recipient })).toEqual([]);
  });

  it('may send MAIL, RCPT and DATA in one packet (RFC 2920)', async () => {
    const client = await openSmtp(receiver.endpoint, receiver.world.senders.plain.address);
    await client.command(`EHLO ${receiver.world.senders.plain.helo}`);
    client.raw(`MAIL FROM:<sender@${PLAIN_DOMAIN}>\r\nRCPT TO:<someone@${OWN_DOMAIN}>\r\nDATA\r\n`);
    for (const code of ['250', '250', '354']) expect(await client.reply()).toMatch(new RegExp(`^${code} `));
    client.raw(`${GOOD}.\r\n`);
    expect(await client.reply()).toMatch(/^250 2\.6\.0 /);
    client.close();
  });

  it('loses what it sent in one packet with STARTTLS (RFC 3207, 4)', async () => {
    const plain = connectTcp(receiver.endpoint);
    await answerOf(plain);
    plain.write('EHLO client.test\r\n');
    await answerOf(plain);
    plain.write(`STARTTLS\r\nEHLO client.test\r\nMAIL FROM:<sender@${PLAIN_DOMAIN}>\r\n`);
    expect(await answerOf(plain)).toBe('220 2.0.0 Ready to start TLS\r\n');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    await once(secure, 'secureConnect');
    secure.write(`RCPT TO:<someone@${OWN_DOMAIN}>\r\n`);
    expect(await answerOf(secure)).toMatch(/^503 /);
    secure.destroy();
  });
});

const answerOf = async (socket: Socket): Promise<string> => String((await once(socket, 'data'))[0]);
