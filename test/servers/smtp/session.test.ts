/** The receiver by itself: what a session is told before any run is asked. Nobody listens where Temporal should be. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createLog } from '../../../servers/log.ts';
import type { RunningServer } from '../../../servers/server.ts';
import { sessions } from '../../../servers/smtp/metrics.ts';
import { startSmtp } from '../../../servers/smtp/server.ts';
import { Configuration } from '../../../stores/configuration/schema.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import { eventually } from '../../support/house.ts';
import { openSmtp, sendMail } from '../../support/smtp-client.ts';

const LIMIT = 65_536;
let folder: string;
let records: Records;
let server: RunningServer;
let endpoint: { host: string; port: number };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-smtp-'));
  const configuration = Configuration.parse({
    hostname: 'mx.own.test',
    state: folder,
    mail: { limits: { messageSize: LIMIT } },
    dns: { zones: { 'a.test': ['TXT v=spf1 ip4:127.0.0.1 -all'] } },
  });
  records = await openRecords(configuration);
  for (const [domain, localPart] of [
    ['b.test', 'info'],
    ['b.test', '*'],
    ['c.test', 'postmaster'],
  ] as const)
    await records.rules.put(
      { domain, localPart, action: { type: 'drop' }, source: 'api', enabled: domain !== 'b.test' || localPart !== '*' },
      'test',
    );
  endpoint = { host: '127.0.0.1', port: await freePort() };
  const none = { host: '127.0.0.1', port: 0 };
  server = await startSmtp({
    configuration,
    addresses: {
      temporal: '127.0.0.1:9',
      temporalUi: null,
      smtp: endpoint,
      http: none,
      inbox: none,
      workerMetrics: none,
      smtpMetrics: none,
    } as Parameters<typeof startSmtp>[0]['addresses'],
    log: createLog('test', 'silent'),
  });
});
afterAll(async () => {
  await server?.close();
  await records?.close();
  await rm(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

const message = 'From: <x@a.test>\r\nSubject: Hello\r\n\r\nHello\r\n';
const send = (...to: string[]) => sendMail(endpoint, { from: 'x@a.test', to, message });

it('takes mail for postmaster without a domain, as RFC 5321 asks, for the domain that has one', async () => {
  expect(await send('Postmaster')).toEqual({
    mail: expect.stringMatching(/^250 /),
    rcpt: [expect.stringMatching(/^250 2\.1\.5 /)],
    data: expect.stringMatching(/^250 2\.6\.0 Accepted/),
  });
  expect(await records.activity.list({ recipient: 'Postmaster@c.test' })).toMatchObject([{ outcome: 'dropped' }]);
  const { rcpt, data } = await send('postmaster', 'postmaster@c.test');
  expect([...rcpt, data].every((reply) => reply?.startsWith('250 '))).toBe(true);
  expect(await records.activity.list({ recipient: 'postmaster@c.test' })).toHaveLength(1);
});

it('prefers the postmaster of its own name, falls back to a catch-all, and refuses where nobody is', async () => {
  const put = (domain: string, localPart: string) =>
    records.rules.put({ domain, localPart, action: { type: 'drop' }, source: 'api' }, 'test');
  const own = await put('mx.own.test', 'postmaster');
  await send('postmaster');
  expect(await records.activity.list({ recipient: 'postmaster@mx.own.test' })).toHaveLength(1);
  await records.rules.remove(own.id, 'test');
  const [named] = await records.rules.list('c.test');
  await records.rules.remove(named?.id ?? '', 'test');
  expect((await send('postmaster')).rcpt[0]).toMatch(/^550 5\.1\.1 No rule for postmaster/);
  await put('d.test', '*');
  await send('postmaster');
  expect(await records.activity.list({ recipient: 'postmaster@d.test' })).toHaveLength(1);
});

it('leaves a record of a message that it would not read', async () => {
  const { data } = await sendMail(endpoint, {
    from: 'x@a.test',
    to: ['info@b.test'],
    message: `${message}bare\nLF\r\n`,
  });
  expect(data).toMatch(/^550 5\.5\.2 /);
  expect(await records.activity.list({ recipient: 'info@b.test' })).toMatchObject([
    { outcome: 'rejected', errorCode: 'smtp.bare_newline', reply: { code: 550, enhanced: '5.5.2' }, blob: null },
  ]);
});

it('leaves one record of a day, sender and full report address, however often it comes', async () => {
  const FULL = 'full@b.test';
  await records.dmarc.domains.put('about.test', FULL, 'test');
  const most = { mails: 1_000_000, bytes: 1_000_000, records: 1_000_000 };
  const day = { id: 'day', domain: 'about.test', sender: 'many.test', mails: 10_000, bytes: 0, records: 0 };
  await records.dmarc.intake.take(day, { sender: most, address: most }, new Date().toISOString());
  const sendAs = async (from: string) => (await sendMail(endpoint, { from, to: [FULL], message })).rcpt[0];
  // Each message with a sender of its own (VERP) is the same sender; another domain is not.
  for (const from of ['bounce-1@a.test', 'bounce-2@A.test', 'bounce-2@a.test'])
    expect(await sendAs(from)).toMatch(/^452 4\.2\.2 Reports about about\.test /);
  expect(await records.activity.list({ recipient: FULL })).toMatchObject([
    {
      sender: 'bounce-1@a.test',
      outcome: 'failed',
      errorCode: 'dmarc.over_quota',
      reply: { code: 452, enhanced: '4.2.2' },
      action: { type: 'dmarc', domain: 'about.test' },
      blob: null,
      closedAt: expect.any(String),
    },
  ]);
  await sendAs('x@other.test');
  await sendAs('');
  await sendAs('');
  expect((await records.activity.list({ recipient: FULL })).map(({ sender }) => sender)).toEqual([
    '',
    'x@other.test',
    'bounce-1@a.test',
  ]);
});

it('has no open record of a message that nobody owns: it would be swept before it is delivered', async () => {
  const action = { type: 'forward' as const, destinations: ['y@elsewhere.test'] };
  await records.rules.put({ domain: 'b.test', localPart: 'forward', action, source: 'api' }, 'test');
  const database = new DatabaseSync(join(folder, 'records.sqlite'));
  database.exec("CREATE TRIGGER broken BEFORE INSERT ON blob_owners BEGIN SELECT RAISE(ABORT, 'broken'); END");
  try {
    expect((await send('forward@b.test')).data).toMatch(/^451 4\.3\.0 /);
  } finally {
    database.exec('DROP TRIGGER broken');
    database.close();
  }
  expect(await records.activity.list({ recipient: 'forward@b.test' })).toEqual([]);
});

async function dataOf(bytes: number) {
  const client = await openSmtp(endpoint);
  for (const line of ['EHLO client.test', 'MAIL FROM:<x@a.test>', 'RCPT TO:<info@b.test>', 'DATA'])
    await client.command(line);
  client.raw(message);
  client.raw(`${'x'.repeat(998)}\r\n`.repeat(Math.ceil(bytes / 1_000)));
  return client;
}

it('answers the final dot of a message over the limit, and goes on', async () => {
  const client = await dataOf(LIMIT * 1.5);
  client.raw('.\r\n');
  expect(await client.reply()).toMatch(/^552 5\.3\.4 /);
  expect(await client.command('NOOP')).toMatch(/^250 /);
  client.close();
});

it('shuts out a client whose message has no end', async () => {
  const client = await dataOf(LIMIT * 3);
  expect(await client.reply()).toMatch(/^552 5\.3\.4 /);
  await expect(client.command('NOOP')).rejects.toThrow();
});

it('counts only sessions that it greeted', async () => {
  for (let i = 0; i < 5; i++) {
    const early = connect(endpoint, () => early.destroy());
    early.on('error', () => undefined);
  }
  const client = await openSmtp(endpoint);
  await eventually(async () => (await sessions.get()).values[0]?.value === 1, 'one session');
  client.close();
  await eventually(async () => (await sessions.get()).values[0]?.value === 0, 'no session');
});
