import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { createTransport } from 'nodemailer';
import { dkimSign } from 'mailauth/lib/dkim/sign.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KEPT_MESSAGES, startInbox, type InboxServer } from '../../../servers/inbox/server.ts';
import { createLog } from '../../../servers/log.ts';
import type { Addresses } from '../../../stores/configuration/addresses.ts';
import { openBlobs } from '../../../stores/blobs/open.ts';
import type { BlobStore } from '../../../stores/blobs/port.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { openKeys } from '../../../stores/keys/open.ts';
import type { KeyStore } from '../../../stores/keys/port.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';

const log = createLog('test', 'silent');
const none = { host: '127.0.0.1', port: 0 };
const addresses: Addresses = {
  temporal: '127.0.0.1:9',
  temporalUi: null,
  smtp: none,
  http: none,
  inbox: none,
  editor: null,
  workerMetrics: none,
  smtpMetrics: none,
};
let state: string;
let configuration: Configuration;
let inbox: InboxServer;
let records: Records;
let keys: KeyStore;
let blobs: BlobStore;

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), 'switchyard-inbox-'));
  configuration = Configuration.parse({
    state,
    mail: { limits: { messageSize: 200_000 } },
    dns: {
      zones: {
        'a.example': ['TXT v=spf1 ip4:127.0.0.1 -all'],
        '_dmarc.a.example': ['TXT v=DMARC1; p=reject'],
        'c.example': ['TXT v=spf1 -all'],
      },
    },
  });
  records = await openRecords(configuration);
  keys = await openKeys(records, configuration);
  await keys.create('a.example');
  inbox = await startInbox({ configuration, addresses, log });
  blobs = await openBlobs(configuration);
});
afterAll(async () => {
  await inbox.close();
  await blobs.close();
  await records.close();
  await rm(state, { recursive: true, force: true });
});

function send(from: string, to: string[], raw: string): Promise<unknown> {
  const client = createTransport({ host: '127.0.0.1', port: inbox.port, ignoreTLS: true });
  return client.sendMail({ envelope: { from, to }, raw }).finally(() => client.close());
}
const mail = (from: string, subject: string) =>
  `From: Ann <${from}>\r\nTo: bob@b.example\r\nSubject: ${subject}\r\nMessage-ID: <${randomUUID()}@a.example>\r\nDate: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\nHello\r\n`;

