import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mailauth from 'mailauth';
import PostalMime from 'postal-mime';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { send } from '../../../activities/mail/send.ts';
import { rewriteForDomain } from '../../../activities/mail/rewrite-sender.ts';
import { openDependencies, type OpenDependencies } from '../../../activities/open.ts';
import type { StepContext } from '../../../activities/step.ts';
import { resolveAddresses } from '../../../stores/configuration/addresses.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import type { MailActivity } from '../../../stores/records/port.ts';
import { startPeer, type Peer, type PeerOptions } from '../../support/smtp-peer.ts';

/** Debian's python3-dkim belongs to the system's Python, which need not be the first on the PATH. */
const python = ['/usr/bin/python3', 'python3'].find((one) => spawnSync(one, ['-c', 'import dkim']).status === 0);
const VERIFIER = join(import.meta.dirname, '..', '..', 'support', 'verify_arc.py');

interface Result {
  messageId: string;
  recipients: { recipient: string; status: string; host: string; reply: unknown; resent: boolean; activity: string }[];
}

let folder: string;
let b: Peer;
let c: Peer;
const behaviour: { b: PeerOptions; c: PeerOptions } = { b: {}, c: {} };
let dependencies: OpenDependencies;
let configuration: Configuration;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-send-'));
  b = await startPeer(behaviour.b);
  c = await startPeer(behaviour.c);
  configuration = Configuration.parse({
    hostname: 'mx.own.test',
    state: folder,
    mail: {
      send: { to: ['*@b.test', 'carol@c.test'] },
      retry: { delays: ['1m', '5m'], giveUpAfter: '5d' },
    },
    outbound: {
      transport: { 'b.test': `127.0.0.1:${b.port}`, 'c.test': `127.0.0.1:${c.port}` },
      dataTimeout: '2s',
      commandTimeout: '2s',
    },
  });
  dependencies = await openDependencies(configuration, resolveAddresses(configuration));
  await dependencies.records.rules.applyDeclared([
    {
      domain: 'own.test',
      rules: [
        { localPart: 'desk', action: { type: 'forward', destinations: ['dora@b.test', 'erik@c.test'] } },
        { localPart: 'noreply', action: { type: 'drop' } },
      ],
    },
    { domain: 'keyless.test', rules: [] },
  ]);
  await dependencies.keys.create('own.test');
});
beforeEach(() => {
  for (const options of [behaviour.b, behaviour.c])
    for (const name of Object.keys(options) as (keyof PeerOptions)[]) delete options[name];
  for (const peer of [b, c]) {
    peer.messages.length = 0;
    peer.commands.length = 0;
    peer.connections = 0;
    // Each test has its own behaviour of the peers, from the first reply on.
    for (const socket of peer.open) socket.destroy();
  }
});
afterAll(async () => {
  await b?.close();
  await c?.close();
  await dependencies?.close();
  rmSync(folder, { recursive: true, force: true });
});

let sequence = 0;
const newKey = () => `key-${++sequence}`;
const BASE = { from: 'Alice <alice@own.test>', to: ['bob@b.test'], subject: 'Hello', text: 'Hello.\n' };
const run = async (input: object, key = newKey(), part: Partial<OpenDependencies> = {}): Promise<Result> => {
  const context: StepContext = {
    signal: new AbortController().signal,
    report: () => undefined,
    log: pino({ level: 'silent' }),
    idempotencyKey: key,
    run: `run-of-${key}`,
  };
  return (await send.call({ ...BASE, ...input }, { ...dependencies, ...part }, context)) as Result;
};
const refusal = (input: object, key?: string, part?: Partial<OpenDependencies>) =>
  run(input, key, part).then(
    (result) => expect.fail(`sent: ${JSON.stringify(result)}`),
    (thrown: { name: string; code: string; message: string; details: object; retryAfterMs?: number }) => thrown,
  );
const rcpts = (peer: Peer) => peer.commands.filter((line) => line.startsWith('RCPT')).map((line) => line.slice(8));
const recordsOf = async (recipient: string): Promise<MailActivity[]> =>
  dependencies.records.activity.list({ recipient, limit: 500 });

async function zones(): Promise<Record<string, string[]>> {
  const keys = await dependencies.keys.list();
  return Object.fromEntries(
    keys.map((key) => [`${key.selector}._domainkey.${key.domain}`, [`TXT v=DKIM1; k=rsa; p=${key.publicKey}`]]),
  );
}

