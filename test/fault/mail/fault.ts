/**
 * The fault run: a real sender sends while parts are killed at random, the disk fills once and the destination takes
 * its time; then what was promised is held against what happened.
 */
import { randomUUID } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FORWARD_DOMAIN } from '../../../cli/demo/world.ts';
import { openRecords } from '../../../stores/records/open.ts';
import type { Records } from '../../../stores/records/port.ts';
import { randomNumbers } from '../../protocols/random.ts';
import { openDisk, type Disk } from '../../support/small-disk.ts';
import { examineBlobs } from './blobs.ts';
import { REVIVED_AFTER } from './machine.ts';
import { ProcessorTime } from './processor-time.ts';
import { reckon, type Kill, type RecordEvidence, type Report } from './reckoning.ts';
import { startSender, type Load, type Sender } from './sender.ts';
import { sharesOf } from './shares.ts';
import { LOCAL_PARTS, openSite, processesWith, TEAM, type Lane, type Part, type Site, type Target } from './site.ts';

export interface FaultOptions extends Lane {
  messages: number;
  /** About how long the sender takes to hand all of them in, and the faults go on. */
  seconds: number;
  seed: number;
  /** Keep logs and records though no promise broke. */
  keep?: boolean;
  /** A line of progress. */
  say(line: string): void;
}

export interface FaultReport extends Report {
  seed: number;
  lane: Lane['lane'];
  stores: { records: 'sqlite' | 'postgres'; blobs: 'folder' | 's3' };
  temporal: Lane['temporal'];
  machines: number;
  messages: number;
  /** CPU seconds by part, from the first message until everything was settled. */
  cpu: Record<string, number>;
  /** How the disk was filled. */
  disk: string;
  /** Of the faults, and until everything was settled. */
  seconds: { faults: number; settling: number };
  /** Where its files are, when a promise broke. */
  kept: string | null;
}

/** How often each is drawn; of several machines any. */
const WEIGHTS: Record<Part, number> = {
  smtp: 6,
  worker: 6,
  temporal: 4,
  destination: 4,
  postgres: 4,
  s3: 3,
  http: 1,
  supervisor: 1,
  everything: 1,
};
/** ms between two kills, from when mail flows again after the last one; or after so long, whatever flows. */
const BETWEEN_KILLS = { from: 300, to: 2_500 };
const PATIENCE = 10_000;
/** Share of the messages that have their answer when the kills end: without mail under way they prove nothing. */
const ENOUGH = 0.9;
/** ms for which the disk stays full. */
const FULL_FOR = { from: 4_000, to: 8_000 };
/** ms for the last retries, restarts after 30 s of patience, and the sweep, which looks at what is older than two minutes. */
const SETTLED_WITHIN = 420_000;
const PROGRESS_EVERY = 5_000;
/** ms between two notes of the CPU: what a killed part took since the last one is not counted. */
const NOTE_EVERY = 1_000;
/** Bodies: most are held in memory by a session, every tenth message goes through the store. */
const SIZES = { usual: 2_000, large: 400_000 };
/** What a machine writes without any mail, and for each message. */
const DISK_MEGABYTES = { base: 128, message: 0.5 };

