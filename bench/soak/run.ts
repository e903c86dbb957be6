/**
 * `npm run bench:soak`: many sessions for a long time, then large messages. Does memory stay flat, does every session
 * get its turn, does anything get lost? Writes what it saw to the terminal and to `bench/results/`.
 *
 *     npm run bench:soak                              200 sessions for ten minutes, in each lane
 *     npm run bench:soak -- --lane direct --seconds 60 --sessions 50
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine, machineLine, quantile } from '../machine.ts';
import { usageOf } from '../../test/support/processes.ts';
import type { Running } from '../mail/candidate.ts';
import { send, type LoadResult } from '../mail/send.ts';
import { switchyard } from '../mail/switchyard.ts';
import { startWorld, type World } from '../mail/world.ts';

const KB = 1_024;
const MB = KB * KB;
/** As large as a message may be by default, less what encoding and our own fields add. */
const LARGE = 24 * MB;
const LARGE_AT_ONCE = 4;
/** Code is compiled, caches are full and the heaps have their size when it counts. */
const WARM_UP_SECONDS = 30;
/** ms between two looks at the memory. */
const LOOK_EVERY = 5_000;
const LOOK_EVERY_LARGE = 50;

const { values } = parseArgs({
  options: {
    lane: { type: 'string' },
    seconds: { type: 'string', default: '600' },
    sessions: { type: 'string', default: '200' },
  },
});
const seconds = Number(values.seconds);
const sessions = Number(values.sessions);
const lanes = (['direct', 'run'] as const).filter((lane) => values.lane === undefined || values.lane === lane);

interface Soak {
  lane: string;
  result: LoadResult;
  /** Messages that never came to the sink. */
  lost: number;
  /** Resident MB by part, one look after another. */
  memory: Record<string, number[]>;
  large: { before: Record<string, number>; peak: Record<string, number>; ms: number; refused: number };
}

async function soak(lane: (typeof lanes)[number], running: Running, world: World): Promise<Soak> {
  const load = { port: running.port, source: world.source, sessions, messages: 0, reuse: true, keyFile: world.keyFile };
  console.error(`${lane}: warming up`);
  await send({ ...load, size: 4 * KB, seconds: WARM_UP_SECONDS });
  const arrived = world.sink.count();
  const memory = watchMemory(running, LOOK_EVERY, (look) => console.error(`${lane}: ${look}`));
  const result = await send({ ...load, size: 4 * KB, seconds });
  const looks = memory.end();
  await settled(world, arrived + result.accepted);
  const lost = Math.max(0, arrived + result.accepted - world.sink.count());

  const before = residentOf(running);
  const peaks = watchMemory(running, LOOK_EVERY_LARGE);
  const large = await send({ ...load, sessions: LARGE_AT_ONCE, messages: 2 * LARGE_AT_ONCE, size: LARGE });
  const peak = Object.fromEntries(Object.entries(peaks.end()).map(([part, all]) => [part, Math.max(...all)]));
  return { lane, result, lost, memory: looks, large: { before, peak, ms: large.p50, refused: large.refused } };
}

/** Resident MB of each part. */
const residentOf = ({ parts }: Running): Record<string, number> =>
  Object.fromEntries(Object.entries(parts).map(([name, pids]) => [name, usageOf(pids).memory / MB]));

function watchMemory(running: Running, every: number, show?: (words: string) => void) {
  const looks: Record<string, number[]> = {};
  const look = () => {
    const now = residentOf(running);
    for (const [part, memory] of Object.entries(now)) (looks[part] ??= []).push(memory);
    const words = Object.entries(now).map(([part, memory]) => `${part} ${memory.toFixed(0)} MB`);
    show?.(words.join(', '));
  };
  look();
  const timer = setInterval(look, every);
  return {
    end() {
      clearInterval(timer);
      look();
      return looks;
    },
  };
}

/** What was accepted is in the sink, or nothing has come for a while. */
async function settled({ sink }: World, wanted: number): Promise<void> {
  for (let before = -1; sink.count() < wanted && sink.count() !== before;) {
    before = sink.count();
    await new Promise((resolve) => setTimeout(resolve, 15_000));
  }
}

function words({ lane, result, lost, memory, large }: Soak): string[] {
  const each = result.perSession;
  const third = (all: number[], part: number) =>
    quantile(all.slice(Math.floor((all.length * part) / 3), Math.ceil((all.length * (part + 1)) / 3)), 0.5);
  return [
    `### ${lane}`,
    '',
    `${sessions} sessions, ${seconds} s, 4 KB: ${result.accepted.toLocaleString('en')} messages, ${((result.accepted / result.ms) * 1_000).toFixed(0)}/s; ${result.refused} refused${result.refusal ? ` (${result.refusal})` : ''}, ${lost} lost.`,
    `Final dot to answer: p50 ${result.p50.toFixed(0)} ms, p99 ${result.p99.toFixed(0)} ms, longest ${result.longest.toFixed(0)} ms.`,
    `Messages of a session: fewest ${Math.min(...each)}, median ${quantile(each, 0.5)}, most ${Math.max(...each)}.`,
    '',
    '| resident MB | first third | second | last | most | 4 x 24 MiB: before | peak | more a message |',
    '|---|---|---|---|---|---|---|---|',
    ...Object.entries(memory).map(([part, all]) => {
      const [first, second, last] = [0, 1, 2].map((one) => third(all, one).toFixed(0));
      const before = large.before[part] ?? 0;
      const peak = large.peak[part] ?? 0;
      return `| ${part} | ${first} | ${second} | ${last} | ${Math.max(...all).toFixed(0)} | ${before.toFixed(0)} | ${peak.toFixed(0)} | ${Math.max(0, (peak - before) / LARGE_AT_ONCE).toFixed(1)} |`;
    }),
    '',
    `A large message took ${(large.ms / 1_000).toFixed(1)} s from its first byte of data to the answer (median); ${large.refused} refused.`,
    '',
  ];
}

async function main(): Promise<void> {
  const world = await startWorld();
  const all: Soak[] = [];
  try {
    for (const lane of lanes) {
      const folder = join(world.folder, lane);
      await mkdir(folder, { recursive: true });
      const running = await switchyard(lane).start(world, folder);
      try {
        all.push(await soak(lane, running, world));
      } finally {
        await running.close();
        await rm(folder, { recursive: true, force: true });
      }
    }
  } finally {
    await world.close();
    await rm(world.folder, { recursive: true, force: true });
  }
  const text = [`${machineLine()}.`, '', ...all.flatMap(words)].join('\n');
  process.stdout.write(`\n${text}\n`);
  const results = join(import.meta.dirname, '..', 'results');
  await mkdir(results, { recursive: true });
  await writeFile(join(results, 'soak.md'), text);
  await writeFile(join(results, 'soak.json'), `${JSON.stringify({ machine: machine(), all }, null, 2)}\n`);
}

await main();