describe('mail.send', () => {
  it('brings the message to everyone: declared addresses, and own addresses where their rules say', async () => {
    const { messageId, recipients } = await run({
      to: ['bob@b.test', 'Desk <desk@own.test>'],
      cc: ['carol@c.test'],
      bcc: ['noreply@own.test'],
      html: '<p>Hello.</p>',
    });
    expect(recipients.map(({ recipient, status }) => [recipient, status])).toEqual([
      ['bob@b.test', 'delivered'],
      ['desk@own.test', 'delivered'],
      ['carol@c.test', 'delivered'],
      ['noreply@own.test', 'dropped'],
    ]);
    expect(recipients[0]).toMatchObject({ host: '127.0.0.1', reply: { code: 250, text: 'Stored' }, resent: false });
    expect(rcpts(b).toSorted()).toEqual(['<bob@b.test>', '<dora@b.test>']);
    expect(rcpts(c).toSorted()).toEqual(['<carol@c.test>', '<erik@c.test>']);
    // Its own envelope sender: nothing was rewritten, and bounces come back to its rules.
    expect(b.commands.filter((line) => line.startsWith('MAIL FROM:<alice@own.test>'))).toHaveLength(2);
    const read = await PostalMime.parse(c.messages[0] ?? '');
    expect(read).toMatchObject({ messageId, subject: 'Hello', html: expect.stringContaining('<p>Hello.</p>') });
    expect(read.text?.trim()).toBe('Hello.');
    expect(read.headers.filter(({ key }) => key === 'received' || key.startsWith('arc-'))).toEqual([]);
  });

  it('leaves a record a recipient, with what it was and what became of it', async () => {
    const key = newKey();
    const { recipients, messageId } = await run(
      { to: ['record@b.test', 'desk@own.test'], subject: 'For the record' },
      key,
    );
    const [record] = await recordsOf('record@b.test');
    expect(record).toMatchObject({
      id: recipients[0]?.activity,
      sender: 'alice@own.test',
      sourceAddress: 'local',
      headerFrom: 'Alice <alice@own.test>',
      headerMessageId: messageId,
      subject: 'For the record',
      outcome: 'delivered',
      attempts: 1,
      workflowId: `run-of-${key}`,
    });
    const desk = await dependencies.records.activity.get(recipients[1]?.activity ?? '');
    expect(desk).toMatchObject({ outcome: 'delivered', action: { destinations: ['dora@b.test', 'erik@c.test'] } });
    expect(desk?.messageId).toBe(record?.messageId);
    const soon = new Date(Date.now() + 3_600_000).toISOString();
    expect(await dependencies.records.blobOwners.isOwned(record?.blob?.key ?? '', soon)).toBe(true);
  });

  it('signs with the key of the own domain, as mailauth verifies', async () => {
    await run({ to: ['bob@b.test'], text: `Grüße\n.\n${'long '.repeat(400)}`, subject: 'Grüße' });
    const records = await zones();
    const { dkim } = await mailauth.authenticate(Buffer.from(b.messages[0] ?? ''), {
      ip: '127.0.0.1',
      helo: 'mx.own.test',
      sender: 'alice@own.test',
      resolver: async (name: string) => {
        const found = records[name.toLowerCase()];
        if (!found) throw Object.assign(new Error('ENOTFOUND'), { code: 'ENOTFOUND' });
        return found.map((record) => [record.slice('TXT '.length)]);
      },
    });
    expect(dkim.results.map((one) => [one.signingDomain, one.status.result])).toEqual([['own.test', 'pass']]);
    // Headers that a reader goes by are among the signed ones (RFC 6376, 5.4.1).
    const covered = dkim.results[0]?.signingHeaders?.keys?.toLowerCase().split(': ');
    expect(covered).toEqual(expect.arrayContaining(['from', 'to', 'subject', 'date', 'message-id']));
  });

  it('signs as python3-dkim verifies', async (test) => {
    if (python === undefined) return test.skip('python3-dkim is not installed');
    await run({ to: ['bob@b.test'], html: '<p>Grüße</p>', headers: { 'X-Ticket': '4711' } });
    writeFileSync(join(folder, 'zones.json'), JSON.stringify(await zones()));
    writeFileSync(join(folder, 'sent.eml'), b.messages[0] ?? '');
    const verified = spawnSync(python, [VERIFIER, join(folder, 'zones.json'), join(folder, 'sent.eml')], {
      encoding: 'utf8',
    });
    expect(verified.stderr).toBe('');
    expect(JSON.parse(verified.stdout)).toMatchObject({ sets: [], dkim: [true] });
  });

  it('asks for SMTPUTF8 where an address needs it', async () => {
    behaviour.b.extensions = ['SMTPUTF8', '8BITMIME'];
    await run({ to: ['пример@b.test'] });
    expect(b.commands).toContain('RCPT TO:<пример@b.test>');
    expect(b.commands.find((line) => line.startsWith('MAIL'))).toContain('SMTPUTF8');
  });
});

