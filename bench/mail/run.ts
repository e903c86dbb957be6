/**
 * `npm run bench:mail`: Switchyard beside its peers, in turn, on the same machine with the same sender, name server and
 * sink. Writes the table to the terminal and table and figures to `bench/results/`.
 *
 *     npm run bench:mail                 all rows, several turns, medians
 *     npm run bench:mail -- --quick      20 sessions, one turn
 *     npm run bench:mail -- --only machines    two machines on PostgreSQL, S3 and a full Temporal server
 *     npm run bench:mail -- --only direct --sessions 20 --messages 2000 --turns 3
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { machine, machineLine, median } from '../machine.ts';
import type { Candidate, Running } from './candidate.ts';
import { haraka } from './haraka.ts';
import { type LoadOptions, send } from './send.ts';
import { machines } from './machines.ts';
import { postfix } from './postfix.ts';
import { usageOf } from '../../test/support/processes.ts';
import { switchyard } from './switchyard.ts';
import { startWorld, type World } from './world.ts';

interface Row {
  sessions: number;
  messages: number;
  size: number;
}
interface Figures extends Row {
  candidate: string;
  /** Messages a second, until the last one was in the sink. */
  rate: number;
  p50: number;
  p99: number;
  /** CPU ms a message, in all and by part. */
  cpu: number;
  parts: Record<string, number>;
  /** Resident MB at the end. */
  memory: number;
  /** Messages that were refused or never arrived. */
  lost: number;
  refusal: string | null;
}

const CANDIDATES: Candidate[] = [
  switchyard('direct'),
  haraka,
  switchyard('direct, unsigned'),
  postfix,
  switchyard('run'),
];
/** Measured when they are asked for: they have no peer, and their set-up takes long. */
const APART: Candidate[] = [machines('direct'), machines('run')];
const KB = 1_024;
const ROWS: Row[] = [
  { sessions: 1, messages: 500, size: 4 * KB },
  { sessions: 20, messages: 3_000, size: 4 * KB },
  { sessions: 200, messages: 3_000, size: 4 * KB },
  { sessions: 20, messages: 200, size: KB * KB },
];
/** Code is compiled and connections are open when it counts. */
const WARM_UP = 400;
/** ms without an arrival after which what is missing is lost. */
const ARRIVES_WITHIN = 20_000;

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    sessions: { type: 'string' },
    messages: { type: 'string' },
    turns: { type: 'string' },
  },
});
const turns = Number(values.turns ?? (values.quick ? 1 : 3));
const rows = (values.quick ? [{ sessions: 20, messages: 1_000, size: 4 * KB }] : ROWS)
  .filter(({ sessions }) => values.sessions === undefined || sessions === Number(values.sessions))
  .map((row) => (values.messages ? { ...row, messages: Number(values.messages) } : row));
const { only } = values;
const candidates =
  only === undefined ? CANDIDATES : [...CANDIDATES, ...APART].filter(({ name }) => name.endsWith(only));

async function measure(
  running: Running,
  row: Row,
  candidate: string,
  { sink, source, keyFile }: World,
): Promise<Figures> {
  const load: LoadOptions = { ...row, port: running.port, source, reuse: true, keyFile };
  const arrived = sink.count();
  const before = partsOf(running);
  const result = await send(load);
  const sent = performance.now();
  const wanted = arrived + result.accepted;
  let last = { count: sink.count(), at: performance.now() };
  while (last.count < wanted && performance.now() - last.at < ARRIVES_WITHIN) {
    await sleep(5);
    if (sink.count() !== last.count) last = { count: sink.count(), at: performance.now() };
  }
  const ms = result.ms + Math.max(0, last.at - sent);
  // The last records and logs are written after the answer.
  await sleep(300);
  const after = partsOf(running);
  const parts = Object.fromEntries(
    Object.entries(after).map(([name, usage]) => [name, (usage.cpu - (before[name]?.cpu ?? 0)) / row.messages]),
  );
  return {
    candidate,
    ...row,
    rate: (result.accepted / ms) * 1_000,
    p50: result.p50,
    p99: result.p99,
    cpu: Object.values(parts).reduce((sum, one) => sum + one, 0),
    parts,
    memory: Object.values(after).reduce((sum, { memory }) => sum + memory, 0) / KB / KB,
    lost: result.refused + Math.max(0, wanted - last.count),
    refusal: result.refusal,
  };
}

