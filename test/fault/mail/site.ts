/**
 * What the faults befall: one machine or several, each a `switchyard up` as a process of its own; a destination; a name
 * server; and, where asked for, a database, a bucket and a Temporal server that the machines share.
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startDnsServer } from '../../../cli/demo/dns-server.ts';
import { createWorld, FORWARD_DOMAIN, FORWARD_HOST, MAILBOX_DOMAIN, PLAIN_DOMAIN } from '../../../cli/demo/world.ts';
import { freePort } from '../../../cli/up/ports.ts';
import type { Endpoint } from '../../../stores/configuration/addresses.ts';
import type { Configuration, ConfigurationInput } from '../../../stores/configuration/schema.ts';
import { loadConfiguration } from '../../../stores/configuration/load.ts';
import { openInTurn } from '../../support/in-turn.ts';
import type { DestinationSettings, LoggedArrival } from '../../support/destination-process.ts';
import { startPostgres, type PostgresServer } from '../../support/postgres.ts';
import { startS3 } from '../../support/s3.ts';
import { kill, Machine, MACHINE_PARTS, type MachinePart } from './machine.ts';
import { startSharedTemporal, type SharedTemporal } from './shared-temporal.ts';

export type Part = MachinePart | 'destination' | 'postgres' | 's3';

/** Something that may be killed. */
export interface Target {
  /** `smtp`, or `smtp two` where there are several machines. */
  name: string;
  part: Part;
  /** With SIGKILL. @returns false where it does not run now */
  kill(): Promise<boolean>;
  /** Starts again what nobody else does. */
  revive?(): Promise<void>;
}

export interface Lane {
  lane: 'run' | 'direct';
  postgres: boolean;
  s3: boolean;
  /** `own`: the development server that `up` starts. `postgres`: a full one, on the same PostgreSQL as the records. */
  temporal: 'own' | 'postgres';
  /** More than one needs the shared stores and the shared Temporal server. */
  machines: number;
}

export const LOCAL_PARTS = ['alice', 'bob', 'carol', 'dave', 'erin', 'grace', 'heidi', 'ivan', 'judy'];
export const TEAM = ['team', '2team', '3team'];
export const MACHINE_NAMES = ['one', 'two', 'three', 'four'];

export interface Site {
  /** Of the first machine. */
  configuration: Configuration;
  /** Where the sender brings its mail. */
  smtp: Endpoint;
  postgres: PostgresServer | undefined;
  temporal: SharedTemporal | undefined;
  sender: { from: string; source: string; helo: string };
  targets: Target[];
  arrivals(): LoggedArrival[];
  /** Process ids by the names of targets, and of the supervisors, as they are now. */
  pids(): Record<string, number>;
  /** Sessions that each machine was given, by its name; undefined for a single one. */
  sessions(): Record<string, number> | undefined;
  /** What died although nobody killed it. */
  deaths(): string[];
  /** Ends the machines with grace, and the destination; the stores stay. @returns the worst exit status */
  end(): Promise<number | null>;
  close(): Promise<void>;
}

const HOST = '127.0.0.1';
const DESTINATION = join(import.meta.dirname, '../../support/destination-process.ts');
/** Of the database: four processes a machine with ten connections each, and Temporal's. */
const CONNECTIONS = 200;

/**
 * @param folder of the site; what the machines keep is in `.switchyard` there
 * @param marker an environment variable that every process of the site has, so that a leak is seen
 */