describe('whom it may write as and to', () => {
  it.each([
    ['of a foreign domain', { from: 'alice@b.test' }, 'mail.sender_not_own'],
    ['of a subdomain of an own one', { from: 'alice@sub.own.test' }, 'mail.sender_not_own'],
    ['of an own domain without a key', { from: 'alice@keyless.test' }, 'key.missing'],
  ])('refuses a sender %s', async (_what, input, code) => {
    expect(await refusal(input)).toMatchObject({ name: 'PermanentError', code });
    expect(b.connections).toBe(0);
  });

  it('refuses everyone as soon as one recipient is not declared, and says who', async () => {
    const strangers = ['eve@c.test', 'eve@sub.b.test', 'nobody@own.test', 'x@elsewhere.test'];
    for (const stranger of strangers) {
      const error = await refusal({ to: ['bob@b.test'], bcc: [stranger] });
      expect(error).toMatchObject({ name: 'PermanentError', code: 'mail.recipient_not_declared' });
      expect(error.message).toContain(stranger);
    }
    expect(b.connections + c.connections).toBe(0);
    expect(await recordsOf('eve@c.test')).toEqual([]);
  });

  it('does not reach a stranger through an SRS address of ours', async () => {
    const srs = await rewriteForDomain('stranger@elsewhere.test', 'own.test', dependencies);
    expect(await refusal({ to: [srs] })).toMatchObject({ code: 'mail.recipient_not_declared' });
  });

  it('writes to a destination of a rule, and no longer when the rule is off', async () => {
    expect((await run({ to: ['Erik <ERIK@c.test>'] })).recipients[0]?.status).toBe('delivered');
    const { records } = dependencies;
    const rule = await records.rules.find('own.test', 'desk');
    await records.rules.put({ ...rule!, enabled: false }, 'test');
    expect(await refusal({ to: ['erik@c.test'] })).toMatchObject({ code: 'mail.recipient_not_declared' });
    await records.rules.put({ ...rule!, enabled: true }, 'test');
  });

  it('says of an address that an n8n workflow takes that it cannot be written to', async () => {
    const rule = { domain: 'own.test', localPart: 'sales', source: 'trigger' as const };
    await dependencies.records.rules.put({ ...rule, action: { type: 'trigger', trigger: 't', name: 'Sales' } }, 'test');
    const error = await refusal({ to: ['sales@own.test'] });
    expect(error).toMatchObject({ code: 'mail.recipient_is_trigger', message: expect.stringContaining('"Sales"') });
  });
});

