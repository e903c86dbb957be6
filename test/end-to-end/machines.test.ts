/**
 * Two machines with one PostgreSQL, one bucket and one Temporal server: a whole Switchyard on each, with nothing between
 * them but those. The work is shared, nothing is done twice, and one of them may die, as may the stores. The Temporal
 * server is a full one on the same PostgreSQL, where that has been built (`npm run fault:mail`, `npm run bench:mail`).
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { startInstallation, type Installation } from '../../cli/up/installation.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import type { MailActivity } from '../../stores/records/port.ts';
import { sharedTemporal } from '../setup/temporal.ts';
import { eventually, LOCAL_PARTS, openHouse, simpleMessage, type House } from '../support/house.ts';
import { hasPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts';
import { hasS3, startS3, type S3Server } from '../support/s3.ts';
import { sendMail } from '../support/smtp-client.ts';
import { hasTemporalServer, startTemporalServer, type TemporalServer } from '../support/temporal-server.ts';

const MESSAGES = 30;
const SENDERS = 6;
const SETTLED_WITHIN_MS = 180_000;

interface Message {
  subject: string;
  to: string;
  body: string;
  reply: string;
}

const TEMPORAL = hasTemporalServer ? 'a full Temporal server' : 'a development server of Temporal';

describe.skipIf(!hasPostgres || !hasS3)(`two machines on one database, one bucket and ${TEMPORAL}`, () => {
  let postgres: PostgresServer;
  let s3: S3Server;
  let full: TemporalServer | undefined;
  let house: House;
  let client: Client;
  let other: Installation;
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-machine-'));

  beforeAll(async () => {
    // Two machines of four processes, and Temporal.
    [postgres, s3] = await Promise.all([startPostgres({ settings: ['max_connections=200'] }), startS3()]);
    process.env.SWITCHYARD_MASTER_KEY = randomBytes(32).toString('base64');
    full = hasTemporalServer ? await startTemporalServer(folder, postgres) : undefined;
    const address = full?.address ?? (await sharedTemporal());
    client = new Client({ connection: await Connection.connect({ address }) });
    house = await openHouse({
      shared: {
        records: postgres.records(),
        blobs: await s3.blobs(),
        temporal: { address, taskQueue: randomUUID() },
      },
      mail: {
        sessionWait: '5s',
        retry: { delays: ['1s'], giveUpAfter: '5d' },
        domains: {
          [FORWARD_DOMAIN]: {
            rules: [
              ...LOCAL_PARTS.map((address) => ({ address, forward: [`${address}@${MAILBOX_DOMAIN}`] })),
              { address: 'direct', forward: [`direct@${MAILBOX_DOMAIN}`], runs: 'deferred' as const },
            ],
          },
        },
      },
    });
    copyFileSync(join(house.folder, 'switchyard.yaml'), join(folder, 'switchyard.yaml'));
    other = await startInstallation({ folder, anyPort: true, quiet: true });
  });
  afterAll(async () => {
    await other?.stop();
    await house?.close();
    await client?.connection.close();
    await full?.close();
    await Promise.all([postgres?.close(), s3?.close()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const newMessages = (what: string): Message[] =>
    Array.from({ length: MESSAGES }, (_, index) => {
      const to = `${LOCAL_PARTS[index % LOCAL_PARTS.length]}@${FORWARD_DOMAIN}`;
      const subject = `${what} ${index}`;
      return { subject, to, body: simpleMessage(to, subject), reply: '' };
    });

  /** What a real sender does: it keeps a message until it has a 250 or a 5xx for it, and tries the other MX next. */
  async function sendAll(messages: Message[], machines: () => Installation[]): Promise<void> {
    const { address: source, helo } = house.world.senders.plain;
    const queue = [...messages.entries()];
    const lane = async () => {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [index, message] = next;
        for (let tries = 0; !/^[25]/.test(message.reply); tries += 1) {
          if (tries > 0) await sleep(300);
          const all = machines();
          const machine = all[(index + tries) % all.length] as Installation;
          const envelope = { from: `sender@${PLAIN_DOMAIN}`, to: [message.to], message: message.body };
          const sent = await sendMail(machine.addresses.smtp, { ...envelope, source, helo }).catch(() => undefined);
          message.reply = sent?.data ?? sent?.rcpt.find((one) => one.startsWith('5')) ?? '';
        }
      }
    };
    await Promise.all(Array.from({ length: SENDERS }, lane));
  }

  async function settled(messages: Message[]): Promise<MailActivity[]> {
    return eventually(
      async () => {
        const records = await house.records.activity.list({ limit: 500 });
        const ours = records.filter((one) => messages.some(({ subject }) => subject === one.subject));
        return ours.length >= messages.length && ours.every((one) => one.outcome !== 'accepted') && ours;
      },
      'every record is final',
      SETTLED_WITHIN_MS,
    );
  }
  const arrivedOf = ({ subject }: Message) =>
    house.destination.received.filter((one) => one.raw.includes(`Subject: ${subject}\r\n`)).length;

  /** Who did the activities of the runs: `switchyard:<store>:<pid>@<host>`. */
  async function workersOf(records: MailActivity[]): Promise<Set<string>> {
    const identities = new Set<string>();
    for (const { workflowId } of records) {
      if (workflowId === null) continue;
      const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
      for (const event of events ?? []) {
        const identity = event.activityTaskStartedEventAttributes?.identity;
        if (identity) identities.add(identity);
      }
    }
    return identities;
  }

  it('share the work and do nothing twice', { timeout: 300_000 }, async () => {
    const messages = newMessages('Shared');
    await sendAll(messages, () => [house.installation, other]);
    const records = await settled(messages);
    for (const message of messages) {
      const record = records.filter((one) => one.subject === message.subject);
      expect([message.subject, message.reply.slice(0, 3), arrivedOf(message)]).toEqual([message.subject, '250', 1]);
      expect(record).toMatchObject([{ outcome: 'delivered', resent: false }]);
    }
    const workers = [...(await workersOf(records))];
    expect(workers.length).toBe(2);
    expect(new Set(workers.map((identity) => identity.split(':')[1])).size).toBe(1);
  });

  it('refuse a machine whose mail would lie in its own folder', { timeout: 120_000 }, async () => {
    const own = mkdtempSync(join(tmpdir(), 'switchyard-foreign-'));
    const {
      records: _records,
      blobs: _blobs,
      ...rest
    } = parse(readFileSync(join(house.folder, 'switchyard.yaml'), 'utf8')) as ConfigurationInput;
    writeFileSync(join(own, 'switchyard.yaml'), stringify(rest));
    await expect(startInstallation({ folder: own, anyPort: true, quiet: true })).rejects.toMatchObject({
      code: 'worker.foreign_store',
      fix: expect.stringContaining('records.postgres and blobs.s3'),
    });
    rmSync(own, { recursive: true });
  });

  it.each([
    ['as a run', 'alice'],
    ['inside the session', 'direct'],
  ])('take the same message at once as one, %s', { timeout: 120_000 }, async (_lane, localPart) => {
    const { address: source, helo } = house.world.senders.plain;
    for (let round = 0; round < 5; round += 1) {
      const to = `${localPart}@${FORWARD_DOMAIN}`;
      const subject = `Same ${localPart} ${round}`;
      const body = simpleMessage(to, subject);
      const replies = await Promise.all(
        [house.installation, other, house.installation, other].map((machine) =>
          sendMail(machine.addresses.smtp, {
            from: `sender@${PLAIN_DOMAIN}`,
            to: [to],
            message: body,
            source,
            helo,
          }),
        ),
      );
      const message = { subject, to, body, reply: '' };
      const [record] = await settled([message]);
      expect(record?.outcome).toBe('delivered');
      expect([subject, arrivedOf(message)]).toEqual([subject, 1]);
      // Whoever could not be told that it is here comes again.
      for (const { data } of replies) expect(data?.slice(0, 3)).toMatch(/250|451/);
      expect(replies.some(({ data }) => data?.startsWith('250'))).toBe(true);
    }
  });

  it('lose nothing when a machine, the database and the bucket die', { timeout: 600_000 }, async () => {
    const messages = newMessages('Faults');
    const machines = [house.installation, other];
    const sending = sendAll(messages, () => machines);
    const accepted = (count: number) =>
      eventually(() => messages.filter(({ reply }) => reply.startsWith('250')).length >= count, `${count} accepted`);
    await accepted(5);
    await postgres.kill();
    await sleep(1_000);
    await postgres.start();
    await accepted(10);
    await s3.kill();
    await sleep(1_000);
    await s3.start();
    await accepted(15);
    // A machine goes, with all of its processes: what it had under way is the other's.
    machines.pop();
    other.kill();
    await sending;
    const records = await settled(messages);
    const twice = messages.filter((message) => arrivedOf(message) > 1);
    console.log(`two machines: ${messages.length} messages with faults, ${twice.length} arrived twice`);
    for (const message of messages) {
      const record = records.find((one) => one.subject === message.subject && one.outcome === 'delivered');
      expect([message.subject, message.reply.slice(0, 3), record?.outcome, arrivedOf(message) > 0]).toEqual([
        message.subject,
        '250',
        'delivered',
        true,
      ]);
      if (arrivedOf(message) > 1) expect([message.subject, record?.resent]).toEqual([message.subject, true]);
    }
  });
});
