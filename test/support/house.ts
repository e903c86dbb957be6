/** A whole Switchyard for one test file: DNS, a destination, and every process that `switchyard up` starts, on free ports. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startDestination, type Destination, type DestinationOptions } from '../../cli/demo/destination.ts';
import { startDnsServer, type DnsServer } from '../../cli/demo/dns-server.ts';
import {
  createWorld,
  FORWARD_DOMAIN,
  FORWARD_HOST,
  MAILBOX_DOMAIN,
  PLAIN_DOMAIN,
  SIGNED_DOMAIN,
  type World,
} from '../../cli/demo/world.ts';
import { startInstallation, type Installation } from '../../cli/up/installation.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { MailActivity, Records } from '../../stores/records/port.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import { sendMail, type Envelope, type Sent } from './smtp-client.ts';

export interface House {
  folder: string;
  world: World;
  dns: DnsServer;
  destination: Destination;
  installation: Installation;
  records: Records;
  /** Sends from an address that SPF of plain.test allows, unless told otherwise. */
  send(envelope: Partial<Envelope> & { to: string[] }): Promise<Sent>;
  /** The activity record of a recipient's newest message, when it is final. */
  finalRecord(recipient: string): Promise<MailActivity>;
  /** Ends the processes and starts them again on the same state. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface HouseOptions {
  destination?: DestinationOptions;
  /** Merged over the test configuration. */
  mail?: ConfigurationInput['mail'];
  outbound?: ConfigurationInput['outbound'];
  triggers?: ConfigurationInput['triggers'];
  dmarc?: ConfigurationInput['dmarc'];
  /** Other stores, another Temporal server. */
  shared?: Pick<ConfigurationInput, 'records' | 'blobs' | 'temporal'>;
  /** Rules of the forwarding domain beside its own. */
  rules?: { address: string; forward: string[] }[];
  env?: NodeJS.ProcessEnv;
  /** Called with the folder before anything is started. */
  prepare?(folder: string): void;
}

/** Every address of the forwarding domain goes to the same local part at the mailbox domain, through these rules. */
export const LOCAL_PARTS = ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace', 'heidi', 'ivan', 'judy'];
const FINAL_WITHIN_MS = 90_000;

export async function openHouse(options: HouseOptions = {}): Promise<House> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-house-'));
  options.prepare?.(folder);
  const world = await createWorld();
  const dns = await startDnsServer(world.zones);
  const destination = await startDestination({ dns: dns.address, ...options.destination });
  const at = `${destination.host}:${destination.port}`;
  const configuration: ConfigurationInput = {
    hostname: FORWARD_HOST,
    // Zones change while tests run.
    dns: { servers: [dns.address], keep: '0s' },
    outbound: {
      ...options.outbound,
      transport: { [MAILBOX_DOMAIN]: at, [PLAIN_DOMAIN]: at, [SIGNED_DOMAIN]: at, ...options.outbound?.transport },
    },
    inbox: { enabled: false },
    ...(options.triggers ? { triggers: options.triggers } : {}),
    ...(options.dmarc ? { dmarc: options.dmarc } : {}),
    ...options.shared,
    mail: {
      sessionWait: '5s',
      retry: { delays: ['1s'], giveUpAfter: '5d' },
      domains: {
        [FORWARD_DOMAIN]: {
          rules: [
            ...LOCAL_PARTS.map((address) => ({ address, forward: [`${address}@${MAILBOX_DOMAIN}`] })),
            { address: 'both', forward: [`alice@${MAILBOX_DOMAIN}`, `bob@${MAILBOX_DOMAIN}`] },
            { address: 'nothing', drop: true as const },
            ...(options.rules ?? []),
          ],
        },
      },
      ...options.mail,
    },
  };
  await writeFile(join(folder, 'switchyard.yaml'), stringify(configuration));
  const start = () =>
    startInstallation({ folder, anyPort: true, quiet: true, env: { ...process.env, ...options.env } });
  let installation = await start();
  const records = await openRecords(installation.configuration);
  const keys = await openKeys(records, installation.configuration);
  for (const key of await keys.list())
    dns.set(`${key.selector}._domainkey.${key.domain}`, [`TXT v=DKIM1; k=rsa; p=${key.publicKey}`]);

  return {
    folder,
    world,
    dns,
    destination,
    records,
    get installation() {
      return installation;
    },
    send: (envelope) =>
      sendMail(installation.addresses.smtp, {
        from: `sender@${PLAIN_DOMAIN}`,
        source: world.senders.plain.address,
        helo: world.senders.plain.helo,
        message: simpleMessage(envelope.to[0] ?? ''),
        ...envelope,
      }),
    async finalRecord(recipient) {
      const until = Date.now() + FINAL_WITHIN_MS;
      for (;;) {
        const [newest] = await records.activity.list({ recipient, limit: 1 });
        if (newest && newest.outcome !== 'accepted') return newest;
        if (Date.now() > until) throw new Error(`no final record for ${recipient}: ${JSON.stringify(newest)}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async restart() {
      await installation.stop();
      installation = await start();
    },
    async close() {
      await installation.stop();
      await records.close();
      await destination.close();
      await dns.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

let sequence = 0;

/** A small message from the plain sender; each is another message. */
export function simpleMessage(to: string, subject = `Message ${++sequence}`): string {
  return [
    `From: Sender <sender@${PLAIN_DOMAIN}>`,
    `To: <${to}>`,
    `Subject: ${subject}`,
    `Message-ID: <${Date.now()}.${++sequence}@${PLAIN_DOMAIN}>`,
    `Date: ${new Date().toUTCString().replace('GMT', '+0000')}`,
    '',
    'Hello over there.',
    '',
  ].join('\r\n');
}

/** Waits until something holds, for what happens in other processes. */
export async function eventually<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  what: string,
  withinMs = 60_000,
): Promise<T> {
  const until = Date.now() + withinMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > until) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