export async function runFault(options: FaultOptions): Promise<FaultReport> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-fault-'));
  const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
  const closeAll = async () => {
    for (const close of closing.splice(0).reverse()) await close();
  };
  // Ctrl-C leaves no disk mounted and no postfix running.
  const interrupted = () => void closeAll().finally(() => process.exit(INTERRUPTED));
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    return await runIn(folder, options, closing);
  } finally {
    await closeAll();
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

/** Exit status: 128 + SIGINT. */
const INTERRUPTED = 130;

/** @param closing what is to be done afterwards, last one first */
async function runIn(folder: string, options: FaultOptions, closing: (() => unknown)[]): Promise<FaultReport> {
  const marker = `SWITCHYARD_FAULT_${randomUUID().replaceAll('-', '')}`;
  const megabytes = DISK_MEGABYTES.base * options.machines + DISK_MEGABYTES.message * options.messages;
  const disk = openDisk(join(folder, '.switchyard'), megabytes);
  closing.push(() => disk.remove());
  const site = await openSite(folder, options.seed, options, marker);
  closing.push(() => site.close());
  const records = await openRecords(site.configuration);
  closing.push(() => records.close());
  const sender = await startSender(join(folder, 'postfix'), { relay: site.smtp, ...site.sender });
  closing.push(() => sender.close());

  const run = new FaultRun(options, site, sender, records, disk);
  const seconds = await run.go();
  options.say('settled; reckoning');
  sender.close();
  const recorded = await allRecords(records);
  const exitStatus = await site.end();
  const report = reckon({
    attempts: sender.attempts,
    arrivals: site.arrivals(),
    records: recorded,
    kills: run.kills,
    shares: await sharesOf(site, options.lane, recorded, run.cpu),
    unanswered: sender.taken() - sender.finished(),
    blobs: await examineBlobs(site, records),
    leaked: processesWith(marker),
    deaths: site.deaths(),
    exitStatus,
  });
  const { seed, lane, messages, temporal, machines } = options;
  const stores = {
    records: options.postgres ? ('postgres' as const) : ('sqlite' as const),
    blobs: options.s3 ? ('s3' as const) : ('folder' as const),
  };
  return {
    ...{ seed, lane, stores, temporal, machines, messages, disk: disk.how, seconds, cpu: run.cpu.seconds() },
    ...report,
    kept: options.keep || report.broken.length > 0 ? keep(folder) : null,
  };
}

/** What tells how it came to that. */
function keep(folder: string): string {
  const kept = `${folder}-kept`;
  const names = readdirSync(folder).filter((name) => name !== 'postfix' && name !== 'temporal');
  for (const name of [...names, join('postfix', 'mail.log')])
    cpSync(join(folder, name), join(kept, name), { recursive: true });
  return kept;
}

class FaultRun {
  readonly kills: Kill[] = [];
  readonly cpu = new ProcessorTime();
  readonly #options: FaultOptions;
  readonly #site: Site;
  readonly #sender: Sender;
  readonly #records: Records;
  readonly #disk: Disk;
  readonly #random: (limit: number) => number;
  readonly #began = Date.now();
  /** Parts that somebody is about to start again. */
  readonly #reviving = new Map<string, Promise<void>>();
  #submitted = false;
  #full = false;

  constructor(options: FaultOptions, site: Site, sender: Sender, records: Records, disk: Disk) {
    this.#options = options;
    this.#site = site;
    this.#sender = sender;
    this.#records = records;
    this.#disk = disk;
    this.#random = randomNumbers(options.seed);
  }

  async go(): Promise<FaultReport['seconds']> {
    const progress = setInterval(() => this.#options.say(this.#progressLine()), PROGRESS_EVERY);
    const noting = setInterval(() => this.cpu.note(this.#site.pids()), NOTE_EVERY);
    try {
      const submitting = this.#sender
        .submit(loadsOf(this.#options.messages), this.#options.seconds)
        .finally(() => (this.#submitted = true));
      await Promise.all([submitting, this.#killAtRandom(), this.#fillOnce()]);
      const faults = Date.now();
      await Promise.all(this.#reviving.values());
      await this.#settle();
      return {
        faults: Math.round((faults - this.#began) / 1_000),
        settling: Math.round((Date.now() - faults) / 1_000),
      };
    } finally {
      clearInterval(progress);
      clearInterval(noting);
    }
  }

  async #killAtRandom(): Promise<void> {
    while (this.#goesOn()) {
      await this.#mailFlows();
      await sleep(this.#between(BETWEEN_KILLS));
      const target = this.#draw();
      const { name } = target;
      // What starts just now is left to it; what needs it may be killed meanwhile.
      if (this.#reviving.has(name) || this.#reviving.has(name.replace('everything', 'supervisor'))) continue;
      const open = await openMessages(this.#records);
      this.cpu.note(this.#site.pids());
      const at = Date.now();
      if (!(await target.kill())) continue;
      this.kills.push({ at, part: name, open });
      const reviving = sleep(REVIVED_AFTER)
        .then(() => target.revive?.())
        .finally(() => this.#reviving.delete(name));
      this.#reviving.set(name, reviving);
    }
  }

  #goesOn(): boolean {
    const { seconds } = this.#options;
    if (!this.#submitted) return true;
    const isLate = Date.now() > this.#began + 2 * seconds * 1_000;
    return !isLate && this.#sender.finished() < ENOUGH * this.#sender.taken();
  }

  async #mailFlows(): Promise<void> {
    const last = this.kills.at(-1)?.at ?? this.#began;
    for (const until = Date.now() + PATIENCE; Date.now() < until && this.#goesOn(); await sleep(100))
      if (this.#sender.attempts.some(({ at, end }) => at > last && end === 'sent')) return;
  }

  async #fillOnce(): Promise<void> {
    const { seconds } = this.#options;
    // Somewhere in the middle third.
    await sleep((seconds / 3 + this.#random(Math.ceil(seconds / 3))) * 1_000);
    this.#full = true;
    this.#disk.fill(this.#site.pids());
    this.#options.say('the disk is full');
    await sleep(this.#between(FULL_FOR));
    this.#disk.free(this.#site.pids());
    this.#full = false;
    this.#options.say('the disk has room again');
  }

  async #settle(): Promise<void> {
    for (const until = Date.now() + SETTLED_WITHIN; Date.now() < until; await sleep(500)) {
      if (this.#sender.finished() < this.#sender.taken()) continue;
      const open = await openMessages(this.#records);
      if (open?.size === 0) return;
    }
  }

  #draw(): Target {
    const { targets } = this.#site;
    const parts = [...new Set(targets.map(({ part }) => part))];
    let roll = this.#random(parts.reduce((sum, part) => sum + WEIGHTS[part], 0));
    const drawn = parts.find((part) => (roll -= WEIGHTS[part]) < 0);
    const all = targets.filter(({ part }) => part === drawn);
    return all[this.#random(all.length)] as Target;
  }

  #between({ from, to }: { from: number; to: number }): number {
    return from + this.#random(to - from);
  }

  #progressLine(): string {
    const { attempts } = this.#sender;
    const up = Object.keys(this.#site.pids()).filter((name) =>
      ['smtp', 'worker', 'temporal'].includes(name.replace(/ (?!guard).*/, '')),
    );
    return [
      `${String(Math.round((Date.now() - this.#began) / 1_000)).padStart(4)} s`,
      `${this.#sender.finished()} of ${this.#sender.taken()} messages answered`,
      `${attempts.filter(({ end }) => end === 'deferred').length} kept by the sender`,
      `${this.#site.arrivals().length} arrivals`,
      `${this.kills.length} kills`,
      `running: ${up.join(' ') || 'nothing'}${this.#full ? ', disk full' : ''}`,
    ].join('  ');
  }
}

/** Ten streams, of which one has three recipients a message and one is large. */
function loadsOf(messages: number): Load[] {
  const streams: Omit<Load, 'messages'>[] = [
    ...LOCAL_PARTS.map((name, index) => ({
      to: `${name}@${FORWARD_DOMAIN}`,
      size: index === 1 ? SIZES.large : SIZES.usual,
    })),
    { to: `${TEAM[0]}@${FORWARD_DOMAIN}`, recipients: TEAM.length, size: SIZES.usual },
  ];
  return streams
    .map((stream, index) => ({
      ...stream,
      messages: Math.floor(messages / streams.length) + (index < messages % streams.length ? 1 : 0),
    }))
    .filter((load) => load.messages > 0);
}

const PAGE = 500;

async function allRecords({ activity, deliveries }: Records): Promise<RecordEvidence[]> {
  const all: RecordEvidence[] = [];
  let page = await activity.list({ limit: PAGE });
  while (page.length > 0) {
    for (const record of page) all.push({ ...record, deliveries: await deliveries.list(record.id) });
    page = await activity.list({ limit: PAGE, before: page.at(-1)?.id });
  }
  return all;
}

/** Message-IDs of the open records, or null where the store cannot be asked just now. */
async function openMessages({ activity }: Records): Promise<Set<string> | null> {
  const open = await activity.list({ outcome: 'accepted', limit: PAGE }).catch(() => undefined);
  return open ? new Set(open.map(({ headerMessageId }) => headerMessageId ?? '')) : null;
}
