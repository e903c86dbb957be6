/** Messages and commands made to be read differently by two programs: what the sender is told, and what is kept of them. */
import mailauth from 'mailauth';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BANK_DOMAIN, PLAIN_DOMAIN, SIGNED_DOMAIN } from '../../../cli/demo/world.ts';
import { sessions } from '../../../servers/smtp/metrics.ts';
import { sharedJson } from '../../protocols/shared-data.ts';
import { GOOD, OWN_DOMAIN, OWN_HOST, startReceiver, type Receiver } from '../../support/receiver.ts';
import { eventually } from '../../support/house.ts';
import { openSmtp, type SmtpClient } from '../../support/smtp-client.ts';

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(() => receiver?.close());
afterEach(async () => {
  // Nothing is stuck after any of them, and no half of a message is left.
  expect((await receiver.send({})).data).toMatch(/^250 2\.6\.0 /);
  await eventually(async () => (await receiver.unfinished()).length === 0, 'no unfinished file');
  await eventually(async () => (await sessions.get()).values[0]?.value === 0, 'no open session');
});

const BODY = 'Hello.\r\n';
const FROM = `From: <sender@${PLAIN_DOMAIN}>\r\n`;
const plain = () => receiver.world.senders.plain;
const newest = async (recipient: string) => (await receiver.records.activity.list({ recipient, limit: 1 }))[0];

/** A session that has said EHLO. */
async function session(): Promise<SmtpClient> {
  const client = await openSmtp(receiver.endpoint, plain().address);
  await client.command(`EHLO ${plain().helo}`);
  return client;
}

describe('the 14 end-of-data sequences of the smuggling scanners', () => {
  const sequences =
    sharedJson<{ sequences: Record<string, number[]> }>('mail/smtp-smuggling/sequences.json')?.sequences ?? {};
  const SECOND = `MAIL FROM:<admin@${BANK_DOMAIN}>\r\nRCPT TO:<victim@${OWN_DOMAIN}>\r\nDATA\r\n${GOOD}.\r\n`;

  it.skipIf(Object.keys(sequences).length === 0)('are fourteen', () => expect(Object.keys(sequences)).toHaveLength(14));

  it.each(Object.entries(sequences).filter(([name]) => !name.startsWith('control')))(
    '%s lets nothing in, neither the message nor the one inside',
    async (name, bytes) => {
      const client = await session();
      for (const line of [`MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<outer@${OWN_DOMAIN}>`, 'DATA'])
        await client.command(line);
      client.raw(Buffer.concat([Buffer.from(`${FROM}\r\nbody`), Buffer.from(bytes), Buffer.from(SECOND)]));
      expect(await client.reply()).toMatch(name.includes('NUL') ? /^550 5\.6\.0 / : /^550 5\.5\.2 /);
      // One answer and no more: the session is where it should be.
      expect(await client.command('NOOP')).toMatch(/^250 2\.0\.0 /);
      client.close();
      expect(await newest(`outer@${OWN_DOMAIN}`)).toMatchObject({ outcome: 'rejected', blob: null });
      expect(await newest(`victim@${OWN_DOMAIN}`)).toBeUndefined();
    },
  );

  it.skipIf(Object.keys(sequences).length === 0)('the control, CRLF.CRLF, ends the message', async () => {
    const client = await session();
    for (const line of [`MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<control@${OWN_DOMAIN}>`, 'DATA'])
      await client.command(line);
    client.raw(`${FROM}\r\nbody\r\n.\r\n`);
    expect(await client.reply()).toMatch(/^250 2\.6\.0 /);
    client.close();
  });
});

describe('a NUL', () => {
  it.each([
    ['the header', `${FROM}Subject: a\0b\r\n\r\n${BODY}`],
    ['the author', `From: <ceo@${BANK_DOMAIN}\0.evil.test>\r\n\r\n${BODY}`],
    ['the body', `${FROM}\r\na\0b\r\n`],
    ['the last byte', `${FROM}\r\n${BODY}\0`],
  ])('in %s is refused', async (_where, message) => {
    expect((await receiver.send({ message })).data).toMatch(/^550 5\.6\.0 The message has a NUL byte in it/);
  });

  it.each([
    ['EHLO', 'EHLO mail\0.test'],
    ['MAIL', `MAIL FROM:<a\0b@${PLAIN_DOMAIN}>`],
    ['a parameter of MAIL', `MAIL FROM:<a@${PLAIN_DOMAIN}> BODY=8BIT\0MIME`],
    ['RCPT', `RCPT TO:<a\0b@${OWN_DOMAIN}>`],
    ['the verb', 'NO\0OP'],
  ])('in %s is refused, and the session goes on', async (_where, command) => {
    const client = await session();
    if (command.startsWith('RCPT')) await client.command(`MAIL FROM:<sender@${PLAIN_DOMAIN}>`);
    expect(await client.command(command)).toMatch(/^5\d\d /);
    expect(await client.command('NOOP')).toMatch(/^250 /);
    client.close();
  });
});

