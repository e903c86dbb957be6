import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { deliver } from '../../../activities/mail/deliver.ts';
import type { Dependencies } from '../../../activities/dependencies.ts';
import type { StepContext } from '../../../activities/step.ts';
import { openFolderBlobs } from '../../../stores/blobs/folder.ts';
import type { BlobRef, BlobStore } from '../../../stores/blobs/port.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import { MESSAGE, openDialer } from '../../support/dialing.ts';
import { startPeer, type Peer, type PeerOptions } from '../../support/smtp-peer.ts';

let folder: string;
let blobs: BlobStore;
let records: Records;
let message: BlobRef;
let peer: Peer;
let progress: unknown[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-deliver-'));
  blobs = await openFolderBlobs(folder);
  records = await openRecords({ state: folder });
  message = await blobs.write(Readable.from([Buffer.from(MESSAGE)]), { prefix: 'mail', maxBytes: 10_000 });
  progress = [];
});
afterEach(async () => {
  await peer?.close();
  await blobs.close();
  await records.close();
  await rm(folder, { recursive: true });
});

const run = async (input: Record<string, unknown> = {}, options: PeerOptions = {}, idempotencyKey = 'x') => {
  await peer?.close();
  peer = await startPeer(options);
  const dialer = openDialer({
    outbound: { transport: { 'b.test': `127.0.0.1:${peer.port}` }, commandTimeout: '400ms', dataTimeout: '400ms' },
    dns: { zones: { 'inside.test': ['A 10.0.0.1'] } },
  });
  const context: StepContext = {
    signal: new AbortController().signal,
    report: (one) => void progress.push(one),
    log: pino({ level: 'silent' }),
    idempotencyKey,
  };
  try {
    return await deliver.call(
      { message, sender: 'a@a.test', recipient: 'b@b.test', ...input },
      { blobs, dialer, records } as Dependencies,
      context,
    );
  } finally {
    await dialer.close();
  }
};

describe('mail.deliver', () => {
  it('delivers the stored message as it is, and reports each stage', async () => {
    expect(await run()).toEqual({
      host: '127.0.0.1',
      reply: { code: 250, enhanced: '2.0.0', text: 'Stored' },
      tls: null,
    });
    expect(peer.messages).toEqual([MESSAGE]);
    expect(peer.commands).toContain(`MAIL FROM:<a@a.test> BODY=8BITMIME SIZE=${message.size}`);
    expect(progress).toContainEqual({ stage: 'data' });
    expect(progress).toContainEqual({ stage: 'final dot', host: '127.0.0.1' });
  });

  it('sees by itself that an address needs SMTPUTF8', async () => {
    await run({ recipient: 'пример@b.test' }, { extensions: ['SMTPUTF8'] });
    expect(peer.commands).toContain('MAIL FROM:<a@a.test> SMTPUTF8');
  });

  it.each([
    [{ rcpt: '550 5.1.1 No such user' }, 'PermanentError', 'mail.refused', 550],
    [{ rcpt: '450 4.2.0 Later' }, 'TemporaryError', 'mail.deferred', 450],
    [{ dot: 'cut' }, 'TemporaryError', 'mail.outcome_unknown', null],
    [{ rcpt: 'hang' }, 'TemporaryError', 'mail.timeout', null],
  ] as const)('throws for %j a %s %s with the reply', async (options, name, code, replyCode) => {
    await expect(run({}, options)).rejects.toMatchObject({ name, code, details: { host: '127.0.0.1', replyCode } });
    expect(deliver.errors).toContain(code);
  });

  it('sends nothing again for a key whose message was delivered', async () => {
    const first = await run();
    expect(await run()).toEqual(first);
    expect(peer.connections).toBe(0);
    await run({}, {}, 'y');
    expect(peer.messages).toEqual([MESSAGE]);
    await run({ recipient: 'c@b.test' });
    expect(peer.messages).toEqual([MESSAGE]);
  });

  it('refuses again for a key whose message was refused, without asking', async () => {
    const refused = { name: 'PermanentError', code: 'mail.refused', details: { replyCode: 550, replyText: 'Never' } };
    await expect(run({}, { dot: '550 5.7.1 Never' })).rejects.toMatchObject(refused);
    await expect(run()).rejects.toMatchObject(refused);
    expect(peer.connections).toBe(0);
  });

  it.each([
    ['was deferred', { dot: '450 4.2.0 Later' }],
    ['has an unknown outcome', { dot: 'cut' }],
  ] as const)('tries again with the same key what %s', async (_what, options) => {
    await expect(run({}, options)).rejects.toMatchObject({ name: 'TemporaryError' });
    await run();
    expect(peer.messages).toEqual([MESSAGE]);
  });

  it.each([
    [{ recipient: 'пример@b.test' }, 'mail.utf8_unsupported'],
    [{ recipient: 'b@inside.test' }, 'network.address_refused'],
    [{ recipient: 'b@gone.test' }, 'mail.no_host'],
    [{ recipient: 'b@[127.0.0.1]' }, 'address.invalid'],
    [{ recipient: 'nobody' }, 'address.invalid'],
    [{ sender: 'a@a.test>\r\nRSET' }, 'address.invalid'],
    [{ message: { key: `mail/${'0'.repeat(64)}`, sha256: '0'.repeat(64), size: 1 } }, 'blob.missing'],
  ])('refuses %j for good with %s', async (input, code) => {
    await expect(run(input)).rejects.toMatchObject({ name: 'PermanentError', code });
    expect(deliver.errors).toContain(code);
    expect(peer.messages).toEqual([]);
  });

  it.each([
    ['a NUL in its header', 'Subject: a\0b\r\n\r\nBody\r\n', 'smtp.nul'],
    ['a NUL in its body', 'Subject: a\r\n\r\nBo\0dy\r\n', 'smtp.nul'],
    ['a bare LF', 'Subject: a\r\n\r\nOne\n.\r\nTwo\r\n', 'smtp.bare_newline'],
    ['a bare CR at its end', 'Subject: a\r\n\r\nOne\r', 'smtp.bare_newline'],
  ])('refuses an uploaded message with %s, and connects to nobody', async (_what, text, code) => {
    const uploaded = await blobs.write(Readable.from([Buffer.from(text)]), { prefix: 'mail', maxBytes: 10_000 });
    await expect(run({ message: uploaded })).rejects.toMatchObject({ name: 'PermanentError', code });
    expect(deliver.errors).toContain(code);
    expect(peer.connections).toBe(0);
  });
});
