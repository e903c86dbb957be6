/** What the sender sees while a part of ours is down, and that nothing is lost or stuck once it is back. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, expect, it } from 'vitest';
import { FORWARD_DOMAIN, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../cli/demo/world.ts';
import type { RunFile } from '../../cli/up/run-file.ts';
import { eventually, openHouse, simpleMessage, type House } from '../support/house.ts';
import { openDisk, type Disk } from '../support/small-disk.ts';

let house: House | undefined;
const undo: (() => void)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0)) step();
  await house?.close();
  house = undefined;
});

const to = `alice@${FORWARD_DOMAIN}`;
const arrived = (subject: string): number =>
  house?.destination.received.filter(
    (one) => one.raw.includes(`Subject: ${subject}\r\n`) && one.recipients.includes(`alice@${MAILBOX_DOMAIN}`),
  ).length ?? 0;
const pidOf = (name: string): number => {
  const found = house?.installation.processes.find((one) => one.name === name);
  if (!found) throw new Error(`${name} does not run`);
  return found.pid;
};

/** Sends until there is a 250, as a sender with a queue does. */
async function sendUntilTaken(message: string): Promise<string> {
  return eventually(async () => {
    const { data } = (await house?.send({ to: [to], message }).catch(() => undefined)) ?? {};
    return data?.startsWith('250') ? data : undefined;
  }, 'a 250');
}

it('Temporal server stopped: 451, and the message sent again arrives once', async () => {
  house = await openHouse({ mail: { sessionWait: '2s' } });
  const message = simpleMessage(to, 'While Temporal stood still');
  const pid = pidOf('temporal');
  process.kill(pid, 'SIGSTOP');
  undo.push(() => process.kill(pid, 'SIGCONT'));
  expect((await house.send({ to: [to], message })).data).toMatch(/^451 4\.3\.0 /);
  process.kill(pid, 'SIGCONT');
  undo.pop();
  await sendUntilTaken(message);
  expect((await house.finalRecord(to)).outcome).toBe('delivered');
  expect(arrived('While Temporal stood still')).toBe(1);
});

it('worker stopped: 451, and the run that was started delivers once it is back', async () => {
  house = await openHouse({ mail: { sessionWait: '2s' } });
  const message = simpleMessage(to, 'While the worker stood still');
  const pid = pidOf('worker');
  process.kill(pid, 'SIGSTOP');
  undo.push(() => process.kill(pid, 'SIGCONT'));
  expect((await house.send({ to: [to], message })).data).toMatch(/^451 4\.3\.0 /);
  expect(arrived('While the worker stood still')).toBe(0);
  process.kill(pid, 'SIGCONT');
  undo.pop();
  expect((await house.finalRecord(to)).outcome).toBe('delivered');
  expect((await house.send({ to: [to], message })).data).toMatch(/^250 /);
  expect(arrived('While the worker stood still')).toBe(1);
});

it('records locked: 451 in the session, and all is well after', async () => {
  house = await openHouse();
  const database = new DatabaseSync(join(house.installation.configuration.state, 'records.sqlite'));
  database.exec('PRAGMA busy_timeout = 10000; BEGIN EXCLUSIVE');
  undo.push(() => database.close());
  const message = simpleMessage(to, 'While the records were locked');
  const { rcpt, data } = await house.send({ to: [to], message });
  expect(data ?? rcpt[0]).toMatch(/^451 4\.3\.0 /);
  database.exec('ROLLBACK');
  await sendUntilTaken(message);
  expect((await house.finalRecord(to)).outcome).toBe('delivered');
  expect(arrived('While the records were locked')).toBe(1);
});

const NO_MOUNT = 'skipped: a full disk is shown with a tmpfs, which only root can mount';

/** A small tmpfs at a folder of a state that does not exist yet. */
function smallDisk(...path: string[]): { disk: () => Disk | undefined; prepare(folder: string): void } {
  let disk: Disk | undefined;
  return {
    disk: () => (disk?.isMounted ? disk : undefined),
    prepare(folder) {
      disk = openDisk(join(folder, '.switchyard', ...path), path.length > 0 ? 2 : 64);
      undo.push(() => disk?.remove());
    },
  };
}