const partsOf = ({ parts }: Running) =>
  Object.fromEntries(Object.entries(parts).map(([name, pids]) => [name, usageOf(pids)]));

function line({ candidate, sessions, size, rate, p50, p99, cpu, parts, memory, lost, refusal }: Figures): string {
  const split = Object.entries(parts)
    .filter(([, ms]) => ms >= 0.005)
    .map(([name, ms]) => `${name} ${ms.toFixed(2)}`)
    .join(', ');
  const bad = lost > 0 ? `; ${lost} LOST (${refusal ?? 'did not arrive'})` : '';
  return `${candidate} | ${sessions} x ${size / KB} KB: ${rate.toFixed(0)}/s, ${p50.toFixed(0)}/${p99.toFixed(0)} ms, ${cpu.toFixed(2)} CPU ms (${split}), ${memory.toFixed(0)} MB${bad}`;
}

function tableOf(figures: Figures[]): string {
  const lines = [
    `${machineLine()}; medians of ${turns} turn${turns === 1 ? '' : 's'}.`,
    '',
    '| | sessions x size | messages/s | final dot to answer, p50 / p99 ms | CPU ms a message | by process | MB |',
    '|---|---|---|---|---|---|---|',
  ];
  for (const { name } of candidates) {
    for (const row of rows) {
      const own = figures.filter(
        (one) => one.candidate === name && one.sessions === row.sessions && one.size === row.size,
      );
      if (own.length === 0) continue;
      const of = (what: (one: Figures) => number) => median(own.map(what));
      const names = Object.keys(own[0]?.parts ?? {});
      const split = names
        .map((part) => [part, of((one) => one.parts[part] ?? 0)] as const)
        .filter(([, ms]) => ms >= 0.05)
        .map(([part, ms]) => `${part} ${ms.toFixed(1)}`);
      lines.push(
        `| ${name} | ${row.sessions} x ${row.size / KB} KB | ${of((one) => one.rate).toFixed(0)} | ${of((one) => one.p50).toFixed(0)} / ${of((one) => one.p99).toFixed(0)} | ${of((one) => one.cpu).toFixed(2)} | ${names.length > 1 ? split.join(', ') : ''} | ${of((one) => one.memory).toFixed(0)} |`,
      );
    }
  }
  lines.push(
    '',
    ...candidates
      .filter(({ name }) => figures.some((one) => one.candidate === name))
      .map(({ name, does }) => `- ${name}: ${does}.`),
    '',
  );
  return lines.join('\n');
}

async function main(): Promise<void> {
  const all: Figures[] = [];
  const world = await startWorld();
  try {
    if (!world.source) console.error('Not root: the peers see a private address and check no SPF.');
    for (let turn = 1; turn <= turns; turn += 1) {
      for (const candidate of candidates) {
        const folder = join(world.folder, `${turn}-${candidates.indexOf(candidate)}`);
        await mkdir(folder, { recursive: true });
        let running: Running;
        try {
          running = await candidate.start(world, folder);
        } catch (thrown) {
          console.error(`${candidate.name}: left out: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
          continue;
        }
        try {
          await measure(running, { sessions: 20, messages: WARM_UP, size: 4 * KB }, candidate.name, world);
          for (const row of rows) {
            const figures = await measure(running, row, candidate.name, world);
            all.push(figures);
            console.error(line(figures));
          }
        } finally {
          await running.close();
          await rm(folder, { recursive: true, force: true });
        }
      }
    }
  } finally {
    await world.close();
    await rm(world.folder, { recursive: true, force: true });
  }
  const table = tableOf(all);
  process.stdout.write(`\n${table}\n`);
  const results = join(import.meta.dirname, '..', 'results');
  await mkdir(results, { recursive: true });
  const name = only === 'machines' ? only : 'mail';
  await writeFile(join(results, `${name}.md`), table);
  await writeFile(
    join(results, `${name}.json`),
    `${JSON.stringify({ machine: machine(), turns, figures: all }, null, 2)}\n`,
  );
}

await main();
