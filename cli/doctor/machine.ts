/** The machine: Node, the state folder, free space, the clock. */
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf } from '../../protocols/errors.ts';
import { hasRecords, openRecords, type RecordsConfiguration } from '../../stores/records/open.ts';
import { fail, ok, warn, type Check, type Finding } from './check.ts';

/** Type stripping and node:sqlite as we use them. */
const NODE_MAJOR = 24;
/** Records, the Temporal database and some thousands of messages. */
const LOW_SPACE = 2 * 1_073_741_824;
/** Less does not hold a day of anything. */
const NO_SPACE = 256 * 1_048_576;
/** NTP keeps clocks within milliseconds; a minute back is a clock that was set. */
const CLOCK_TOLERANCE_MS = 60_000;

/** @param version as in `process.versions.node` */
export function checkNode(version: string = process.versions.node): Finding {
  if (Number(version.split('.')[0]) >= NODE_MAJOR) return ok('Node', version);
  return fail(
    'Node',
    `this is Node ${version}`,
    `Install Node ${NODE_MAJOR} from https://nodejs.org, or start with npm start, which brings it.`,
  );
}

export const checkState: Check = async ({ configuration: { state } }) => {
  const name = 'state folder';
  if (!existsSync(state))
    return [warn(name, `${state} is not there yet`, 'It is made by the first start: switchyard up')];
  const { mode } = statSync(state);
  if (!statSync(state).isDirectory())
    return [fail(name, `${state} is a file`, 'Move it away, or name another folder with `state` in switchyard.yaml.')];
  try {
    const probe = join(state, `.doctor-${process.pid}`);
    writeFileSync(probe, 'probe', { mode: 0o600 });
    rmSync(probe);
  } catch (error) {
    return [
      fail(
        name,
        `${state} cannot be written: ${messageOf(error)}`,
        'Give it to the user that Switchyard runs as, on a file system that is writable and not full.',
      ),
    ];
  }
  if ((mode & 0o077) !== 0)
    return [
      warn(
        name,
        `${state} can be read by others (mode ${(mode & 0o777).toString(8)})`,
        `It holds mail and keys: chmod 700 ${state}`,
      ),
    ];
  return [ok(name, state)];
};

export const checkDisk: Check = async ({ configuration: { state } }) => {
  const folder = existsSync(state) ? state : dirname(state);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const found = `${(free / 1_073_741_824).toFixed(1)} GiB free for ${folder}`;
  const fix =
    'Free some space, or move the state folder to a larger disk (`state` in switchyard.yaml). A full disk answers senders 452.';
  if (free < NO_SPACE) return [fail('disk', found, fix)];
  return [free < LOW_SPACE ? warn('disk', found, fix) : ok('disk', found)];
};

/** The records know a time that has been. */
export const checkClock: Check = async ({ configuration, running }) => {
  const known = [running?.startedAt, await newestRecord(configuration)].filter((time) => time !== undefined);
  const newest = Math.max(0, ...known.map((time) => Date.parse(time)));
  const behind = newest - Date.now();
  if (behind > CLOCK_TOLERANCE_MS) {
    const found = `it is ${new Date().toISOString()} here, but something was written at ${new Date(newest).toISOString()}`;
    return [fail('clock', found, 'Set the clock (timedatectl set-ntp true): signatures and retries depend on it.')];
  }
  return [ok('clock', new Date().toISOString())];
};

async function newestRecord(configuration: RecordsConfiguration): Promise<string | undefined> {
  if (!hasRecords(configuration)) return undefined;
  try {
    const records = await openRecords(configuration);
    return await records.activity
      .list({ limit: 1 })
      .then(([row]) => row?.receivedAt)
      .finally(() => records.close());
  } catch {
    // The check of the records says why.
    return undefined;
  }
}