it('blob store full, then read-only: 452, and the next message that fits is taken', async (context) => {
  const { disk, prepare } = smallDisk('blobs');
  house = await openHouse({ prepare });
  if (!disk()) {
    console.log(NO_MOUNT);
    return context.skip();
  }
  const large = `${simpleMessage(to, 'Too large for the disk')}${`${'x'.repeat(998)}\r\n`.repeat(3_000)}`;
  expect((await house.send({ to: [to], message: large })).data).toMatch(/^452 4\.3\.1 /);
  expect((await house.send({ to: [to], message: simpleMessage(to, 'Fits') })).data).toMatch(/^250 /);

  const blobs = join(house.installation.configuration.state, 'blobs');
  execFileSync('mount', ['-o', 'remount,ro', blobs]);
  const message = simpleMessage(to, 'While the disk was read-only');
  expect((await house.send({ to: [to], message })).data).toMatch(/^452 4\.3\.1 /);
  execFileSync('mount', ['-o', 'remount,rw', blobs]);
  expect((await house.send({ to: [to], message })).data).toMatch(/^250 /);
  expect([arrived('Fits'), arrived('While the disk was read-only')]).toEqual([1, 1]);
});

it('state folder full while a process dies: it is started again, and mail is taken once there is room', async (context) => {
  const { disk, prepare } = smallDisk();
  house = await openHouse({ prepare });
  if (!disk()) {
    console.log(NO_MOUNT);
    return context.skip();
  }
  const killed = pidOf('smtp');
  disk()?.fill({});
  process.kill(killed, 'SIGKILL');
  const again = await eventually(
    () => house?.installation.processes.find(({ name, pid }) => name === 'smtp' && pid !== killed)?.pid,
    'another smtp',
  );
  const message = simpleMessage(to, 'While the state folder was full');
  const { data } = (await house.send({ to: [to], message }).catch(() => undefined)) ?? {};
  expect(data ?? '451').toMatch(/^45/);
  disk()?.free({});
  await sendUntilTaken(message);
  expect((await house.finalRecord(to)).outcome).toBe('delivered');
  expect(arrived('While the state folder was full')).toBe(1);
  // The next start must find what runs.
  const runFile = join(house.installation.configuration.state, 'run.json');
  await eventually(
    () => (JSON.parse(readFileSync(runFile, 'utf8')) as RunFile).pids.smtp?.pid === again,
    'the new process is written down',
  );
});

it('destination hanging: the session has its 250 in time, and other destinations are not delayed', async () => {
  house = await openHouse({ mail: { sessionWait: '3s' }, outbound: { dataTimeout: '5s' } });
  house.destination.behave(`alice@${MAILBOX_DOMAIN}`, { does: 'hang', times: 1 });
  const hanging = house.send({ to: [to], message: simpleMessage(to, 'Into the void') });
  const other = await house.send({ to: [`bob@${FORWARD_DOMAIN}`] });
  expect(other.data).toMatch(/^250 .*Delivered/);
  expect((await hanging).data).toMatch(/^250 .*Queued/);
  expect(await house.finalRecord(to)).toMatchObject({ outcome: 'delivered', resent: true });
  expect(arrived('Into the void')).toBe(1);
});

it('a session cut in the middle of DATA leaves nothing behind', async () => {
  house = await openHouse();
  const { openSmtp } = await import('../support/smtp-client.ts');
  const client = await openSmtp(house.installation.addresses.smtp, house.world.senders.plain.address);
  for (const line of ['EHLO mail.plain.test', `MAIL FROM:<sender@${PLAIN_DOMAIN}>`, `RCPT TO:<${to}>`, 'DATA'])
    await client.command(line);
  client.raw(simpleMessage(to, 'Half a message'));
  client.close();
  expect((await house.send({ to: [to], message: simpleMessage(to, 'A whole one') })).data).toMatch(/^250 /);
  const records = await house.records.activity.list({});
  expect(records.map((record) => record.subject)).toEqual(['A whole one']);
});