export async function openSite(folder: string, seed: number, options: Lane, marker: string): Promise<Site> {
  const world = await createWorld();
  const dns = await startDnsServer(world.zones);
  const postgres = options.postgres ? await startPostgres({ settings: [`max_connections=${CONNECTIONS}`] }) : undefined;
  const s3 = options.s3 ? await startS3() : undefined;
  const temporal =
    options.temporal === 'postgres' && postgres ? await startSharedTemporal(folder, postgres) : undefined;
  // Their secrets came into this process's environment.
  const environment = {
    ...process.env,
    [marker]: '1',
    ...(options.machines > 1 && { SWITCHYARD_MASTER_KEY: randomBytes(32).toString('base64') }),
  };
  const destination = new DestinationProcess(environment, {
    port: await freePort(HOST),
    seed,
    log: join(folder, 'arrivals.jsonl'),
  });
  const shared: ConfigurationInput = {
    hostname: FORWARD_HOST,
    logLevel: 'warn',
    dns: { servers: [dns.address] },
    ...(postgres && { records: postgres.records() }),
    ...(s3 && { blobs: await s3.blobs() }),
    inbox: { enabled: false },
    outbound: {
      transport: { [MAILBOX_DOMAIN]: destination.at, [PLAIN_DOMAIN]: destination.at },
      connectionsPerDestination: 40,
      connectTimeout: '5s',
      dataTimeout: '10s',
    },
  };
  const names = MACHINE_NAMES.slice(0, options.machines);
  const several = names.length > 1;
  const machines: Placed[] = [];
  for (const name of names) {
    const own = several ? { folder: join(folder, name), state: join('..', '.switchyard', name) } : { folder };
    machines.push(await place(name, own, shared, options.lane, temporal?.address, environment));
  }
  await Promise.all([destination.start(), ...machines.map(({ machine }) => machine.start())]);
  const entrance = several ? await openInTurn(machines.map(({ smtp }) => smtp)) : undefined;
  const [first] = machines;
  if (!first) throw new Error('a site has one machine at least');

  const named = (part: string, name: string): string => (several ? `${part} ${name}` : part);
  const targets: Target[] = [
    { name: 'destination', part: 'destination', kill: () => destination.kill(), revive: () => destination.start() },
  ];
  for (const { name, machine } of machines)
    for (const part of MACHINE_PARTS.filter((one) => one !== 'temporal' || !temporal))
      targets.push({
        name: named(part, name),
        part,
        kill: () => machine.kill(part),
        // The others are started again by their supervisor.
        ...((part === 'supervisor' || part === 'everything') && { revive: () => machine.startAgain() }),
      });
  if (temporal) targets.push({ name: 'temporal', part: 'temporal', kill: temporal.kill, revive: temporal.startAgain });
  for (const [part, store] of [
    ['postgres', postgres],
    ['s3', s3],
  ] as const)
    if (store) targets.push({ name: part, part, kill: () => store.kill().then(() => true), revive: store.start });
  return {
    configuration: first.configuration,
    smtp: entrance ?? first.smtp,
    postgres,
    temporal,
    sender: {
      from: `sender@${PLAIN_DOMAIN}`,
      source: world.senders.plain.address,
      helo: world.senders.plain.helo,
    },
    targets,
    arrivals: () => destination.arrivals(),
    pids: () => ({
      ...Object.fromEntries(
        machines.flatMap(({ name, machine }) =>
          Object.entries(machine.pids()).map(([part, pid]) => [named(part, name), pid]),
        ),
      ),
      ...livingOf({ temporal, postgres, s3, destination }),
    }),
    sessions: () =>
      entrance && Object.fromEntries(machines.map(({ name }, index) => [name, entrance.taken[index] ?? 0])),
    deaths: () => [
      ...machines.flatMap(({ name, machine }) => machine.deaths().map((line) => (several ? `${name}: ${line}` : line))),
      ...(temporal?.deaths ?? []),
    ],
    async end() {
      const statuses = await Promise.all(machines.map(({ machine }) => machine.end()));
      await destination.kill();
      const [bad = 0] = statuses.filter((status) => status !== 0);
      return bad;
    },
    async close() {
      entrance?.close();
      for (const { machine } of machines) machine.killAll();
      await destination.kill();
      await temporal?.close();
      await Promise.all([postgres?.close(), s3?.close(), dns.close()]);
    },
  };
}

interface Placed {
  name: string;
  machine: Machine;
  configuration: Configuration;
  smtp: Endpoint;
}

/** A folder with its configuration. Named ports never move: the sender finds the same ones after every start. */
async function place(
  name: string,
  { folder, state }: { folder: string; state?: string },
  shared: ConfigurationInput,
  lane: Lane['lane'],
  temporal: string | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<Placed> {
  const port = () => freePort(HOST);
  const smtp = { host: HOST, port: await port() };
  const configuration: ConfigurationInput = {
    ...shared,
    ...(state !== undefined && { state }),
    http: { port: await port() },
    temporal: temporal === undefined ? { port: await port(), uiPort: await port() } : { address: temporal },
    metrics: { workerPort: await port(), smtpPort: await port() },
    mail: mailOf(lane, smtp),
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'switchyard.yaml'), stringify(configuration));
  const loaded = await loadConfiguration({ folder });
  mkdirSync(loaded.state, { recursive: true, mode: 0o700 });
  return { name, machine: new Machine(folder, loaded.state, environment), configuration: loaded, smtp };
}

function mailOf(lane: Lane['lane'], listen: Endpoint): ConfigurationInput['mail'] {
  const rule = (address: string) => ({ address, forward: [`${address}@${MAILBOX_DOMAIN}`] });
  return {
    listen,
    runs: lane === 'run' ? 'always' : 'deferred',
    // Of runs: long enough for first attempts inside the workflow task.
    sessionWait: lane === 'run' ? '16s' : '5s',
    limits: { verification: '5s' },
    retry: { delays: ['1s', '2s'], giveUpAfter: '5d' },
    domains: { [FORWARD_DOMAIN]: { rules: [...LOCAL_PARTS, ...TEAM].map(rule) } },
  };
}

function livingOf(servers: Record<string, { pid(): number } | undefined>): Record<string, number> {
  const pids = Object.entries(servers).map(([name, server]): [string, number] => [name, server?.pid() ?? 0]);
  return Object.fromEntries(pids.filter(([, pid]) => pid > 0));
}

class DestinationProcess {
  readonly at: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #settings: DestinationSettings;
  #process: ChildProcess | undefined;

  constructor(environment: NodeJS.ProcessEnv, settings: DestinationSettings) {
    this.at = `${HOST}:${settings.port}`;
    this.#environment = environment;
    this.#settings = settings;
    process.on('exit', () => this.#process?.kill('SIGKILL'));
  }

  async start(): Promise<void> {
    const settings = { ...this.#settings, seed: this.#settings.seed++ };
    this.#process = fork(DESTINATION, [JSON.stringify(settings)], {
      env: this.#environment,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await once(this.#process, 'message');
  }

  kill(): Promise<boolean> {
    return kill(this.#process);
  }

  pid(): number {
    return this.#process?.pid ?? 0;
  }

  arrivals(): LoggedArrival[] {
    const { log } = this.#settings;
    if (!existsSync(log)) return [];
    const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as LoggedArrival);
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
