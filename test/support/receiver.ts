/**
 * The receiver by itself, in this process: sessions, the guard, the store, the verification and the policy are real,
 * every recipient of `own.test` is dropped, and nobody listens where Temporal should be.
 */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startDnsServer, type DnsServer, type DnsServerOptions } from '../../cli/demo/dns-server.ts';
import { createWorld, PLAIN_DOMAIN, type World } from '../../cli/demo/world.ts';
import { createLog } from '../../servers/log.ts';
import { startSmtp } from '../../servers/smtp/server.ts';
import { Configuration, type ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { Records } from '../../stores/records/port.ts';
import { openSmtp, sendMail, stuffed, type Envelope, type Sent } from './smtp-client.ts';

export const OWN_DOMAIN = 'own.test';
export const OWN_HOST = 'mx.own.test';

export interface Receiver {
  endpoint: { host: string; port: number };
  records: Records;
  dns: DnsServer;
  world: World;
  /** From an address that SPF of plain.test allows. */
  send(envelope: Partial<Envelope>): Promise<Sent>;
  /** Files of messages that are being written. */
  unfinished(): Promise<string[]>;
  close(): Promise<void>;
}

export async function startReceiver(
  options: { mail?: ConfigurationInput['mail']; lie?: DnsServerOptions['lie'] } = {},
): Promise<Receiver> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-receiver-'));
  const world = await createWorld();
  const dns = await startDnsServer(world.zones, { lie: options.lie });
  const configuration = Configuration.parse({
    hostname: OWN_HOST,
    state: folder,
    mail: options.mail,
    dns: { servers: [dns.address], timeout: '500ms', keep: '0s' },
  });
  const records = await openRecords(configuration);
  await records.rules.put(
    { domain: OWN_DOMAIN, localPart: '*', action: { type: 'drop' }, source: 'api' },
    'the test, which owns it',
  );
  const endpoint = { host: '127.0.0.1', port: await freePort() };
  const none = { host: '127.0.0.1', port: 0 };
  const server = await startSmtp({
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
  const sender = world.senders.plain;
  return {
    endpoint,
    records,
    dns,
    world,
    send: (envelope) =>
      sendMail(endpoint, {
        from: `sender@${PLAIN_DOMAIN}`,
        to: [`someone@${OWN_DOMAIN}`],
        source: sender.address,
        helo: sender.helo,
        message: GOOD,
        ...envelope,
      }),
    unfinished: () => readdir(join(folder, 'blobs', '.incoming')),
    async close() {
      await server.close();
      await records.close();
      await dns.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A message in order, from plain.test. */
export const GOOD = `From: Sender <sender@${PLAIN_DOMAIN}>\r\nTo: someone@${OWN_DOMAIN}\r\nSubject: Hello\r\n\r\nHello.\r\n`;

/** What happened while something else went on. */
export interface Bystander {
  /** The longest wait for an answer, ms. */
  worst: number;
  replies: string[];
}

/** Another session that sends a message in order again and again while `work` runs. */
export async function besides<Result>(
  receiver: Receiver,
  work: () => Promise<Result>,
): Promise<{ result: Result; bystander: Bystander }> {
  const { address, helo } = receiver.world.senders.plain;
  const client = await openSmtp(receiver.endpoint, address);
  await client.command(`EHLO ${helo}`);
  const bystander: Bystander = { worst: 0, replies: [] };
  let over = false;
  const message = stuffed(GOOD);
  const going = (async () => {
    while (!over) {
      const began = performance.now();
      await client.command(`MAIL FROM:<sender@${PLAIN_DOMAIN}>`);
      await client.command(`RCPT TO:<bystander@${OWN_DOMAIN}>`);
      await client.command('DATA');
      client.raw(message);
      bystander.replies.push(await client.reply());
      bystander.worst = Math.max(bystander.worst, performance.now() - began);
    }
    client.close();
  })();
  try {
    return { result: await work(), bystander };
  } finally {
    over = true;
    await going;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
