/** The mail path through real processes: every decision of the design's 'Mail', seen from both ends of the wire. */
import { readFileSync, existsSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { connect, type Socket } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import PostalMime from 'postal-mime';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import type { Arrival } from '../../cli/demo/destination.ts';
import { eventually, openHouse, simpleMessage, type House } from '../support/house.ts';
import { openSmtp } from '../support/smtp-client.ts';

let house: House;
let temporal: Client;
beforeAll(async () => {
  house = await openHouse({ outbound: { dataTimeout: '3s' } });
  const connection = await Connection.connect({ address: house.installation.addresses.temporal });
  temporal = new Client({ connection });
});
afterAll(async () => {
  await temporal?.connection.close();
  await house?.close();
});

const sender = `sender@${PLAIN_DOMAIN}`;
const at = (localPart: string) => `${localPart}@${FORWARD_DOMAIN}`;
const mailbox = (localPart: string) => `${localPart}@${MAILBOX_DOMAIN}`;
const arrivalsOf = (recipient: string): Arrival[] =>
  house.destination.received.filter((one) => one.recipients.includes(recipient));
const bouncesTo = (recipient: string): Arrival[] => arrivalsOf(recipient).filter((one) => one.sender === '');
const newBounce = async (known: number): Promise<string> => {
  const arrival = await eventually(() => bouncesTo(sender)[known], 'the bounce');
  return arrival.raw.toString('utf8');
};

describe('an accepted message', () => {
  it('arrives sealed, signed and with a rewritten envelope sender before the session has its 250', async () => {
    const sent = await house.send({ to: [at('alice')] });
    expect(sent.data).toMatch(/^250 2\.6\.0 Delivered \(/);
    const [arrival] = arrivalsOf(mailbox('alice'));
    expect(arrival?.sender).toMatch(new RegExp(`^SRS0=[^=]{8,}=..=${PLAIN_DOMAIN}=sender@${FORWARD_DOMAIN}$`));
    expect(arrival?.verdicts).toMatchObject({
      spf: { result: 'pass', domain: FORWARD_DOMAIN },
      arc: { result: 'pass', instance: 1 },
      dkim: [{ domain: FORWARD_DOMAIN, result: 'pass' }],
    });
    const raw = arrival?.raw.toString() ?? '';
    expect(raw).toMatch(/^ARC-Seal: i=1;/);
    expect(raw).toContain('Authentication-Results: mx.forward.test;');
    expect(raw).toMatch(/\r\nReceived: from mail\.plain\.test/);
    const record = await house.finalRecord(at('alice'));
    expect(record).toMatchObject({
      outcome: 'delivered',
      attempts: 1,
      resent: false,
      sender,
      authentication: { spf: { result: 'pass', scope: 'mfrom' }, dmarc: { policy: 'none' } },
    });
  });

  it('goes out once when the same message comes again', async () => {
    const message = simpleMessage(at('bob'));
    const first = await house.send({ to: [at('bob')], message });
    const again = await house.send({ to: [at('bob')], message });
    expect([first.data, again.data]).toEqual([expect.stringMatching(/^250 /), expect.stringMatching(/^250 /)]);
    expect(arrivalsOf(mailbox('bob'))).toHaveLength(1);
  });

  it('goes out once when the same message comes in two sessions at the same time', async () => {
    const message = simpleMessage(at('carol'));
    const replies = await Promise.all([1, 2, 3].map(() => house.send({ to: [at('carol')], message })));
    for (const { data } of replies) expect(data).toMatch(/^250 /);
    await house.finalRecord(at('carol'));
    expect(arrivalsOf(mailbox('carol'))).toHaveLength(1);
  });

  it('reaches each destination of a rule', async () => {
    const before = [arrivalsOf(mailbox('alice')).length, arrivalsOf(mailbox('bob')).length];
    expect((await house.send({ to: [at('both')] })).data).toMatch(/^250 /);
    await house.finalRecord(at('both'));
    expect([arrivalsOf(mailbox('alice')).length, arrivalsOf(mailbox('bob')).length]).toEqual(
      before.map((count) => count + 1),
    );
  });

  it('is dropped by a rule that says so, with a record and without a run', async () => {
    expect((await house.send({ to: [at('nothing')] })).data).toMatch(/^250 2\.6\.0 Accepted/);
    expect(await house.finalRecord(at('nothing'))).toMatchObject({ outcome: 'dropped', workflowId: null });
  });
});

describe('a recipient that is not ours', () => {
  it('is refused when no rule knows it, and leaves a record', async () => {
    const { rcpt, data } = await house.send({ to: [at('nobody')] });
    expect(rcpt[0]).toMatch(/^550 5\.1\.1 /);
    expect(data).toBeNull();
    expect(await house.finalRecord(at('nobody'))).toMatchObject({
      outcome: 'rejected',
      errorCode: 'mail.unknown_recipient',
    });
  });

  it('is never relayed', async () => {
    const { rcpt } = await house.send({ to: ['victim@elsewhere.test'] });
    expect(rcpt[0]).toMatch(/^550 5\.7\.1 /);
  });

  it('is refused when it looks like an SRS address of ours with another hash', async () => {
    const { rcpt } = await house.send({ to: [`SRS0=AAAAAAAA=AA=plain.test=sender@${FORWARD_DOMAIN}`] });
    expect(rcpt[0]).toMatch(/^550 5\.1\.1 /);
  });
});

describe('what the destination says', () => {
  it('is passed back as it came when it refuses', async () => {
    house.destination.behave(mailbox('dave'), { does: 'refuse', reply: '552 5.2.2 Mailbox full, see the help page' });
    const message = simpleMessage(at('dave'));
    const { data } = await house.send({ to: [at('dave')], message });
    expect(data).toBe('552 5.2.2 Mailbox full, see the help page');
    expect(await house.finalRecord(at('dave'))).toMatchObject({
      outcome: 'refused',
      reply: { code: 552, enhanced: '5.2.2' },
    });
    // The same message again meets the record: nobody is asked twice.
    expect((await house.send({ to: [at('dave')], message })).data).toBe(data);
    expect(house.destination.attempts(mailbox('dave'))).toBe(1);
    expect(bouncesTo(sender)).toHaveLength(0);
  });

  it('becomes a bounce for the refused one of two recipients', async () => {
    const known = bouncesTo(sender).length;
    house.destination.behave(mailbox('dave'), { does: 'refuse', reply: '550 5.1.1 No such user' });
    const { data } = await house.send({ to: [at('alice'), at('dave')] });
    expect(data).toMatch(/^250 /);
    const bounce = await newBounce(known);
    expect(bounce).toMatch(/^Final-Recipient: rfc822; ?dave@forward\.test/im);
    expect(bounce).toMatch(/^Status: 5\.1\.1/m);
    expect(bounce).toMatch(/^Diagnostic-Code: smtp; ?550 5\.1\.1 No such user/m);
    expect((await PostalMime.parse(bounce)).subject).toBeTruthy();
    expect(await house.finalRecord(at('dave'))).toMatchObject({ outcome: 'bounced' });
  });

  it('is the refusal and no bounce when every recipient is refused', async () => {
    const known = bouncesTo(sender).length;
    house.destination.behave(mailbox('dave'), { does: 'refuse', reply: '550 5.1.1 No such user' });
    house.destination.behave(mailbox('erin'), { does: 'refuse', reply: '550 5.1.1 No such user' });
    const { data } = await house.send({ to: [at('dave'), at('erin')] });
    expect(data).toBe('550 5.1.1 No such user');
    expect((await house.finalRecord(at('erin'))).outcome).toBe('refused');
    expect((await house.finalRecord(at('dave'))).outcome).toBe('refused');
    expect(bouncesTo(sender)).toHaveLength(known);
  });

  it('bounces a refused recipient also when the message is sent again with one that is accepted', async () => {
    const known = bouncesTo(sender).length;
    house.destination.behave(mailbox('erin'), { does: 'refuse', reply: '550 5.1.1 No such user' });
    const message = simpleMessage(at('erin'));
    expect((await house.send({ to: [at('erin')], message })).data).toMatch(/^550 /);
    expect((await house.send({ to: [at('erin'), at('alice')], message })).data).toMatch(/^250 /);
    expect(await newBounce(known)).toMatch(/erin@forward\.test/);
    house.destination.behave(mailbox('erin'), { does: 'accept' });
  });

  it('is tried again when it defers, and the sender has its 250 meanwhile', async () => {
    house.destination.behave(mailbox('frank'), { does: 'defer', times: 2, reply: '451 4.7.1 Greylisted' });
    const { data } = await house.send({ to: [at('frank')] });
    expect(data).toMatch(/^250 2\.6\.0 Queued as /);
    expect(await house.finalRecord(at('frank'))).toMatchObject({ outcome: 'delivered', attempts: 3, resent: false });
    expect(arrivalsOf(mailbox('frank'))).toHaveLength(1);
  });

  it('becomes a bounce when it refuses after the message was queued', async () => {
    const known = bouncesTo(sender).length;
    house.destination.behave(mailbox('grace'), {
      does: 'defer',
      times: 1,
      then: { does: 'refuse', reply: '550 5.7.1 Never' },
    });
    expect((await house.send({ to: [at('grace')] })).data).toMatch(/^250 .*Queued/);
    const bounce = await newBounce(known);
    expect(bounce).toMatch(/Diagnostic-Code: smtp; ?550 5\.7\.1 Never/);
    expect(bounce).toMatch(/^Auto-Submitted: auto-replied/m);
    // The delivery of the bounce is no attempt of the message.
    expect(await house.finalRecord(at('grace'))).toMatchObject({
      outcome: 'bounced',
      errorCode: 'mail.refused',
      attempts: 2,
    });
  });

  it('is waited for no longer than the session may wait; unknown outcomes are sent again and marked', async () => {
    house.destination.behave(mailbox('heidi'), { does: 'cut', times: 1 });
    const { data } = await house.send({ to: [at('heidi')] });
    expect(data).toMatch(/^250 .*Queued/);
    expect(await house.finalRecord(at('heidi'))).toMatchObject({ outcome: 'delivered', attempts: 2, resent: true });
    expect(arrivalsOf(mailbox('heidi'))).toHaveLength(2);
  });
});

describe('a mail that comes back', () => {
  it('to an SRS address goes to the original sender, from the null sender and without a new bounce', async () => {
    await house.send({ to: [at('alice')] });
    const srs = arrivalsOf(mailbox('alice')).at(-1)?.sender ?? '';
    const known = bouncesTo(sender).length;
    const { rcpt, data } = await house.send({
      from: '',
      to: [srs],
      source: house.world.senders.mailbox.address,
      helo: house.world.senders.mailbox.helo,
      message: [
        'From: MAILER-DAEMON@mailbox.test',
        `To: ${srs}`,
        'Subject: Undelivered',
        'Message-ID: <b1@mailbox.test>',
        '',
        'Sorry.',
        '',
      ].join('\r\n'),
    });
    expect(rcpt[0]).toMatch(/^250 /);
    expect(data).toMatch(/^250 /);
    expect(await newBounce(known)).toContain('Subject: Undelivered');
  });
});

describe('the policy', () => {
  it('refuses what fails DMARC under p=reject', async () => {
    const message = simpleMessage(at('alice')).replace(`<sender@${PLAIN_DOMAIN}>`, '<boss@bank.test>');
    const { data } = await house.send({
      from: 'x@forger.test',
      to: [at('alice')],
      message,
      source: house.world.senders.forger.address,
    });
    expect(data).toMatch(/^550 5\.7\.1 /);
    expect(await house.finalRecord(at('alice'))).toMatchObject({ outcome: 'rejected', errorCode: 'dmarc.rejected' });
  });

  it('refuses what passes neither SPF nor DKIM', async () => {
    const { data } = await house.send({ to: [at('alice')], source: house.world.senders.forger.address });
    expect(data).toMatch(/^550 5\.7\.26 /);
  });

  it('asks the sender to come again when DNS may still say yes', async () => {
    house.dns.fail(PLAIN_DOMAIN, 'servfail');
    try {
      expect((await house.send({ to: [at('alice')] })).data).toMatch(/^451 4\./);
    } finally {
      house.dns.fail(PLAIN_DOMAIN, null);
    }
    expect((await house.send({ to: [at('alice')] })).data).toMatch(/^250 /);
  });
});

describe('the session', () => {
  it('offers what RFC 5321 and its extensions promise', async () => {
    const client = await openSmtp(house.installation.addresses.smtp);
    const ehlo = (await client.command('EHLO client.test')).split('\n').map((line) => line.slice(4));
    expect(ehlo).toEqual(
      expect.arrayContaining([
        'PIPELINING',
        '8BITMIME',
        'SMTPUTF8',
        'ENHANCEDSTATUSCODES',
        'STARTTLS',
        'SIZE 26214400',
      ]),
    );
    expect(ehlo.some((line) => line.startsWith('AUTH'))).toBe(false);
    client.close();
  });

  it('takes mail over STARTTLS and says so in Received', async () => {
    const { host, port } = house.installation.addresses.smtp;
    const plain: Socket = connect({ host, port, localAddress: house.world.senders.plain.address });
    const read = (socket: Socket) =>
      new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(chunk.toString())));
    await read(plain);
    plain.write('EHLO mail.plain.test\r\n');
    await read(plain);
    plain.write('STARTTLS\r\n');
    expect(await read(plain)).toMatch(/^220 /);
    const tls = connectTls({ socket: plain, rejectUnauthorized: false });
    await new Promise((resolve) => tls.once('secureConnect', resolve));
    const cipher = tls.getCipher().name;
    for (const line of ['EHLO mail.plain.test', `MAIL FROM:<${sender}>`, `RCPT TO:<${at('judy')}>`, 'DATA']) {
      tls.write(`${line}\r\n`);
      await read(tls);
    }
    tls.write(`${simpleMessage(at('judy'))}.\r\n`);
    expect(await read(tls)).toMatch(/^250 /);
    tls.destroy();
    const received = /^Received: (?:.+\r\n[ \t])*.+/m.exec(arrivalsOf(mailbox('judy'))[0]?.raw.toString() ?? '')?.[0];
    expect(received?.replace(/\s+/g, ' ')).toContain(`with ESMTPS (TLSv1.3 ${cipher})`);
    expect((await house.finalRecord(at('judy'))).tls).toBe(`TLSv1.3 ${cipher}`);
  });

  it('refuses a message over the limit and goes on', async () => {
    const client = await openSmtp(house.installation.addresses.smtp, house.world.senders.plain.address);
    await client.command('EHLO mail.plain.test');
    expect(await client.command(`MAIL FROM:<${sender}> SIZE=30000000`)).toMatch(/^552 5\.3\.4 /);
    await client.command(`MAIL FROM:<${sender}>`);
    await client.command(`RCPT TO:<${at('alice')}>`);
    await client.command('DATA');
    client.raw(`${simpleMessage(at('alice'))}${`${'x'.repeat(998)}\r\n`.repeat(27_000)}.\r\n`);
    expect(await client.reply()).toMatch(/^552 5\.3\.4 /);
    expect(await client.command('NOOP')).toMatch(/^250 /);
    client.close();
  });

  it('closes a session that guesses addresses', async () => {
    const client = await openSmtp(house.installation.addresses.smtp, house.world.senders.plain.address);
    await client.command('EHLO mail.plain.test');
    await client.command(`MAIL FROM:<${sender}>`);
    const replies: string[] = [];
    for (let i = 0; i < 10; i++) replies.push(await client.command(`RCPT TO:<guess${i}@${FORWARD_DOMAIN}>`));
    expect(replies.slice(0, 9).every((reply) => reply.startsWith('550 5.1.1'))).toBe(true);
    expect(replies[9]).toMatch(/^421 4\.7\.0 /);
  });

  const file = new URL('../../../shared/data/mail/smtp-smuggling/sequences.json', import.meta.url);
  const sequences = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as { sequences: Record<string, number[]> }).sequences
    : {};
  it.skipIf(!existsSync(file))('does no harm with any of the 14 smuggling sequences', async () => {
    let refused = 0;
    for (const [name, bytes] of Object.entries(sequences)) {
      const before = house.destination.received.length;
      const client = await openSmtp(house.installation.addresses.smtp, house.world.senders.plain.address);
      await client.command('EHLO mail.plain.test');
      await client.command(`MAIL FROM:<${sender}>`);
      await client.command(`RCPT TO:<${at('ivan')}>`);
      await client.command('DATA');
      client.raw(simpleMessage(at('ivan')).trimEnd());
      client.raw(Buffer.from(bytes));
      const control = name.startsWith('control');
      if (!control)
        client.raw(
          `MAIL FROM:<evil@${PLAIN_DOMAIN}>\r\nRCPT TO:<${at('ivan')}>\r\nDATA\r\n${simpleMessage(at('ivan'), 'smuggled')}\r\n.\r\n`,
        );
      const reply = await client.reply();
      client.close();
      if (control) expect(reply).toMatch(/^250 /);
      else {
        expect([name, reply]).toEqual([name, expect.stringMatching(/^55\d 5\./)]);
        expect(house.destination.received.length).toBe(before);
        refused += 1;
      }
    }
    expect(refused).toBe(13);
  });
});

