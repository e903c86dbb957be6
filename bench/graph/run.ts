/**
 * `npm run bench:graph`: how many mails a second n8n graphs carry on this machine, beside a rule, which needs no graph.
 * Writes the table to the terminal and table and figures to `bench/results/`.
 *
 *     npm run bench:graph                three turns, medians
 *     npm run bench:graph -- --quick     one turn of few mails
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compose } from '../../cli/demo/messages.ts';
import { PACK_NAME } from '../../cli/editor/pack.ts';
import { openHome, type Home } from '../../test/editor/home.ts';
import { usageOf } from '../../test/support/processes.ts';
import { machine, machineLine, median, quantile } from '../machine.ts';

interface Path {
  name: string;
  address: string;
}
interface Figures {
  path: string;
  sessions: number;
  /** Mails a second, from the first connection to the last answer. */
  rate: number;
  /** ms from the first byte of the session to the answer. */
  p50: number;
  p99: number;
  /** CPU ms a mail: of n8n, and of all of Switchyard with Temporal. */
  n8n: number;
  switchyard: number;
  refused: number;
}

const PATHS: Path[] = [
  { name: 'a rule, no graph', address: 'hello@demo.test' },
  { name: 'graph: Receive Mail, Mail Verdict', address: 'verdict@demo.test' },
  { name: 'graph of 3: handed to a durable run', address: 'durable@demo.test' },
  { name: 'graph of 7: step by step', address: 'steps@demo.test' },
];
const SESSIONS = [1, 5, 20];
const WARM_UP = 20;
const BODY = `${'The quick brown fox jumps over the lazy dog, once more.\r\n'.repeat(65)}`;

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const turns = values.quick ? 1 : 3;
const mails = values.quick ? 60 : 200;

async function send(home: Home, address: string, sessions: number, count: number) {
  const times: number[] = [];
  let refused = 0;
  let left = count;
  const start = performance.now();
  const session = async () => {
    while (left-- > 0) {
      const message = compose({ from: 'you@sender.test', to: address, subject: `Bench ${left}`, body: BODY });
      const begun = performance.now();
      const told = await home.send({ to: address, message });
      times.push(performance.now() - begun);
      if (!told.startsWith('250')) refused += 1;
    }
  };
  await Promise.all(Array.from({ length: sessions }, session));
  return { ms: performance.now() - start, times, refused };
}

async function measure(home: Home, { name, address }: Path, sessions: number): Promise<Figures> {
  const ours = home.installation.processes.map(({ pid }) => pid);
  const before = { n8n: usageOf([home.editor.pid()]).cpu, switchyard: usageOf(ours).cpu };
  const { ms, times, refused } = await send(home, address, sessions, mails);
  return {
    path: name,
    sessions,
    rate: ((mails - refused) / ms) * 1_000,
    p50: quantile(times, 0.5),
    p99: quantile(times, 0.99),
    n8n: (usageOf([home.editor.pid()]).cpu - before.n8n) / mails,
    switchyard: (usageOf(ours).cpu - before.switchyard) / mails,
    refused,
  };
}

async function addVerdictGraph(home: Home): Promise<void> {
  const id = await home.editor.addWorkflow({
    name: 'Verdict alone',
    nodes: [
      {
        id: 'receive',
        name: 'Receive Mail',
        type: `${PACK_NAME}.switchyardMailTrigger`,
        typeVersion: 1,
        position: [0, 0],
        webhookId: crypto.randomUUID(),
        parameters: { addresses: ['verdict@demo.test'], answer: 'verdict', options: {} },
      },
      {
        id: 'verdict',
        name: 'Mail Verdict',
        type: `${PACK_NAME}.switchyardMailVerdict`,
        typeVersion: 1,
        position: [220, 0],
        parameters: { operation: 'accept' },
      },
    ],
    connections: { 'Receive Mail': { main: [[{ node: 'Mail Verdict', type: 'main', index: 0 }]] } },
  });
  await home.editor.publish(id);
}

function tableOf(figures: Figures[]): string {
  const rows = PATHS.flatMap(({ name }) =>
    SESSIONS.map((sessions) => {
      const own = figures.filter((one) => one.path === name && one.sessions === sessions);
      const of = (what: (one: Figures) => number) => median(own.map(what));
      return `| ${name} | ${sessions} | ${of((one) => one.rate).toFixed(1)} | ${of((one) => one.p50).toFixed(0)} / ${of((one) => one.p99).toFixed(0)} | ${of((one) => one.n8n).toFixed(0)} | ${of((one) => one.switchyard).toFixed(0)} |`;
    }),
  );
  return [
    `${machineLine()}; ${mails} mails of 4 KB, medians of ${turns} turn${turns === 1 ? '' : 's'}.`,
    '',
    '| path of the mail | sessions | mails/s | session p50 / p99 ms | CPU ms a mail: n8n | Switchyard and Temporal |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

async function main(): Promise<void> {
  const home = await openHome();
  const figures: Figures[] = [];
  try {
    await addVerdictGraph(home);
    await home.listening('verdict@demo.test', 'durable@demo.test', 'steps@demo.test');
    for (const { address } of PATHS) await send(home, address, 2, WARM_UP);
    for (let turn = 1; turn <= turns; turn += 1)
      for (const path of PATHS)
        for (const sessions of SESSIONS) {
          const one = await measure(home, path, sessions);
          figures.push(one);
          console.error(
            `${turn}/${turns} ${path.name}, ${sessions}: ${one.rate.toFixed(1)}/s, ${one.p50.toFixed(0)}/${one.p99.toFixed(0)} ms${one.refused > 0 ? `, ${one.refused} REFUSED` : ''}`,
          );
        }
  } finally {
    await home.close();
  }
  const table = tableOf(figures);
  const folder = join(import.meta.dirname, '..', 'results');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'graph.md'), table);
  await writeFile(join(folder, 'graph.json'), `${JSON.stringify({ machine: machine(), turns, figures }, null, 2)}\n`);
  process.stdout.write(`\n${table}`);
}

await main();
