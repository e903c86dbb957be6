/**
 * The demo: a world of its own on loopback, a whole installation in a temporary folder, real messages through it, and
 * each held against what must come of it.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { promises as dns } from 'node:dns';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DNSResolver } from 'mailauth';
import { stringify } from 'yaml';
import { dkimRecord } from '../../protocols/mail/dns-record.ts';
import { runUrl } from '../../servers/temporal.ts';
import type { ConfigurationInput } from '../../stores/configuration/schema.ts';
import { openKeys } from '../../stores/keys/open.ts';
import { openRecords } from '../../stores/records/open.ts';
import type { MailActivity, Records } from '../../stores/records/port.ts';
import { createProgress, silentProgress } from '../progress.mjs';
import { startInstallation, type Installation } from '../up/installation.ts';
import { BEHAVIOURS, bounceToSrs, demoCases, demoRules, sentAgain, type DemoCase } from './cases.ts';
import { check, readBounce, sameAddress, type Difference, type Observation } from './check.ts';
import { startDestination, type Arrival, type Destination } from './destination.ts';
import { startDnsServer, type DnsServer } from './dns-server.ts';
import { lendStores, type LentStores } from './stores.ts';
import { submit, type Told } from './send.ts';
import { createWorld, FORWARD_DOMAIN, FORWARD_HOST, MAILBOX_DOMAIN, SIGNED_DOMAIN, type World } from './world.ts';

export interface DemoOptions {
  /** Configuration file whose database and bucket are used; default: the folder of the demo. */
  stores?: string;
  /** Shows no progress. */
  quiet?: boolean;
  /** Ends a demo that is under way. */
  signal?: AbortSignal;
}

/** One message and what came of it. */
export interface DemoRow {
  case: DemoCase;
  seen: Observation;
  /** What is not as it must be. */
  differences: Difference[];
  /** Workflow ids of its runs, with the page of each in the Temporal UI. */
  runs: { id: string; url: string | null }[];
}

export interface Demo {
  rows: DemoRow[];
  installation: Installation;
  /** The demo zones, our own keys included. */
  zones: DnsServer['zones'];
  /** Everything that arrived anywhere. */
  arrivals: Arrival[];
  /** Time from the first message to the last check, in ms. */
  tookMs: number;
  /** Ends everything that was started and removes the folder. */
  close(): Promise<void>;
}

/** Messages under way at once. */
const LANES = 6;
/** Every message must have come to its end by then; two retries take three seconds. */
const END_CEILING_MS = 60_000;
const LOOK_EVERY_MS = 150;

/** Runs the demo and leaves its installation running until `close`. */
export async function runDemo(options: DemoOptions = {}): Promise<Demo> {
  const progress = options.quiet ? silentProgress : createProgress();
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-demo-'));
  const closing: (() => Promise<void>)[] = [];
  const end = async () => {
    for (const one of closing.splice(0).reverse()) await one();
  };
  const close = async () => {
    await end();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const stores = options.stores === undefined ? undefined : await lendStores(options.stores);
    if (stores) closing.push(() => stores.giveBack(folder));
    const world = await createWorld();
    const names = await startDnsServer(world.zones);
    closing.push(() => names.close());
    const destination = await startDestination({
      name: `mx.${MAILBOX_DOMAIN}`,
      dns: names.address,
      recipients: BEHAVIOURS,
    });
    closing.push(() => destination.close());
    const home = await startDestination({ name: `mx.${SIGNED_DOMAIN}`, dns: names.address });
    closing.push(() => home.close());

    const configurationFile = join(folder, 'switchyard.yaml');
    writeFileSync(configurationFile, stringify(configurationFor(names, destination, home, stores)));
    const installation = await startInstallation({
      folder,
      configurationFile,
      anyPort: true,
      quiet: options.quiet,
      signal: options.signal,
    });
    closing.push(() => installation.stop());
    const records = await openRecords(installation.configuration);
    closing.push(() => records.close());
    await publishKeys(installation, records, names);

    const since = Date.now();
    const step = progress.step('Sending mail until each message came to its end');
    const stage: Stage = {
      world,
      installation,
      records,
      destination,
      home,
      resolver: resolverAt(names.address),
      signal: options.signal,
    };
    const rows = await play(stage, (text) => step.detail(text));
    step.done();
    return {
      rows,
      installation,
      zones: names.zones,
      arrivals: [...destination.received, ...home.received],
      tookMs: Date.now() - since,
      close,
    };
  } catch (error) {
    // The logs of a start that failed say why; the error names them.
    await (options.signal?.aborted ? close() : end());
    throw error;
  }
}

interface Stage {
  world: World;
  installation: Installation;
  records: Records;
  destination: Destination;
  /** Where the senders get their bounces. */
  home: Destination;
  resolver: DNSResolver;
  signal: AbortSignal | undefined;
}

function configurationFor(
  names: DnsServer,
  destination: Destination,
  home: Destination,
  stores: LentStores | undefined,
): ConfigurationInput {
  return {
    hostname: FORWARD_HOST,
    ...(stores && { records: stores.records, blobs: stores.blobs }),
    mail: {
      domains: { [FORWARD_DOMAIN]: { rules: demoRules() } },
      retry: { delays: ['1s', '2s'] },
    },
    dns: { servers: [names.address] },
    outbound: {
      allow: ['127.0.0.1'],
      // The way to the mailboxes goes by MX, the way home by the transport map: both are used.
      port: destination.port,
      transport: { [SIGNED_DOMAIN]: `127.0.0.1:${home.port}` },
    },
    // A server that others use too must not mix up our runs with theirs.
    temporal: { taskQueue: `demo-${process.pid}` },
    inbox: { enabled: false },
  };
}

