/**
 * What the faults befall: `switchyard up` as a process of its own, whose processes are killed by the numbers that it
 * writes down; a destination; a name server; and, where asked for, a database and a bucket.
 */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { startDnsServer } from '../../../cli/demo/dns-server.ts';
import { createWorld, FORWARD_DOMAIN, FORWARD_HOST, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../../cli/demo/world.ts';
import { isAlive } from '../../../cli/up/birth.ts';
import { freePort } from '../../../cli/up/ports.ts';
import type { RunFile } from '../../../cli/up/run-file.ts';
import { RUN_FILE } from '../../../stores/configuration/addresses.ts';
import type { Configuration, ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { loadConfiguration } from '../../../stores/configuration/load.ts';
import type { DestinationSettings, LoggedArrival } from '../../support/destination-process.ts';
import { startPostgres, type PostgresServer } from '../../support/postgres.ts';
import { startS3, type S3Server } from '../../support/s3.ts';

/** What may be killed. `supervisor` is `up` itself; `everything` is all of it at once, as at a power cut. */
export const PARTS = [
  'smtp',
  'worker',
  'temporal',
  'destination',
  'postgres',
  's3',
  'http',
  'supervisor',
  'everything',
] as const;
export type Part = (typeof PARTS)[number];

export interface Lane {
  lane: 'run' | 'direct';
  postgres: boolean;
  s3: boolean;
}

export const LOCAL_PARTS = ['alice', 'bob', 'carol', 'dave', 'erin', 'grace', 'heidi', 'ivan', 'judy'];
export const TEAM = ['team', '2team', '3team'];

export interface Site {
  configuration: Configuration;
  smtp: { host: string; port: number };
  postgres: PostgresServer | undefined;
  s3: S3Server | undefined;
  sender: { from: string; source: string; helo: string };
  /** Kills a part with SIGKILL. @returns false where it does not run now */
  kill(part: Part): Promise<boolean>;
  /** Starts again what nobody else does, after a while. */
  revive(part: Part): Promise<void>;
  arrivals(): LoggedArrival[];
  /** Process ids by part, as they are now. */
  pids(): Record<string, number>;
  /** What died although nobody killed it, in the words of `up`. */
  deaths(): string[];
  /** Ends `up` with grace, and the destination; the stores stay. @returns its exit status */
  end(): Promise<number | null>;
  close(): Promise<void>;
}

/** ms that `up` has for a start on a busy machine. */
const STARTED_WITHIN = 120_000;
/** ms for an end with grace: those of the processes one after another. */
const ENDED_WITHIN = 90_000;
/** ms that a service manager waits before it starts a process again. */
const REVIVED_AFTER = 500;
const HOST = '127.0.0.1';
const MAIN = join(import.meta.dirname, '../../../cli/main.ts');
const DESTINATION = join(import.meta.dirname, '../../support/destination-process.ts');

/** @param marker an environment variable that every process of the site has, so that a leak is seen */
export async function openSite(folder: string, seed: number, options: Lane, marker: string): Promise<Site> {
  const environment = { ...process.env, [marker]: '1' };
  const world = await createWorld();
  const dns = await startDnsServer(world.zones);
  const postgres = options.postgres ? await startPostgres() : undefined;
  const s3 = options.s3 ? await startS3() : undefined;
  // Their secrets came into this process's environment.
  Object.assign(environment, process.env, { [marker]: '1' });
  const port = async () => freePort(HOST);
  const destinationPort = await port();
  const smtp = { host: HOST, port: await port() };
  const at = `${HOST}:${destinationPort}`;
  const rule = (address: string) => ({ address, forward: [`${address}@${MAILBOX_DOMAIN}`] });
  const configuration: ConfigurationInput = {
    hostname: FORWARD_HOST,
    logLevel: 'warn',
    dns: { servers: [dns.address] },
    ...(postgres && { records: postgres.records() }),
    ...(s3 && { blobs: await s3.blobs() }),
    // Named ports never move: the sender finds the same one after every start.
    http: { port: await port() },
    temporal: { port: await port(), uiPort: await port() },
    metrics: { workerPort: await port(), smtpPort: await port() },
    inbox: { enabled: false },
    outbound: {
      transport: { [MAILBOX_DOMAIN]: at, [PLAIN_DOMAIN]: at },
      connectionsPerDestination: 40,
      connectTimeout: '5s',
      dataTimeout: '10s',
    },
    mail: {
      listen: smtp,
      runs: options.lane === 'run' ? 'always' : 'deferred',
      // Of runs: long enough for first attempts inside the workflow task.
      sessionWait: options.lane === 'run' ? '16s' : '5s',
      limits: { verification: '5s' },
      retry: { delays: ['1s', '2s'], giveUpAfter: '5d' },
      domains: { [FORWARD_DOMAIN]: { rules: [...LOCAL_PARTS, ...TEAM].map(rule) } },
    },
  };
  writeFileSync(join(folder, 'switchyard.yaml'), stringify(configuration));
  const loaded = await loadConfiguration({ folder });
  mkdirSync(loaded.state, { recursive: true, mode: 0o700 });
  const site = new RunningSite(folder, loaded, environment, { port: destinationPort, seed });
  await Promise.all([site.startUp(STARTED_WITHIN), site.startDestination()]);
  return Object.assign(site, {
    configuration: loaded,
    smtp,
    postgres,
    s3,
    sender: {
      from: `sender@${PLAIN_DOMAIN}`,
      source: world.senders.plain.address,
      helo: world.senders.plain.helo,
    },
    async kill(part: Part) {
      if (part === 'postgres' || part === 's3') {
        const store = part === 'postgres' ? postgres : s3;
        await store?.kill();
        return store !== undefined;
      }
      return part === 'destination' ? site.killDestination() : site.killProcess(part);
    },
    async revive(part: Part) {
      await sleep(REVIVED_AFTER);
      if (part === 'postgres') await postgres?.start();
      if (part === 's3') await s3?.start();
      if (part === 'destination') await site.startDestination();
      if (part === 'supervisor' || part === 'everything') await site.startUpAgain();
    },
    async close() {
      site.killAll();
      await Promise.all([postgres?.close(), s3?.close(), dns.close()]);
    },
  });
}

class RunningSite {
  readonly #folder: string;
  readonly #state: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #destination: DestinationSettings;
  #destinationProcess: ChildProcess | undefined;
  #up: ChildProcess | undefined;
  #ending = false;
  #said = '';

  constructor(
    folder: string,
    { state }: Configuration,
    environment: NodeJS.ProcessEnv,
    destination: Omit<DestinationSettings, 'log'>,
  ) {
    this.#folder = folder;
    this.#state = state;
    this.#environment = environment;
    this.#destination = { ...destination, log: join(folder, 'arrivals.jsonl') };
    process.on('exit', () => this.killAll());
  }

  async startUp(withinMs: number): Promise<void> {
    const args = [MAIN, 'up', '--json', '--no-editor'];
    const up = spawn(process.execPath, args, {
      cwd: this.#folder,
      env: this.#environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#up = up;
    up.stderr.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    const late = setTimeout(() => up.kill('SIGKILL'), withinMs);
    const [started] = (await Promise.race([once(up.stdout, 'data'), once(up, 'exit')])) as [Buffer | number | null];
    clearTimeout(late);
    if (!Buffer.isBuffer(started)) throw new Error(`up ended with ${started}:\n${this.#said.slice(-2_000)}`);
    up.on('exit', (code, signal) => {
      if (signal === 'SIGKILL' || this.#ending) return;
      this.#said += `\n  the supervisor ended (${signal ?? `status ${code}`})\n`;
      void sleep(REVIVED_AFTER).then(() => this.startUpAgain());
    });
  }

  /** As a service manager does: until it runs. What it needs may be away just now. */
  async startUpAgain(): Promise<void> {
    while (!this.#ending) {
      try {
        return await this.startUp(STARTED_WITHIN);
      } catch {
        await sleep(REVIVED_AFTER);
      }
    }
  }

  async startDestination(): Promise<void> {
    const settings = { ...this.#destination, seed: this.#destination.seed++ };
    this.#destinationProcess = fork(DESTINATION, [JSON.stringify(settings)], {
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await once(this.#destinationProcess, 'message');
  }

  async killDestination(): Promise<boolean> {
    return kill(this.#destinationProcess);
  }

  async killProcess(part: Part): Promise<boolean> {
    const pids = this.pids();
    if (part === 'everything') {
      for (const pid of Object.values(pids)) end(pid);
      return kill(this.#up);
    }
    if (part === 'supervisor') return kill(this.#up);
    const pid = pids[part];
    return pid !== undefined && end(pid);
  }

  pids(): Record<string, number> {
    try {
      const { pids } = JSON.parse(readFileSync(join(this.#state, RUN_FILE), 'utf8')) as RunFile;
      const living = Object.entries(pids).filter(([, identity]) => isAlive(identity));
      return Object.fromEntries(living.map(([name, { pid }]) => [name, pid]));
    } catch {
      return {};
    }
  }

  deaths(): string[] {
    const lines = this.#said.split('\n').filter((line) => /\bended \(/.test(line) && !line.includes('SIGKILL'));
    return lines.map((line) => line.trim());
  }

  arrivals(): LoggedArrival[] {
    const { log } = this.#destination;
    if (!existsSync(log)) return [];
    const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as LoggedArrival);
  }

  async end(): Promise<number | null> {
    this.#ending = true;
    const up = this.#up;
    let status: number | null = null;
    if (up && up.exitCode === null && up.signalCode === null) {
      const ended = once(up, 'exit');
      const late = setTimeout(() => up.kill('SIGKILL'), ENDED_WITHIN);
      up.kill('SIGTERM');
      [status] = (await ended) as [number | null];
      clearTimeout(late);
    }
    await kill(this.#destinationProcess);
    return status;
  }

  killAll(): void {
    this.#ending = true;
    for (const pid of Object.values(this.pids())) end(pid);
    this.#up?.kill('SIGKILL');
    this.#destinationProcess?.kill('SIGKILL');
  }
}

/** Resolves once it has ended; false when it had before. */
async function kill(child: ChildProcess | undefined): Promise<boolean> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return false;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  return true;
}

function end(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

/** Command lines of the processes that have the variable, which all of a site inherit. */
export function processesWith(marker: string): string[] {
  const found = execFileSync('sh', ['-c', `grep -lz "^${marker}=" /proc/[0-9]*/environ 2>/dev/null || true`], {
    encoding: 'utf8',
  });
  return found
    .split('\n')
    .filter(Boolean)
    .flatMap((path) => {
      try {
        const line = readFileSync(path.replace('environ', 'cmdline'), 'utf8').replaceAll('\0', ' ').trim();
        return line === '' ? [] : [`${/\d+/.exec(path)?.[0]} ${line.slice(0, 200)}`];
      } catch {
        return [];
      }
    });
}
