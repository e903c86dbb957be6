/** Every question that the pages and the API ask of 100,000 reports, over a real HTTP server, each many times in turn. */
import { dayBefore } from '../../protocols/dmarc/identity.ts';
import type { Records } from '../../stores/records/port.ts';
import { startService, type Service } from '../../test/servers/http/service.ts';
import { startPostgres } from '../../test/support/postgres.ts';
import { machineLine, quantile } from '../machine.ts';
import { fill, type Filled } from './fill.ts';

const REPEATS = 40;
/** ms that a page may take: what is slower is seen to be slow. */
const GOAL = 200;

interface Figure {
  path: string;
  bytes: number;
  /** ms: the first time, then those of all times. */
  first: number;
  times: number[];
}

/** @returns the table */
export async function measureQueries(stores: 'sqlite' | 'postgres', reports: number): Promise<string> {
  const server = stores === 'postgres' ? await startPostgres() : undefined;
  const service = await startService({ configuration: server ? { records: server.records() } : {} });
  try {
    const filled = await fillWell(service.records, reports, server?.query);
    console.error(filledWords(stores, filled));
    const figures: Figure[] = pathsOf(filled).map((path) => ({ path, bytes: 0, first: 0, times: [] }));
    for (let turn = 0; turn < REPEATS; turn += 1) for (const figure of figures) await ask(service, figure, turn);
    return tableOf(stores, filled, figures);
  } finally {
    await service.close();
    await server?.close();
  }
}

/** PostgreSQL counts the rows by itself within a minute of quiet; the bench does not wait for it. */
async function fillWell(
  records: Records,
  reports: number,
  query?: (text: string) => Promise<unknown>,
): Promise<Filled> {
  const filled = await fill(records, reports);
  await query?.('analyze');
  return filled;
}

async function ask({ call, url }: Service, figure: Figure, turn: number): Promise<void> {
  const start = performance.now();
  const isPage = figure.path.startsWith('/dmarc');
  const { status, text } = isPage ? await page(url + figure.path) : await call('GET', figure.path);
  const time = performance.now() - start;
  if (status !== 200) throw new Error(`${figure.path} answered ${status}: ${text.slice(0, 300)}`);
  figure.bytes = text.length;
  if (turn === 0) figure.first = time;
  figure.times.push(time);
}

/** Who sits at the machine has no token. */
async function page(url: string): Promise<{ status: number; text: string }> {
  const answer = await fetch(url);
  return { status: answer.status, text: await answer.text() };
}

function pathsOf({ domain, busiest, rare, service, largest }: Filled): string[] {
  const today = new Date().toISOString().slice(0, 10);
  // A year and a month of some time ago: most addresses were seen before it, in it and after it.
  const past = `from=${dayBefore(today, 380)}&to=${dayBefore(today, 60)}`;
  const pastMonth = `from=${dayBefore(today, 230)}&to=${dayBefore(today, 200)}`;
  const ranges = ['days=30', 'days=365', past, pastMonth];
  const dated = (path: string, more = '') => ranges.map((range) => `${path}?${range}${more}`);
  const at = `/dmarc/${domain}`;
  const api = `/v1/dmarc/domains/${domain}`;
  return [
    '/dmarc',
    ...dated(at),
    ...dated(`${at}/sources`),
    ...dated(`${at}/sources`, '&failing=1'),
    ...dated(`${at}/sources`, `&service=${service}`),
    ...dated(`${at}/sources`, '&service='),
    ...dated(`${at}/sources`, '&service=&failing=1'),
    ...dated(`${at}/sources/${busiest}`),
    ...dated(`${at}/sources/${busiest}`, '&failing=1'),
    ...dated(`${at}/sources/${rare}`),
    `${at}/new`,
    `${at}/new?new=365`,
    `${at}/new?new=30&failing=1`,
    ...dated(`${at}/what-if`),
    ...dated(`${at}/reports`),
    ...dated(`${at}/reports`, '&kind=failure'),
    ...dated(`${at}/tls`),
    `${at}/failures`,
    `${at}/quarantine`,
    '/dmarc/quarantine',
    `/dmarc/reports/${largest}`,
    `/dmarc/reports/${largest}?after=15000`,
    '/v1/dmarc/domains?days=30',
    '/v1/dmarc/domains?days=365',
    ...dated(`${api}/summary`),
    ...dated(`${api}/days`),
    ...dated(`${api}/days`, `&service=${service}`),
    ...dated(`${api}/services`),
    ...dated(`${api}/sources`, '&limit=500'),
    ...dated(`${api}/sources`, '&limit=500&failing=true'),
    ...dated(`${api}/sources`, `&limit=500&service=`),
    `${api}/new-sources?days=365&limit=500`,
    ...dated(`${api}/what-if`),
    `${api}/advice`,
    `${api}/sources/${busiest}/records?limit=500`,
    `${api}/sources/${busiest}/records?limit=500&failing=true`,
    `${api}/reports?limit=500`,
    ...dated(`${api}/tls`),
    `${api}/failures?limit=500`,
    `/v1/dmarc/reports/${largest}/records?limit=500`,
  ];
}

const filledWords = (stores: string, { reports, records, seconds }: Filled): string =>
  `${stores}: ${reports.toLocaleString('en')} reports of ${records.toLocaleString('en')} records published in ${seconds.toFixed(0)} s, ${((seconds * 1_000) / reports).toFixed(2)} ms a report.`;

function tableOf(stores: string, filled: Filled, figures: Figure[]): string {
  const p95 = (one: Figure) => quantile(one.times, 0.95);
  const slow = figures.filter((one) => p95(one) >= GOAL).length;
  const row = (one: Figure) =>
    `| ${one.path} | ${Math.round(one.bytes / 1_024)} | ${one.first.toFixed(0)} | ${quantile(one.times, 0.5).toFixed(0)} | ${p95(one).toFixed(0)} |`;
  return [
    `${machineLine()}. ${filledWords(stores, filled)} ${figures.length} questions, each ${REPEATS} times in turn; ${slow} with a p95 of ${GOAL} ms or more.`,
    '',
    '| | KB | first, ms | p50, ms | p95, ms |',
    '|---|---|---|---|---|',
    ...figures.toSorted((one, other) => p95(other) - p95(one)).map(row),
    '',
  ].join('\n');
}