describe('the local inbox', () => {
  test('takes mail for anyone and keeps its bytes, envelope and fields', async () => {
    const raw = mail('ann@a.example', 'Invoice 4711');
    await send('bounce@a.example', ['bob@b.example', 'nobody@nowhere.example'], raw);
    const [message] = await records.inbox.list({});
    expect(message).toMatchObject({
      sender: 'bounce@a.example',
      recipients: ['bob@b.example', 'nobody@nowhere.example'],
      subject: 'Invoice 4711',
    });
    expect(message?.from).toContain('ann@a.example');
    const kept = await buffer(await blobs.read(message?.blob.key ?? ''));
    expect(kept.toString()).toBe(raw);
    expect(
      await records.blobOwners.isOwned(message?.blob.key ?? '', new Date(Date.now() + 365 * 86_400_000).toISOString()),
    ).toBe(true);
  });

  test('verifies as a destination does: from the address that connected', async () => {
    await send('ann@a.example', ['bob@b.example'], mail('ann@a.example', 'passes'));
    await send('ann@c.example', ['bob@b.example'], mail('ann@c.example', 'fails'));
    const [failed, passed] = await records.inbox.list({ limit: 2 });
    expect(passed?.authentication).toMatchObject({
      spf: { result: 'pass', domain: 'a.example' },
      dmarc: { result: 'pass', policy: 'reject' },
    });
    expect(failed?.authentication?.spf).toMatchObject({ result: 'fail', domain: 'c.example' });
  });

  test('knows the keys of a domain whose zone stands in the configuration: they are published nowhere else', async () => {
    const { privateKey, selector } = await keys.signingKey('a.example');
    const raw = mail('ann@a.example', 'signed');
    const signature = { signingDomain: 'a.example', selector, privateKey };
    // The types of mailauth name one signature, its code reads a list.
    const { signatures } = await dkimSign(raw, { ...signature, ...{ signatureData: [signature] } });
    await send('ann@a.example', ['bob@b.example'], signatures + raw);
    const [message] = await records.inbox.list({ limit: 1 });
    expect(message?.authentication?.dkim).toMatchObject([
      { result: 'pass', domain: 'a.example', selector, aligned: true },
    ]);
  });

  test('takes the null sender', async () => {
    await send('', ['ann@a.example'], mail('mailer-daemon@a.example', 'bounce'));
    expect((await records.inbox.list({ limit: 1 }))[0]).toMatchObject({ sender: '', subject: 'bounce' });
  });

  test('shows a message that cannot be verified all the same', async () => {
    const raw = `From: ann@a.example\r\nSubject: broken\r\nX-Long: ${'x'.repeat(100_000)}\r\n\r\n`;
    await send('ann@a.example', ['bob@b.example'], raw);
    expect((await records.inbox.list({ limit: 1 }))[0]?.blob.size).toBe(raw.length);
  });

  test('refuses what is over the limit and goes on', async () => {
    const large = mail('ann@a.example', 'large') + randomBytes(200_000).toString('hex').replace(/.{76}/g, '$&\r\n');
    await expect(send('ann@a.example', ['bob@b.example'], large)).rejects.toMatchObject({ responseCode: 552 });
    await send('ann@a.example', ['bob@b.example'], mail('ann@a.example', 'after'));
    expect((await records.inbox.list({ limit: 1 }))[0]?.subject).toBe('after');
  });

  test('keeps the newest and frees the bytes of the others', async () => {
    const [oldest] = (await records.inbox.list({ limit: 500 })).slice(-1);
    const [newest] = await records.inbox.list({ limit: 1 });
    const blob = newest?.blob ?? { key: '', sha256: '', size: 0 };
    for (let index = 0; index < KEPT_MESSAGES; index++) {
      await records.inbox.add({
        receivedAt: new Date().toISOString(),
        sender: '',
        recipients: ['x@y.example'],
        from: null,
        subject: null,
        blob,
        authentication: null,
      });
    }
    await send('ann@a.example', ['bob@b.example'], mail('ann@a.example', 'one more'));
    const kept = await records.inbox.list({ limit: 500 });
    expect(kept).toHaveLength(KEPT_MESSAGES);
    expect(kept[0]?.subject).toBe('one more');
    expect(await records.inbox.get(oldest?.id ?? '')).toBeUndefined();
    expect(await blobs.size(oldest?.blob.key ?? '')).toBeUndefined();
    // Its bytes belong to messages that are still there.
    expect(await blobs.size(blob.key)).toBe(blob.size);
  });
});

describe('it does not start', () => {
  const start = (inboxAddress: Addresses['inbox']) =>
    startInbox({ configuration, addresses: { ...addresses, inbox: inboxAddress }, log });
  test.each(['0.0.0.0', '::', '192.0.2.1', '127.0.0.1.example'])(
    'on %s, since it takes mail for anyone',
    async (host) => {
      await expect(start({ host, port: 0 })).rejects.toMatchObject({ code: 'inbox.not_loopback' });
    },
  );
  test('when it is switched off', async () => {
    await expect(start(null)).rejects.toMatchObject({ code: 'inbox.off' });
  });
  test('on a taken port, and says how to choose another', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    await expect(start({ host: '127.0.0.1', port: (other.address() as AddressInfo).port })).rejects.toMatchObject({
      code: 'inbox.port_taken',
      fix: expect.stringContaining('inbox.port'),
    });
    other.close();
  });
});