describe('the same key again', () => {
  it('sends nothing and answers the same', async () => {
    const key = newKey();
    const input = { to: ['bob@b.test', 'carol@c.test'], bcc: ['noreply@own.test'] };
    const first = await run(input, key);
    expect(await run(input, key)).toEqual(first);
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
    expect(b.connections).toBe(1);
  });

  it.each([
    ['another text', { text: 'Other.' }],
    ['another recipient', { to: ['carol@c.test'] }],
    ['one recipient more', { to: ['bob@b.test', 'carol@c.test'] }],
  ])('is refused for %s', async (_what, change) => {
    const key = newKey();
    await run({}, key);
    expect(await refusal(change, key)).toMatchObject({ name: 'PermanentError', code: 'mail.key_reused' });
    expect(b.messages.length + c.messages.length).toBe(1);
  });

  it('waits for a call that still sends', async () => {
    const key = newKey();
    const answers = await Promise.all([run({}, key), run({}, key), run({}, key)]);
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(b.messages).toHaveLength(1);
  });

  it('tries only those that were deferred, with the same message', async () => {
    const key = newKey();
    const input = { to: ['bob@b.test', 'carol@c.test'] };
    behaviour.c.rcpt = '451 4.7.1 Greylisted';
    const error = await refusal(input, key);
    expect(error).toMatchObject({
      name: 'TemporaryError',
      code: 'mail.deferred',
      retryAfterMs: 60_000,
      details: { recipient: 'carol@c.test', waiting: 1, replyCode: 451 },
    });
    expect(error.message).toContain('451 4.7.1 Greylisted');
    expect(await recordsOf('carol@c.test')).toContainEqual(expect.objectContaining({ outcome: 'accepted' }));
    expect(await refusal(input, key)).toMatchObject({ code: 'mail.deferred', retryAfterMs: 300_000 });

    delete behaviour.c.rcpt;
    const { recipients } = await run(input, key);
    expect(recipients.map(({ status, resent }) => [status, resent])).toEqual([
      ['delivered', false],
      ['delivered', false],
    ]);
    expect([b.messages.length, c.messages.length]).toEqual([1, 1]);
    const ids = await Promise.all(
      [b, c].map(async ({ messages }) => (await PostalMime.parse(messages[0] ?? '')).messageId),
    );
    expect(ids[0]).toBe(ids[1]);
    expect(await dependencies.records.activity.get(recipients[1]?.activity ?? '')).toMatchObject({ attempts: 3 });
  });

  it('tries only the destination of a rule that was deferred', async () => {
    const key = newKey();
    behaviour.c.dot = '452 4.2.2 Full';
    const error = await refusal({ to: ['desk@own.test'] }, key);
    expect(error).toMatchObject({ code: 'mail.deferred', message: expect.stringContaining('452 4.2.2 Full') });
    delete behaviour.c.dot;
    expect((await run({ to: ['desk@own.test'] }, key)).recipients[0]?.status).toBe('delivered');
    expect(rcpts(b)).toEqual(['<dora@b.test>']);
  });

  it('says what stood in the way where no server answered', async () => {
    behaviour.b.greeting = 'cut';
    const error = await refusal({});
    expect(error).toMatchObject({ code: 'mail.deferred', details: { replyCode: null } });
    expect(error.message).toMatch(/now: .*connection.*[^.]\.$/i);
  });

  it('sends again after an outcome that nobody knows, and marks it', async () => {
    const key = newKey();
    behaviour.b.dot = 'cut';
    expect(await refusal({ to: ['unknown@b.test'] }, key)).toMatchObject({
      name: 'TemporaryError',
      code: 'mail.outcome_unknown',
    });
    delete behaviour.b.dot;
    const { recipients } = await run({ to: ['unknown@b.test'] }, key);
    expect(recipients).toMatchObject([{ status: 'delivered', resent: true }]);
    expect(b.messages).toHaveLength(2);
    expect(await recordsOf('unknown@b.test')).toMatchObject([{ outcome: 'delivered', resent: true }]);
  });
});

describe('a refusal', () => {
  it('is said of its recipient while others have the message', async () => {
    behaviour.c.rcpt = '550 5.1.1 No such user';
    const key = newKey();
    const input = { to: ['bob@b.test', 'carol@c.test'] };
    const first = await run(input, key);
    expect(first.recipients[1]).toMatchObject({
      status: 'refused',
      host: '127.0.0.1',
      reply: { code: 550, enhanced: '5.1.1', text: 'No such user' },
    });
    const record = await dependencies.records.activity.get(first.recipients[1]?.activity ?? '');
    expect(record).toMatchObject({ outcome: 'refused', errorCode: 'mail.refused', reply: { code: 550 } });
    delete behaviour.c.rcpt;
    expect(await run(input, key)).toEqual(first);
    expect(c.connections).toBe(1);
  });

  it('of everyone fails the step for good, also when it is repeated', async () => {
    behaviour.b.dot = '554 5.7.1 Spam';
    const key = newKey();
    for (let i = 0; i < 2; i++) {
      const error = await refusal({}, key);
      expect(error).toMatchObject({
        name: 'PermanentError',
        code: 'mail.refused',
        details: { recipient: 'bob@b.test', replyCode: 554 },
      });
      expect(error.message).toContain('554 5.7.1 Spam');
    }
    expect(b.connections).toBe(1);
  });

  it('comes after mail.retry.giveUpAfter for what is still deferred', async () => {
    const { retry } = configuration.mail;
    const impatient = {
      configuration: { ...configuration, mail: { ...configuration.mail, retry: { ...retry, giveUpAfter: 30_000 } } },
    };
    behaviour.b.rcpt = '450 4.2.0 Later';
    const key = newKey();
    const error = await refusal({ to: ['late@b.test'] }, key, impatient);
    expect(error).toMatchObject({ name: 'PermanentError', code: 'mail.expired', details: { replyCode: 450 } });
    expect(await recordsOf('late@b.test')).toMatchObject([{ outcome: 'failed', errorCode: 'mail.expired' }]);
    delete behaviour.b.rcpt;
    expect(await refusal({ to: ['late@b.test'] }, key)).toMatchObject({ code: 'mail.expired' });
    expect(b.connections).toBe(1);
  });
});

it('names every code that it throws in its contract', () => {
  expect(send.errors).toEqual(
    expect.arrayContaining(['mail.deferred', 'mail.refused', 'mail.too_large', 'blob.missing', 'key.missing']),
  );
  expect(new Set(send.errors).size).toBe(send.errors.length);
});
