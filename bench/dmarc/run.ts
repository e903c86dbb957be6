/**
 * `npm run bench:dmarc`: reading of DMARC reports beside parsedmarc, and beside the same step with fast-xml-parser in the
 * parser's place; each in a process of its own, in turn. Writes the table to the terminal and to `bench/results/`.
 *
 *     npm run bench:dmarc                2,000 small reports and one of 300,000 records, three turns, medians
 *     npm run bench:dmarc -- --quick     a tenth of it, one turn
 *     npm run bench:dmarc -- --only reading  without the way of a mail to its published records
 *     npm run bench:dmarc -- --only path     that alone
 *     npm run bench:dmarc -- --only import   100,000 reports of the past out of a folder, and the same again;
 *                                        --reports N, --stores postgres, --keep FOLDER (leaves the SQLite file there)
 *     npm run bench:dmarc -- --only hostile  what anyone can send: how it ends, time, memory, where its original is
 *     npm run bench:dmarc -- --only queries [--stores postgres]  every question about 100,000 reports
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { runTool } from '../../cli/tool.ts';
import { installParsedmarc, PARSEDMARC_PYTHON } from '../../test/support/parsedmarc-install.ts';
import { machine, machineLine, median } from '../machine.ts';
import { measureHostile } from './hostile.ts';
import { measureImport } from './import.ts';
import { measurePath, type PathFigures } from './path.ts';
import { measureQueries } from './queries.ts';
import type { Reading } from './reader.ts';
import { createLarge, createSmall, type Workload } from './reports.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    reports: { type: 'string', default: '100000' },
    stores: { type: 'string', default: 'sqlite' },
    keep: { type: 'string' },
  },
});
const turns = values.quick ? 1 : 3;
const part = values.quick ? 0.1 : 1;

const script = (name: string): string => join(import.meta.dirname, name);
/** As it is published: what strips the types in a checkout takes 25 MB of a process. */
const COMPILED_READER = join(import.meta.dirname, '../../dist/bench/bench/dmarc/reader.js');
const READERS: { name: string; command: string[] }[] = [
  { name: 'parsedmarc 11.1.0, offline', command: [PARSEDMARC_PYTHON, script('read_parsedmarc.py')] },
  { name: 'Switchyard', command: [process.execPath, COMPILED_READER, 'switchyard'] },
  { name: 'Switchyard with fast-xml-parser', command: [process.execPath, COMPILED_READER, 'fast-xml-parser'] },
  { name: 'saxes alone: its events, counted', command: [process.execPath, COMPILED_READER, 'saxes'] },
];

/** Mails beforehand, while code is compiled. */
const WARM_UP = 50;
/** Small reports beforehand: about as many as V8 takes to compile what reads them. */
const BEFORE = 20_000;

interface Figures extends Reading {
  reader: string;
  workload: string;
}

async function compileReader(): Promise<void> {
  if (await runTool('typescript', ['-p', script('tsconfig.json')], 'tsc', 'stderr'))
    throw new Error('the reader could not be compiled');
}

async function read([program = '', ...args]: string[], { before, files }: Workload): Promise<Reading> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end([...(before.length > 0 ? [...before, ''] : []), ...files, ''].join('\n'));
  return JSON.parse(await text(child.stdout)) as Reading;
}

