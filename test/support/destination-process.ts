/**
 * The destination as a process of its own, so that it can be killed; its argument is a `DestinationSettings` as JSON.
 * What it took is in the log before it answers. How it treats a message depends on the local part of the recipient and
 * on chance.
 */
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDestination, type Arrival, type Behaviour } from '../../cli/demo/destination.ts';
import { randomNumbers } from '../protocols/random.ts';

export interface DestinationSettings {
  port: number;
  /** File of `LoggedArrival`, one a line. */
  log: string;
  seed: number;
}

/** One arrival as it stands in the log. */
export interface LoggedArrival {
  /** With its angle brackets. */
  messageId: string;
  /** '' for a report. */
  sender: string;
  recipients: string[];
  /** Of a non-delivery report: the message that it is about, and the recipients that failed. */
  about: { messageId: string; recipients: string[] } | null;
}

/** What an attempt may meet, in parts of a hundred; what is left is accepted. */
interface Temper {
  refuse?: number;
  defer?: number;
  hang?: number;
  cut?: number;
  /** An answer that comes after so many ms, at random from both bounds. */
  stretch?: { often: number; from: number; to: number };
}

/** How long everybody thinks. */
const THINKING = { from: 100, to: 800 };
const USUAL: Temper = { stretch: { often: 10, from: 2_000, to: 8_000 } };
/** The others are usual. */
const TEMPERS: Record<string, Temper> = {
  grace: { stretch: { often: 30, from: 4_000, to: 14_000 } },
  heidi: { cut: 25, hang: 10 },
  ivan: { defer: 50 },
  judy: { hang: 30, defer: 30, refuse: 40 },
  '2team': { refuse: 50 },
  '3team': { defer: 30, refuse: 30 },
};

/** @param random a number below its argument */
function behaviourOf({ refuse = 0, defer = 0, hang = 0, cut = 0 }: Temper, random: (n: number) => number): Behaviour {
  const at = random(2) === 0 ? 'rcpt' : 'data';
  let roll = random(100);
  if ((roll -= refuse) < 0) return { does: 'refuse', at };
  if ((roll -= defer) < 0) return { does: 'defer', times: Infinity, at };
  if ((roll -= hang) < 0) return { does: 'hang' };
  if ((roll -= cut) < 0) return { does: 'cut' };
  return { does: 'accept' };
}

const temperOf = (address = ''): Temper => TEMPERS[address.slice(0, address.indexOf('@'))] ?? USUAL;

function readArrival({ raw, sender, recipients }: Arrival): LoggedArrival {
  const text = raw.toString('latin1');
  const ids = [...text.matchAll(/^Message-ID:\s*(<[^>\r\n]*>)/gim)].map(([, id]) => id ?? '');
  const failed = [...text.matchAll(/^Original-Recipient:\s*[\w-]+;\s*(\S+)/gim)].map(([, address]) => address ?? '');
  const about = failed.length > 0 ? { messageId: ids.at(-1) ?? '', recipients: failed } : null;
  return { messageId: ids[0] ?? '', sender, recipients, about };
}

if (process.argv[1] === import.meta.filename) {
  const { port, log, seed } = JSON.parse(process.argv[2] ?? '{}') as DestinationSettings;
  const random = randomNumbers(seed);
  await startDestination({
    port,
    others: (recipient) => behaviourOf(temperOf(recipient), random),
    async onArrival(arrival) {
      appendFileSync(log, `${JSON.stringify(readArrival(arrival))}\n`);
      const { stretch } = temperOf(arrival.recipients[0]);
      const { from, to } = stretch && random(100) < stretch.often ? stretch : THINKING;
      // The time in which a kill of somebody else falls between 'stored' and 'answered'.
      await sleep(from + random(to - from));
    },
  });
  process.send?.('ready');
  process.on('disconnect', () => process.exit(0));
}
