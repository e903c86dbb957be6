/** Shows a job while it runs: its log line by line, and on a terminal a bar that moves. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Job, JobProgress } from '../../stores/records/jobs-port.ts';
import type { Records } from '../../stores/records/port.ts';
import { elapsedText } from '../progress.mjs';
import { displayWidth, paint, type State } from '../table.ts';

/** Between two looks. */
const LOOK_EVERY = 300;
/** Where nothing moves, progress is said this often. */
const SAY_EVERY = 5_000;
const BAR = 24;
const PAGE = 500;

export interface FollowOptions {
  /** Shows lines after this one. */
  after?: number;
  /** Ends the following, not the job. */
  signal?: AbortSignal;
  stream?: NodeJS.WriteStream;
}

/**
 * Follows a job to its end, or until it is told to stop.
 * @returns the job as it was then; undefined when it is forgotten
 */
export async function followJob(
  { jobs }: Pick<Records, 'jobs'>,
  id: string,
  { after = 0, signal, stream = process.stderr }: FollowOptions = {},
): Promise<Job | undefined> {
  const isMoving = Boolean(stream.isTTY) && process.env.TERM !== 'dumb';
  const clear = () => isMoving && stream.write('\r\x1b[K');
  let shown = after;
  let said = { at: 0, text: '' };
  for (;;) {
    // The job first: all lines up to its end are there then.
    const job = await jobs.get(id);
    for (let page = await jobs.lines(id, shown, PAGE); page.length > 0; page = await jobs.lines(id, shown, PAGE)) {
      clear();
      for (const line of page) process.stdout.write(logLine(line));
      shown = page.at(-1)?.line ?? shown;
    }
    if (!job || job.endedAt !== null || signal?.aborted) {
      clear();
      return job;
    }
    const text = progressText(job);
    if (isMoving) stream.write(`\r\x1b[K${fit(text, (stream.columns || 80) - 1)}`);
    else if (job.progress && text !== said.text && Date.now() - said.at >= SAY_EVERY) {
      stream.write(`${text}\n`);
      said = { at: Date.now(), text };
    }
    await sleep(LOOK_EVERY, undefined, { signal }).catch(() => undefined);
  }
}

/** `2026-11-26 08:00:00  Started.`, without anything that steers a terminal. */
export const logLine = ({ at, words }: { at: string; words: string }): string =>
  `${at.slice(0, 19).replace('T', ' ')}  ${words.replace(/\p{Cc}/gu, ' ')}\n`;

/** `[█████       ]  45 %  450 of 1,000  example.com  12 s` */
export function progressText({ state, progress, startedAt }: Job, now = Date.now()): string {
  const time = startedAt ? `  ${elapsedText(now - Date.parse(startedAt))}` : '';
  const words = progress?.words ? `  ${progress.words.replace(/\p{Cc}/gu, ' ')}` : '';
  return `  ${progress ? barOf(progress) : ''}${state === 'running' ? '' : `${state}  `}${progress ? countOf(progress) : ''}${time}${words}`;
}

function barOf({ done, total }: JobProgress): string {
  if (total === null || total <= 0) return '';
  const share = Math.min(done / total, 1);
  const full = Math.floor(share * BAR);
  return `[${'█'.repeat(full)}${' '.repeat(BAR - full)}] ${String(Math.floor(share * 100)).padStart(3)} %  `;
}

/** `450 of 1,000`, or `450` while nobody knows of how many. */
export const countOf = ({ done, total }: JobProgress): string =>
  done.toLocaleString('en') + (total === null ? '' : ` of ${total.toLocaleString('en')}`);

function fit(text: string, width: number): string {
  let short = text;
  while (displayWidth(short) > width) short = short.slice(0, -1);
  return short;
}

const COLOURS: Partial<Record<Job['state'], State>> = { done: 'pass', failed: 'fail', cancelled: 'warn' };

/** A state in its colour. */
export const stateCell = (state: Job['state']): { text: string; state: State } => ({
  text: state,
  state: COLOURS[state] ?? 'none',
});

/** How it ended, in a sentence, and the exit status of a command that waited for it. */
export function sayEnd(job: Job | undefined): number {
  if (!job) return 1;
  const why = job.errorText ? `: ${job.errorText.replace(/\p{Cc}/gu, ' ')}` : '';
  const words = job.progress?.words && job.state === 'done' ? `: ${job.progress.words.replace(/\p{Cc}/gu, ' ')}` : why;
  process.stdout.write(`${paint(stateCell(job.state))}${words}\n`);
  return job.state === 'done' ? 0 : 1;
}