function tableOf(figures: Figures[], workloads: Workload[]): string {
  const lines = [
    `${machineLine()}; medians of ${turns} turn${turns === 1 ? '' : 's'}. CPU is that of the work without the start of the process.`,
    '',
    '| | reports a CPU second | records a CPU second | CPU s | beside parsedmarc | with start | most MB | event loop stood, ms |',
    '|---|---|---|---|---|---|---|---|',
  ];
  for (const { name: workload, reports, records, before } of workloads) {
    lines.push(`| **${workload}** | | | | | | | |`);
    const of = (reader: string, what: (one: Figures) => number) =>
      median(figures.filter((one) => one.reader === reader && one.workload === workload).map(what));
    const peer = READERS[0]?.name ?? '';
    for (const { name } of READERS) {
      const cpu = of(name, ({ cpuWork }) => cpuWork);
      const all = of(name, (one) => one.cpu);
      // Small files are read at once, by the bench alone: how long that takes is nothing that a worker does.
      const stood = reports === 1 && of(name, (one) => one.stood ?? 0);
      const times = (own: number, what: (one: Figures) => number) => `${(of(peer, what) / own).toFixed(1)} x`;
      const cells = [
        name,
        (reports / cpu).toLocaleString('en', { maximumFractionDigits: reports > 1 ? 0 : 1 }),
        Math.round(records / cpu).toLocaleString('en'),
        cpu.toFixed(2),
        times(cpu, ({ cpuWork }) => cpuWork),
        before.length > 0 ? '' : times(all, (one) => one.cpu),
        of(name, ({ memory }) => memory).toFixed(0),
        stood ? stood.toFixed(0) : '',
      ];
      lines.push(`| ${cells.join(' | ')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function pathWords({ reports, rate, cpu, parts }: PathFigures): string {
  const split = Object.entries(parts).map(([name, ms]) => `${name} ${ms.toFixed(1)}`);
  return `Mail to published record, ${reports} small reports, each a durable run: ${rate.toFixed(0)} reports/s, ${cpu.toFixed(0)} CPU ms a report (${split.join(', ')}).\n`;
}

const RESULTS = join(import.meta.dirname, '..', 'results');

async function hostile(): Promise<void> {
  const table = await measureHostile();
  process.stdout.write(`\n${table}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, 'dmarc-hostile.md'), table);
}

async function importPast(): Promise<void> {
  const postgres = values.stores === 'postgres';
  const words = await measureImport(Number(values.reports), { postgres, keep: values.keep });
  process.stdout.write(`\n${machineLine()}\n\n${words}`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, `dmarc-import-${values.stores}.md`), `${machineLine()}\n\n${words}`);
}

async function queries(): Promise<void> {
  const stores = values.stores === 'postgres' ? 'postgres' : 'sqlite';
  const table = await measureQueries(stores, Math.round(Number(values.reports) * part));
  process.stdout.write(`\n${table}\n`);
  await mkdir(RESULTS, { recursive: true });
  await writeFile(join(RESULTS, `dmarc-queries-${stores}.md`), table);
}

async function main(): Promise<void> {
  if (values.only === 'hostile') return hostile();
  if (values.only === 'import') return importPast();
  if (values.only === 'queries') return queries();
  await installParsedmarc();
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-bench-dmarc-'));
  const all: Figures[] = [];
  try {
    const small = await createSmall(join(folder, 'small'), Math.round(2_000 * part));
    const others = await createSmall(join(folder, 'before'), Math.round(BEFORE * part), small.reports);
    const workloads = [
      small,
      { ...small, name: `the same after ${others.reports.toLocaleString('en')} others`, before: others.files },
      await createLarge(join(folder, 'large'), Math.round(300_000 * part)),
    ];
    const path =
      values.only === 'reading'
        ? null
        : await measurePath(await createSmall(join(folder, 'path'), WARM_UP + Math.round(600 * part)), WARM_UP);
    if (path) console.error(pathWords(path));
    if (values.only === 'path') return;
    await compileReader();
    for (let turn = 1; turn <= turns; turn += 1) {
      for (const workload of workloads) {
        for (const { name, command } of READERS) {
          const reading = await read(command, workload);
          const { records, messages } = reading;
          if (records !== workload.records || messages !== workload.messages)
            throw new Error(`${name} read ${records} records of ${messages} messages: not what was written`);
          all.push({ ...reading, reader: name, workload: workload.name });
          console.error(
            `${workload.name} | ${name}: ${reading.cpuWork.toFixed(2)} CPU s (${reading.cpu.toFixed(2)} with start), ${reading.memory.toFixed(0)} MB${reading.stood === null ? '' : `, stood ${reading.stood.toFixed(0)} ms`}`,
          );
        }
      }
    }
    const table = `${tableOf(all, workloads)}\n${path ? pathWords(path) : ''}`;
    process.stdout.write(`\n${table}\n`);
    await mkdir(RESULTS, { recursive: true });
    await writeFile(join(RESULTS, 'dmarc.md'), table);
    await writeFile(
      join(RESULTS, 'dmarc.json'),
      `${JSON.stringify({ machine: machine(), turns, figures: all, path }, null, 2)}\n`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
