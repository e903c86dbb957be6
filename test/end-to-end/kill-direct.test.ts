/**
 * Forty messages in the direct lane while smtp, worker, Temporal server and destination are killed with SIGKILL and
 * started again. The senders are what real senders are: they keep a message until they have a 250 or a 5xx for it.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import { eventually, LOCAL_PARTS, openHouse, simpleMessage, type House } from '../support/house.ts';

const MESSAGES = 40;
const SENDERS = 6;
/** Each of the four is killed this often, in turn. */
const ROUNDS = 3;
const BETWEEN_KILLS_MS = 1_500;
/** How long the destination thinks before it answers. */
const THINKING_MS = 300;
const SETTLED_WITHIN_MS = 240_000;

let house: House;
let destination: ChildProcess;
let port: number;
let log: string;

async function startDestination(): Promise<void> {
  destination = fork(
    join(import.meta.dirname, '../support/destination-process.ts'),
    [String(port), house.dns.address, log, String(THINKING_MS)],
    {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  );
  await once(destination, 'message');
}

interface Message {
  subject: string;
  to: string;
  body: string;
  state: 'waiting' | 'sending' | 'accepted' | 'refused';
  reply: string | null;
}

beforeAll(async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  port = (probe.address() as AddressInfo).port;
  probe.close();
  const at = `127.0.0.1:${port}`;
  house = await openHouse({
    mail: { runs: 'deferred', limits: { verification: '2s' } },
    outbound: { transport: { [MAILBOX_DOMAIN]: at, [PLAIN_DOMAIN]: at }, dataTimeout: '10s', connectTimeout: '5s' },
  });
  log = join(house.folder, 'arrivals.jsonl');
  await startDestination();
});
afterAll(async () => {
  destination?.kill('SIGKILL');
  await house?.close();
});

it('lose nothing, and mark what arrived twice', { timeout: 600_000 }, async () => {
  const messages: Message[] = Array.from({ length: MESSAGES }, (_, i) => {
    const to = `${LOCAL_PARTS[i % LOCAL_PARTS.length]}@${FORWARD_DOMAIN}`;
    const subject = `Kill test ${i}`;
    return { subject, to, body: simpleMessage(to, subject), state: 'waiting', reply: null };
  });

  const send = async (message: Message): Promise<void> => {
    while (message.state !== 'accepted' && message.state !== 'refused') {
      message.state = 'sending';
      const sent = await house.send({ to: [message.to], message: message.body }).catch(() => undefined);
      const last = sent?.data ?? sent?.rcpt[0] ?? '';
      message.reply = last;
      if (last.startsWith('250') && sent?.data) message.state = 'accepted';
      else if (last.startsWith('5')) message.state = 'refused';
      else {
        message.state = 'waiting';
        await sleep(500);
      }
    }
  };
  const queue = [...messages];
  const senders = Array.from({ length: SENDERS }, async () => {
    for (let message = queue.shift(); message; message = queue.shift()) {
      await send(message);
      await sleep(300);
    }
  });

  const somethingCommitting = async (): Promise<boolean> => {
    const open = await house.records.activity.list({ outcome: 'accepted', limit: 500 });
    const deliveries = await Promise.all(open.map((record) => house.records.deliveries.list(record.id)));
    return deliveries.flat().some((delivery) => delivery.state === 'committing');
  };
  let allSent = false;
  const sending = Promise.all(senders).then(() => (allSent = true));
  let kills = 0;
  let between = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ['smtp', 'worker', 'temporal', 'destination']) {
      // The worst moment there is: the final dot is on its way and nobody has the answer yet.
      if (name === 'smtp')
        await eventually(
          async () => allSent || (await somethingCommitting()),
          'a delivery between its final dot and the answer',
        );
      else await sleep(BETWEEN_KILLS_MS + Math.floor((BETWEEN_KILLS_MS * ((round * 7 + kills * 3) % 10)) / 10));
      if (allSent) break;
      const open = await house.records.activity.list({ outcome: 'accepted', limit: 500 });
      const stored = new Set(open.map((record) => record.subject));
      if (messages.some((one) => one.state === 'sending' && stored.has(one.subject))) between += 1;
      if (name === 'destination') {
        destination.kill('SIGKILL');
        await once(destination, 'exit');
        await startDestination();
      } else {
        const running = house.installation.processes.find((one) => one.name === name);
        if (running) process.kill(running.pid, 'SIGKILL');
      }
      kills += 1;
    }
  }
  await sending;

  const until = Date.now() + SETTLED_WITHIN_MS;
  let records = await house.records.activity.list({ limit: 500 });
  while (records.some((record) => record.outcome === 'accepted') && Date.now() < until) {
    await sleep(500);
    records = await house.records.activity.list({ limit: 500 });
  }
  const arrivals = existsSync(log)
    ? readFileSync(log, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { subject: string; sender: string })
    : [];
  const arrivedOf = (subject: string): number =>
    arrivals.filter((one) => one.sender !== '' && one.subject === subject).length;
  const twice = messages.filter((one) => arrivedOf(one.subject) > 1);
  console.log(
    `kill test, direct lane: ${kills} kills, ${between} of them between 'stored' and 'answered'; ${messages.filter((one) => one.state === 'accepted').length} of ${MESSAGES} accepted, ` +
      `${messages.filter((one) => arrivedOf(one.subject) > 0).length} arrived, ${twice.length} of them twice`,
  );

  expect(records.filter((record) => record.outcome === 'accepted')).toEqual([]);
  for (const message of messages) {
    const record = records.find((one) => one.subject === message.subject);
    expect([message.subject, message.state]).toEqual([message.subject, 'accepted']);
    expect([message.subject, record?.outcome, arrivedOf(message.subject) > 0]).toEqual([
      message.subject,
      'delivered',
      true,
    ]);
    if (arrivedOf(message.subject) > 1) expect([message.subject, record?.resent]).toEqual([message.subject, true]);
  }
  expect(between).toBeGreaterThan(0);
  expect(twice.length).toBeGreaterThan(0);
});