describe('a message whose author cannot be told', () => {
  it.each([
    ['two From fields', `${FROM}From: <ceo@${BANK_DOMAIN}>\r\n\r\n${BODY}`],
    ['two equal From fields', `${FROM}${FROM}\r\n${BODY}`],
    ['two authors of two domains', `From: <sender@${PLAIN_DOMAIN}>, <ceo@${BANK_DOMAIN}>\r\n\r\n${BODY}`],
    ['no From field', `Subject: a\r\n\r\n${BODY}`],
    ['an empty From field', `From: \r\n\r\n${BODY}`],
    ['an author without a domain', `From: ceo\r\n\r\n${BODY}`],
    ['an address with two domains', `From: <sender@${PLAIN_DOMAIN}@${BANK_DOMAIN}>\r\n\r\n${BODY}`],
    ['a second author in a group', `From: <sender@${PLAIN_DOMAIN}>, staff: <ceo@${BANK_DOMAIN}>;\r\n\r\n${BODY}`],
    ['a From field with a blank before the colon beside another', `${FROM}From : <ceo@${BANK_DOMAIN}>\r\n\r\n${BODY}`],
  ])('is refused: %s', async (_what, message) => {
    const to = [`author@${OWN_DOMAIN}`];
    const { data } = await receiver.send({ to, message });
    expect(data).toMatch(/^550 5\.6\.0 The author of the message cannot be told/);
    expect(await newest(`author@${OWN_DOMAIN}`)).toMatchObject({ outcome: 'rejected', errorCode: 'mail.author' });
  });
});

it('a signature with l= vouches for nobody once something is appended', async () => {
  const { domain, selector, privateKey } = receiver.world.keys.signed;
  const original = Buffer.from(`From: <alice@${SIGNED_DOMAIN}>\r\n\r\n${BODY}`);
  const { signatures } = await mailauth.dkimSign(original, {
    signingDomain: domain,
    selector,
    privateKey,
    signatureData: [{ signingDomain: domain, selector, privateKey, maxBodyLength: BODY.length }],
  });
  const envelope = { from: `sender@${PLAIN_DOMAIN}`, to: [`appended@${OWN_DOMAIN}`] };
  const signed = `${signatures}${original.toString()}`;
  expect((await receiver.send({ ...envelope, message: signed })).data).toMatch(/^250 /);
  const { data } = await receiver.send({ ...envelope, message: `${signed}Buy this instead.\r\n` });
  expect(data).toMatch(/^550 5\.7\.1 The message fails DMARC and signed\.test asks/);
  const record = await newest(`appended@${OWN_DOMAIN}`);
  expect(record?.authentication?.dkim).toMatchObject([{ result: 'pass', aligned: false }]);
  expect(record?.authentication?.authenticationResults).not.toMatch(/dmarc=pass/);
});

describe('a message that goes in a circle', () => {
  const recipient = `circle@${OWN_DOMAIN}`;
  const many = (count: number, make: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => make(i)).join('');
  it.each([
    [
      'our own Received for the recipient',
      `Received: from a.test by ${OWN_HOST} with ESMTP id x\r\n for <${recipient}>; now\r\n`,
    ],
    ['Delivered-To with the recipient', `Delivered-To: ${recipient.toUpperCase()}\r\n`],
    ['101 Received fields', many(101, () => 'Received: from a.test by b.test; now\r\n')],
    ['51 ARC seals', many(51, (i) => `ARC-Seal: i=${51 - i}; a=rsa-sha256; cv=pass; d=a.test; s=s; b=AAAA\r\n`)],
  ])('is refused: %s', async (_what, trace) => {
    const { data } = await receiver.send({ to: [recipient], message: `${trace}${GOOD}` });
    expect(data).toMatch(/^554 5\.4\.6 /);
    expect(await newest(recipient)).toMatchObject({ outcome: 'rejected', errorCode: 'mail.loop', blob: null });
  });

  it('is told from one that was here for another recipient, or passed 100 hosts', async () => {
    const message = `Received: from a.test by ${OWN_HOST} with ESMTP id x\r\n for <other@${OWN_DOMAIN}>; now\r\n${GOOD}`;
    expect((await receiver.send({ to: [recipient], message })).data).toMatch(/^250 /);
    const far = `${many(100, () => 'Received: from a.test by b.test; now\r\n')}${GOOD}`;
    expect((await receiver.send({ to: [recipient], message: far })).data).toMatch(/^250 /);
  });

  it('is told from one with an ARC instance over 50 alone, whose chain has failed', async () => {
    const arc = ['ARC-Seal: i=51; a=rsa-sha256; cv=pass; d=a.test; s=s; b=AAAA\r\n'];
    const { data } = await receiver.send({ to: [recipient], message: `${arc.join('')}${GOOD}` });
    expect(data).toMatch(/^250 /);
    expect((await newest(recipient))?.authentication?.arc.result).toBe('fail');
  });
});