describe('a person at the Temporal UI', () => {
  const workflowOf = async (recipient: string): Promise<string> => {
    const record = await eventually(
      async () => (await house.records.activity.list({ recipient, outcome: 'accepted' }))[0],
      'an open record',
    );
    return record.workflowId ?? '';
  };

  it('cancels a waiting run: the sender is told', async () => {
    const known = bouncesTo(sender).length;
    house.destination.behave(mailbox('ivan'), { does: 'defer', times: 1_000 });
    await house.send({ to: [at('ivan')] });
    await temporal.workflow.getHandle(await workflowOf(at('ivan'))).cancel();
    expect(await house.finalRecord(at('ivan'))).toMatchObject({ outcome: 'bounced', errorCode: 'mail.cancelled' });
    expect(await newBounce(known)).toMatch(/cancelled by the operator/);
  });

  it('reads the run without reading code', async () => {
    const record = await house.finalRecord(at('alice'));
    const [newest] = await house.records.activity.list({ recipient: at('alice'), outcome: 'delivered', limit: 1 });
    const run = await temporal.workflow.getHandle(newest?.workflowId ?? record.workflowId ?? '').describe();
    expect(await run.staticSummary()).toMatch(/^sender@plain\.test -> alice@forward\.test: Message/);
    expect(await run.staticDetails()).toMatch(/^Received 20\S+ from 127\.\S+ \(\S+\), \d+ bytes\.$/);
    expect(run.searchAttributes).toMatchObject({
      SwitchyardSender: [sender],
      SwitchyardRecipient: [at('alice')],
      SwitchyardOutcome: ['delivered'],
    });
  });
});