/** What a person does with the output of `switchyard keys`. */
async function publishKeys({ configuration }: Installation, records: Records, names: DnsServer): Promise<void> {
  for (const key of await (await openKeys(records, configuration)).list()) {
    const { name, value } = dkimRecord(key);
    names.set(name, [`TXT ${value}`]);
  }
}

async function play(stage: Stage, say: (text: string) => void): Promise<DemoRow[]> {
  const started = new Date();
  const first = await demoCases(stage.world, stage.resolver);
  const told = await submitAll(first, stage, say);
  await untilEnded(first, stage, started, say);

  const [signed] = first;
  const forwarded = stage.destination.received.find((one) =>
    signed?.must.arrivals.some(({ to }) => one.recipients.includes(to)),
  );
  const second = [
    ...(signed ? [sentAgain(signed)] : []),
    ...(forwarded && signed ? [await bounceToSrs(stage.world, forwarded.sender, signed.from)] : []),
  ];
  told.push(...(await submitAll(second, stage, say)));
  const all = [...first, ...second];
  await untilEnded(all, stage, started, say);
  const observe = await observer(stage, started);
  return all.map((one, index) => {
    const seen = observe(one, told[index] as Told | Error);
    return { case: one, seen, differences: check(one, seen), runs: runsOf(seen.records, stage.installation) };
  });
}

async function submitAll(
  cases: DemoCase[],
  { installation, signal }: Stage,
  say: (text: string) => void,
): Promise<(Told | Error)[]> {
  const results: (Told | Error)[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < cases.length; index = next++) {
      signal?.throwIfAborted();
      results[index] = await submit(installation.addresses.smtp, cases[index] as DemoCase).catch(
        (error: Error) => error,
      );
      say(`${results.filter(Boolean).length} of ${cases.length} sent`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return results;
}

/** Waits until every record that the cases must leave is final, or the ceiling is reached. */
async function untilEnded(
  cases: DemoCase[],
  { records, signal }: Stage,
  started: Date,
  say: (text: string) => void,
): Promise<void> {
  const recipients = cases.flatMap((one) => Object.keys(one.must.outcomes));
  const ceiling = Date.now() + END_CEILING_MS;
  while (Date.now() < ceiling) {
    const rows = await records.activity.list({ since: started.toISOString(), limit: 500 });
    const open = recipients.filter(
      (to) => !rows.some((row) => sameAddress(row.recipient, to) && row.outcome !== 'accepted'),
    );
    if (open.length === 0) return;
    say(`${open.length} still under way`);
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

/** Sorts records, arrivals and bounces by the message that they belong to. */
async function observer({ records, destination, home }: Stage, started: Date) {
  const rows = await records.activity.list({ since: started.toISOString(), limit: 500 });
  const bounces = (await Promise.all(home.received.map(readBounce))).filter((one) => one !== undefined);
  const forwarded = [
    ...destination.received,
    ...home.received.filter((one) => !bounces.some(({ arrival }) => arrival === one)),
  ];
  return ({ to, must, message }: DemoCase, told: Told | Error): Observation => ({
    told,
    records: rows.filter((row) => to.some((one) => sameAddress(one, row.recipient))),
    // Whatever carries the message belongs to it, also where it should not have gone.
    arrivals: forwarded.filter(
      (one) =>
        one.raw.subarray(-message.length).equals(message) || must.arrivals.some((wanted) => arrivedAt(one, wanted.to)),
    ),
    attempts: (destinationAddress) => destination.attempts(destinationAddress),
    bounces: bounces.filter(({ arrival }) => arrival.raw.includes(messageId(message))),
  });
}

function arrivedAt(arrival: Arrival, address: string): boolean {
  return arrival.recipients.some((one) => sameAddress(one, address));
}

function messageId(message: Buffer): string {
  return /^Message-ID: (<[^>]*>)/m.exec(message.toString('latin1'))?.[1] ?? 'no message id';
}

function runsOf(records: MailActivity[], { addresses, configuration }: Installation): DemoRow['runs'] {
  return records.flatMap(({ workflowId: id }) =>
    id === null ? [] : [{ id, url: runUrl(addresses, configuration.temporal.namespace, id) }],
  );
}

function resolverAt(server: string): DNSResolver {
  const resolver = new dns.Resolver();
  resolver.setServers([server]);
  return (name, type) => resolver.resolve(name, type) as Promise<string[]>;
}

/** Writes what arrived, as `<n>.eml`, and the zones as `zones.json`, for a second implementation to verify. */
export function saveArrivals(demo: Pick<Demo, 'arrivals' | 'zones'>, folder: string): void {
  mkdirSync(folder, { recursive: true });
  demo.arrivals.forEach(({ raw }, index) =>
    writeFileSync(join(folder, `${String(index + 1).padStart(2, '0')}.eml`), raw),
  );
  writeFileSync(join(folder, 'zones.json'), `${JSON.stringify(demo.zones(), null, 2)}\n`);
}