/** Authentication-Results as RFC 8601, 2.2 reads it: clauses between semicolons, outside quotes and comments. */
function clauses(payload: string): string[] {
  const found = [''];
  let quoted = false;
  let depth = 0;
  for (let i = 0; i < payload.length; i++) {
    const char = payload[i]!;
    if (char === '\\' && (quoted || depth > 0)) {
      found[found.length - 1] += char + (payload[++i] ?? '');
      continue;
    }
    if (char === '"' && depth === 0) quoted = !quoted;
    else if (char === '(' && !quoted) depth++;
    else if (char === ')' && !quoted && depth > 0) depth--;
    if (char === ';' && !quoted && depth === 0) found.push('');
    else found[found.length - 1] += char;
  }
  expect({ quoted, depth }, payload).toEqual({ quoted: false, depth: 0 });
  return found.map((one) => one.trim());
}

describe('a sender who writes into what we write', () => {
  it.each<[string, { from?: string; helo?: string; message?: string; parameters?: string }]>([
    ['the local part of the envelope', { from: `"x;dkim=pass/header.d=${BANK_DOMAIN}"@${PLAIN_DOMAIN}` }],
    ['a comment in the envelope', { from: `"x(y"@${PLAIN_DOMAIN}` }],
    ['a quote in the envelope', { from: `"x\\"y"@${PLAIN_DOMAIN}` }],
    ['the HELO name', { helo: `a;dkim=pass(x header.d=${BANK_DOMAIN}` }],
    ['the HELO name of a null sender', { from: '', helo: `x;dkim=pass` }],
    [
      'the subject in an encoded word',
      { message: `${FROM}Subject: =?utf-8?q?a=0D=0ABcc:_x@evil.test?=\r\n\r\n${BODY}` },
    ],
    [
      'the author in an encoded word',
      { message: `From: =?utf-8?b?${btoa('a\r\nX-Evil: 1')}?= <sender@${PLAIN_DOMAIN}>\r\n\r\n${BODY}` },
    ],
    [
      'the author in quotes',
      { message: `From: "a; dkim=pass header.d=${BANK_DOMAIN}" <sender@${PLAIN_DOMAIN}>\r\n\r\n${BODY}` },
    ],
    ['the Message-ID', { message: `Message-ID: <a\t;dkim=pass>\r\n${FROM}\r\n${BODY}` }],
    [
      'the tags of a signature',
      {
        message:
          `DKIM-Signature: v=1; a=rsa-sha256; d=${PLAIN_DOMAIN}(;s="x; s="dkim=pass; i=a;dkim=pass@${PLAIN_DOMAIN}; h=from; bh=AAAA; b=AAAA\r\n` +
          `DKIM-Signature: v=1; a=rsa-sha256; d="${BANK_DOMAIN}; dkim=pass"; s=s; h=from; bh=AAAA; b="\\;dkim=pass\r\n${FROM}\r\n${BODY}`,
      },
    ],
    [
      'the results of an ARC set',
      {
        message:
          `ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.test; s=s; b=AAAA\r\nARC-Message-Signature: i=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AAAA; b=AAAA\r\n` +
          `ARC-Authentication-Results: i=1; a.test; spf=pass (x;\r\n dkim=pass header.d=${BANK_DOMAIN}\r\n${FROM}\r\n${BODY}`,
      },
    ],
    [
      'a forged result of ours',
      { message: `Authentication-Results: ${OWN_HOST}; dkim=pass header.d=${BANK_DOMAIN}\r\n${FROM}\r\n${BODY}` },
    ],
  ])('%s', async (_where, envelope) => {
    const recipient = `injected@${OWN_DOMAIN}`;
    const { mail, data } = await receiver.send({ to: [recipient], ...envelope });
    for (const reply of [mail, data]) if (reply) expect(reply).not.toContain('\n');
    if (!mail.startsWith('250')) return expect(mail).toMatch(/^5\d\d /);
    const record = await newest(recipient);
    expect(record).toBeDefined();
    const { sender, helo, headerFrom, headerMessageId, subject, authentication, errorText } = record!;
    for (const text of [sender, helo, headerFrom, headerMessageId, subject, errorText])
      expect(text ?? '').not.toMatch(/[\p{Cc}\u2028\u2029]/u);
    const payload = authentication?.authenticationResults ?? '';
    expect(payload).not.toMatch(/\r\n(?![ \t])|\r(?!\n)|(?<!\r)\n|[\0\x7f]/);
    const [host, ...results] = clauses(payload);
    expect(host).toBe(OWN_HOST);
    for (const result of results) {
      expect(result).toMatch(/^(?:none|(?:spf|dkim|dmarc|arc|iprev)=[a-z]+)(?:\s|$)/);
      expect(result).not.toMatch(/^dkim=pass/);
    }
  });
});
