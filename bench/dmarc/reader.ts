/**
 * Reads reports in a process of its own and says what it took: `reader.ts switchyard|fast-xml-parser|saxes`, paths on
 * standard input, one a line; answers one line of JSON. Where there is an empty line, what stands before it is read first
 * and not measured.
 */
import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { text } from 'node:stream/consumers';
import type { XMLParser } from 'fast-xml-parser';
import { SaxesParser } from 'saxes';
import { openReport, type ReportFile } from '../../activities/dmarc/open-report.ts';
import { readReport } from '../../activities/dmarc/read-report.ts';
import type { AggregateRecord } from '../../protocols/dmarc/aggregate.ts';

export interface Reading {
  reports: number;
  records: number;
  messages: number;
  /** CPU seconds of the process until the last report was read, and without its start and what was read before. */
  cpu: number;
  cpuWork: number;
  /** Seconds, without the start. */
  seconds: number;
  /** Most resident MB. */
  memory: number;
  /** Longest time in ms that the event loop stood still, in which no heartbeat can be sent; null where there is none. */
  stood: number | null;
}

type Reader = (file: ReportFile, onRecords: (records: Pick<AggregateRecord, 'count'>[]) => void) => Promise<unknown>;

const READERS: Record<string, Reader> = {
  switchyard: readReport,
  'fast-xml-parser': readTree,
  saxes: readEvents,
};

interface Tree {
  feedback?: { record?: Row | Row[] };
}
interface Row {
  row?: { source_ip?: string; count?: string; policy_evaluated?: Record<string, unknown> };
  identifiers?: Record<string, string>;
  auth_results?: { dkim?: Result | Result[]; spf?: Result | Result[] };
}
type Result = Record<string, string>;

/** The same step with fast-xml-parser in the parser's place: the whole text, the whole tree, then its records. */
async function readTree(file: ReportFile, onRecords: Parameters<Reader>[1]): Promise<void> {
  parser ??= await createParser();
  const tree = parser.parse(await textOf(file)) as Tree;
  const all = <T>(one: T | T[] | undefined): T[] => (one === undefined ? [] : Array.isArray(one) ? one : [one]);
  const records = all(tree.feedback?.record).map(({ row, identifiers, auth_results: results }) => ({
    sourceIp: row?.source_ip ?? '',
    count: Number(row?.count),
    evaluated: row?.policy_evaluated,
    identifiers,
    dkim: all(results?.dkim),
    spf: all(results?.spf),
  }));
  onRecords(records);
}

/** The least that a reader on saxes can cost: its events, and nothing made of them but the count. */
async function readEvents(file: ReportFile, onRecords: Parameters<Reader>[1]): Promise<void> {
  const parser = new SaxesParser({ xmlns: false, position: false });
  const records: { count: number }[] = [];
  let name = '';
  parser.on('opentag', (tag) => (name = tag.name));
  parser.on('text', (chars) => {
    if (name === 'count') records.push({ count: Number(chars) });
  });
  parser.on('closetag', () => (name = ''));
  const decoder = new TextDecoder();
  for await (const chunk of file.bytes) parser.write(decoder.decode(chunk, { stream: true }));
  onRecords(records);
}

async function textOf({ bytes }: ReportFile): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** Small files at once, as parsedmarc reads all of them. */
async function* bytesOf(path: string): AsyncGenerator<Uint8Array> {
  const file = openSync(path, 'r');
  const length = readSync(file, small, 0, small.length, null);
  closeSync(file);
  if (length < small.length) yield small.subarray(0, length);
  else yield* createReadStream(path);
}

const small = Buffer.alloc(65_536);

let parser: XMLParser | undefined;

/** Loaded by its own reader alone, since what is loaded takes memory. */
async function createParser(): Promise<XMLParser> {
  const { XMLParser } = await import('fast-xml-parser');
  return new XMLParser({ parseTagValue: false, ignoreAttributes: true });
}

async function readAll(paths = '', read: Reader): Promise<Pick<Reading, 'reports' | 'records' | 'messages'>> {
  const reading = { reports: 0, records: 0, messages: 0 };
  for (const path of paths.split('\n').filter(Boolean)) {
    for await (const file of openReport(bytesOf(path))) {
      await read(file, (records) => {
        reading.records += records.length;
        for (const { count } of records) reading.messages += count;
      });
      reading.reports += 1;
    }
  }
  return reading;
}

async function main(name: string): Promise<Reading> {
  const read = READERS[name];
  if (!read) throw new Error(`no reader ${name}`);
  const parts = (await text(process.stdin)).trimEnd().split('\n\n');
  const [before, paths] = parts.length === 1 ? ['', parts[0]] : parts;
  await readAll(before, read);
  const atStart = process.cpuUsage();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const start = performance.now();
  const reading = await readAll(paths, read);
  const seconds = (performance.now() - start) / 1_000;
  // The histogram learns of a pause when the loop turns again.
  await new Promise((resolve) => setTimeout(resolve, 5));
  delay.disable();
  const work = process.cpuUsage(atStart);
  const all = process.cpuUsage();
  return {
    ...reading,
    cpu: (all.user + all.system) / 1e6,
    cpuWork: (work.user + work.system) / 1e6,
    seconds,
    memory: process.resourceUsage().maxRSS / 1_024,
    stood: delay.max / 1e6,
  };
}

process.stdout.write(`${JSON.stringify(await main(process.argv[2] ?? ''))}\n`);
