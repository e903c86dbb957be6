/**
 * Reports of the past through the real job: distinct small ones about several domains over a year, in a folder, by the
 * command, the worker and the Temporal server of an installation. Then the same again, which must publish nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { FORWARD_DOMAIN } from '../../cli/demo/world.ts';
import type { Job } from '../../stores/records/jobs-port.ts';
import { openHouse, type House } from '../../test/support/house.ts';
import { startPostgres, type PostgresServer } from '../../test/support/postgres.ts';
import { usageOf } from '../../test/support/processes.ts';
import { DAY, messagesOf, report, SMALL_MOST } from './reports.ts';

const DOMAINS = Array.from({ length: 5 }, (_, number) => `domain${number}.example`);
const DAYS = 365;
/** Hosts that send for a domain, as services do; one record in 50 is from somewhere else, as forgers are. */
const HOSTS = 200;
const ALL_DAYS = { from: '2000-01-01', to: '2099-12-31' };
const LOOK_EVERY = 200;
const TENTHS = 10;

interface Past {
  records: number;
  messages: number;
}

/** @param options.keep folder in which the SQLite file is left */
export async function measureImport(
  reports: number,
  options: { postgres: boolean; keep: string | undefined },
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-bench-import-'));
  const postgres = options.postgres
    ? await startPostgres({ settings: ['fsync=on', 'full_page_writes=on'] })
    : undefined;
  let house: House | undefined;
  try {
    console.error(`Writing ${reports.toLocaleString('en')} reports ...`);
    const past = createPast(folder, reports);
    house = await openHouse({ shared: postgres && { records: postgres.records() } });
    for (const [number, domain] of DOMAINS.entries())
      await house.records.dmarc.domains.put(domain, `reports-${number}@${FORWARD_DOMAIN}`, 'bench');
    const first = await importOnce(folder, house, postgres);
    await check(house, reports, past);
    const again = await importOnce(folder, house, postgres);
    await check(house, reports, past);
    if (!again.words.startsWith('nothing new')) throw new Error(`the second import says: ${again.words}`);
    if (options.keep && !postgres) leave(house, options.keep);
    return wordsOf(reports, past, { first, again, store: postgres ? 'PostgreSQL' : 'SQLite' });
  } finally {
    await house?.close();
    await postgres?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes them, by domain and month. */
export function createPast(folder: string, reports: number): Past {
  const today = Math.floor(Date.now() / 1_000 / DAY) * DAY;
  const past: Past = { records: 0, messages: 0 };
  const made = new Set<string>();
  for (let number = 0; number < reports; number += 1) {
    const domain = DOMAINS[number % DOMAINS.length] ?? '';
    const begin = today - (1 + (Math.floor(number / DOMAINS.length) % DAYS)) * DAY;
    const count = 1 + (number % SMALL_MOST);
    const reporter = `receiver${Math.floor(number / DOMAINS.length / DAYS)}.test`;
    const source = (place: number): string => {
      const at = number * 31 + place;
      if (at % 50 === 0) return `${11 + (at % 89)}.${(at >> 8) % 256}.${at % 251}.${(at >> 4) % 256}`;
      return `203.${number % DOMAINS.length}.113.${1 + ((at * 7) % HOSTS)}`;
    };
    const xml = [...report(number, count, { domain, reporter, begin, source })].join('');
    const place = join(folder, domain, new Date(begin * 1_000).toISOString().slice(0, 7));
    if (!made.has(place)) mkdirSync(place, { recursive: true });
    made.add(place);
    writeFileSync(join(place, `${reporter}!${domain}!${begin}!${begin + DAY - 1}!${number}.xml.gz`), gzipSync(xml));
    past.records += count;
    for (let at = 0; at < count; at += 1) past.messages += messagesOf(number, at);
  }
  return past;
}

interface Run {
  /** From the command to its end, and of the job alone. */
  seconds: number;
  jobSeconds: number;
  words: string;
  /** Most MB of the worker, by tenths of the way. */
  memory: number[];
  /** CPU ms by part. */
  cpu: Record<string, number>;
}

async function importOnce(folder: string, house: House, postgres: PostgresServer | undefined): Promise<Run> {
  const { processes } = house.installation;
  const worker = processes.find(({ name }) => name === 'worker');
  if (!worker) throw new Error('there is no worker');
  const cpuNow = () => ({
    ...Object.fromEntries(processes.map(({ name, pid }) => [name, usageOf([pid]).cpu])),
    ...(postgres && { postgres: usageOf([postgres.pid()]).cpu }),
  });
  const before: Record<string, number> = cpuNow();
  const known = new Set((await house.records.jobs.list({})).map(({ id }) => id));
  const memory = new Array<number>(TENTHS).fill(0);
  const start = performance.now();
  const command = spawn(process.execPath, [resolve('cli/main.ts'), 'dmarc', 'import', folder], {
    cwd: house.folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  let status: number | undefined;
  void once(command, 'exit').then(([code]) => (status = code as number));
  let job: Job | undefined;
  while (status === undefined) {
    await sleep(LOOK_EVERY);
    job = (await house.records.jobs.list({})).find(({ id }) => !known.has(id));
    const { done = 0, total = null } = job?.progress ?? {};
    if (!job || job.endedAt !== null || !total) continue;
    const tenth = Math.min(Math.floor((done / total) * TENTHS), TENTHS - 1);
    memory[tenth] = Math.max(memory[tenth] ?? 0, usageOf([worker.pid]).memory / 1_000_000);
  }
  const seconds = (performance.now() - start) / 1_000;
  if (status !== 0 || !job?.endedAt || !job.startedAt) throw new Error(`the import ended with status ${status}`);
  const cpu = Object.fromEntries(
    Object.entries(cpuNow()).map(([name, after]) => [name, (after as number) - (before[name] ?? 0)]),
  );
  const jobSeconds = (Date.parse(job.endedAt) - Date.parse(job.startedAt)) / 1_000;
  return { seconds, jobSeconds, words: job.progress?.words ?? '', memory, cpu };
}

async function check({ records: { dmarc } }: House, reports: number, past: Past): Promise<void> {
  const all = await Promise.all(DOMAINS.map((domain) => dmarc.queries.totals({ domain, ...ALL_DAYS })));
  const sum = (of: 'reports' | 'messages') => all.reduce((whole, one) => whole + one[of], 0);
  const found = { reports: sum('reports'), messages: sum('messages') };
  const wanted = { reports, messages: past.messages };
  const quarantined = await dmarc.quarantine.count({});
  if (JSON.stringify(found) !== JSON.stringify(wanted) || quarantined > 0)
    throw new Error(
      `published is ${JSON.stringify(found)} (${quarantined} in quarantine), not ${JSON.stringify(wanted)}`,
    );
}

/** A whole database in one file, with what is in its log. */
function leave({ installation }: House, folder: string): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'records.sqlite');
  rmSync(file, { force: true });
  const database = new DatabaseSync(join(installation.configuration.state, 'records.sqlite'));
  database.exec(`vacuum into '${file.replaceAll("'", "''")}'`);
  database.close();
}

function wordsOf(
  reports: number,
  past: Past,
  { first, again, store }: { first: Run; again: Run; store: string },
): string {
  const figure = (count: number) => Math.round(count).toLocaleString('en');
  const cpu = (run: Run) =>
    Object.entries(run.cpu)
      .map(([name, ms]) => `${name} ${(ms / reports).toFixed(2)}`)
      .join(', ');
  const line = (name: string, run: Run) =>
    `| ${name} | ${figure(reports / run.jobSeconds)} | ${run.jobSeconds.toFixed(0)} | ${run.seconds.toFixed(0)} | ${run.memory.map(figure).join(' ')} | ${cpu(run)} |\n`;
  return (
    `${figure(reports)} reports (${figure(past.records)} records) about ${DOMAINS.length} domains over ${DAYS} days, ${store}.\n\n` +
    '| | reports/s | job, s | with the copying, s | most MB of the worker, by tenths | CPU ms a report |\n|---|---|---|---|---|---|\n' +
    line('first', first) +
    line('again', again)
  );
}
