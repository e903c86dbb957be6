/** `switchyard jobs`: long jobs, what became of them, and how to stop one. */
import { parseArgs } from 'node:util';
import { JobStates, JOB_STATES } from '../../servers/http/routes/jobs.ts';
import { TimeOrAge } from '../../servers/http/schemas.ts';
import { cancelJob, jobMissing } from '../../servers/jobs/request.ts';
import { runUrl } from '../../servers/temporal.ts';
import { resolveAddresses } from '../../stores/configuration/addresses.ts';
import type { Configuration } from '../../stores/configuration/schema.ts';
import type { Job } from '../../stores/records/jobs-port.ts';
import type { Records } from '../../stores/records/port.ts';
import { ACTOR, openDesk, sayIfUnheard } from '../jobs/desk.ts';
import { countOf, followJob, logLine, sayEnd, stateCell } from '../jobs/follow.ts';
import { elapsedText } from '../progress.mjs';
import { COMMON_OPTIONS, withRecords } from '../records-command.ts';
import { formatTable, type Cell } from '../table.ts';
import { printHelp, typedWrong, UsageError } from '../usage.ts';

export const summary = 'Show long jobs, their logs, and stop one';

const HELP = `switchyard jobs [list] [--key K] [--kind K] [--state running,failed] [--since 2h] [--limit 20] [--json]
switchyard jobs show ID [--json]
switchyard jobs log ID [--follow]
switchyard jobs cancel ID

  One job of a key runs at a time: a newer request stops the running one, waits for its clean-up and starts then.
  --state    ${JOB_STATES.join(', ')}
  --follow   goes on to the end of the job; Ctrl-C ends the following, not the job
`;
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 500;

export async function run(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      key: { type: 'string' },
      kind: { type: 'string' },
      state: { type: 'string' },
      since: { type: 'string' },
      limit: { type: 'string' },
      follow: { type: 'boolean', short: 'f' },
      ...COMMON_OPTIONS,
    },
  });
  if (values.help) return printHelp(HELP);
  const [action = 'list', id, ...rest] = positionals;
  const needsId = ['show', 'log', 'cancel'].includes(action);
  if (rest.length > 0 || (id !== undefined) !== needsId || (!needsId && action !== 'list')) throw typedWrong(HELP);
  const filter = filterOf(values);
  return withRecords(values.config, async (records, configuration) => {
    if (id === undefined) return await list(records, filter, values.json);
    if (action === 'cancel') return await cancel(configuration, records, id);
    const job = await records.jobs.get(id);
    if (!job) throw jobMissing(id);
    if (action === 'show') return show(job, configuration, values.json);
    return await log(records, job, values.follow ?? false);
  });
}

type Filter = Parameters<Records['jobs']['list']>[0];

function filterOf(values: { key?: string; kind?: string; state?: string; since?: string; limit?: string }): Filter {
  const states = JobStates.safeParse(values.state ?? '');
  if (!states.success) throw new UsageError(`--state is one or more of ${JOB_STATES.join(', ')}, with commas.`);
  const since = TimeOrAge.optional().safeParse(values.since);
  if (!since.success)
    throw new UsageError('--since: write an age such as 30m, 2h or 7d, or a time such as 2026-11-24T08:00:00Z.');
  const limit = Number(values.limit ?? DEFAULT_LIMIT);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    throw new UsageError(`--limit is a number from 1 to ${MAX_LIMIT}.`);
  return { key: values.key, kind: values.kind, states: states.data, since: since.data, limit };
}

async function list(records: Records, filter: Filter, json: boolean): Promise<number> {
  const jobs = await records.jobs.list(filter);
  if (json) process.stdout.write(jobs.map((one) => `${JSON.stringify(one)}\n`).join(''));
  else if (jobs.length === 0) process.stdout.write('No job matches.\n');
  else {
    const columns = [
      { title: 'asked for', fixed: true as const },
      { title: 'state', fixed: true as const },
      { title: 'key' },
      { title: 'took', fixed: true as const },
      { title: 'progress' },
      { title: 'id', fixed: true as const },
    ];
    process.stdout.write(formatTable(columns, jobs.map(rowOf)));
  }
  return 0;
}

function rowOf(job: Job): Cell[] {
  const progress = job.progress ? `${countOf(job.progress)}  ${job.progress.words}` : '';
  const isBad = job.errorText !== null && job.endedAt !== null;
  return [
    job.requestedAt.slice(0, 19).replace('T', ' '),
    stateCell(job.state),
    job.key,
    tookOf(job),
    isBad ? (job.errorText ?? '') : progress,
    job.id,
  ];
}

function tookOf({ startedAt, endedAt }: Job): string {
  if (startedAt === null) return '-';
  return elapsedText((endedAt ? Date.parse(endedAt) : Date.now()) - Date.parse(startedAt));
}

function show(job: Job, configuration: Configuration, json: boolean): number {
  const { namespace } = configuration.temporal;
  const url = job.workflowId && runUrl(resolveAddresses(configuration), namespace, job.workflowId);
  if (json) {
    process.stdout.write(`${JSON.stringify({ ...job, runUrl: url }, null, 2)}\n`);
    return 0;
  }
  const rows: [string, Cell | null][] = [
    ['job', job.id],
    ['state', stateCell(job.state)],
    ['kind', job.kind],
    ['key', job.key],
    ['parameters', JSON.stringify(job.parameters)],
    ['asked for', `${job.requestedAt} by ${job.requestedBy}`],
    ['started', job.startedAt],
    ['ended', job.endedAt && `${job.endedAt}, after ${tookOf(job)}`],
    ['progress', job.progress && `${countOf(job.progress)}  ${job.progress.words}`],
    ['why', job.errorText && `${job.errorText} (${job.errorCode})`],
    ['run', url ?? job.workflowId],
  ];
  const filled = rows.filter((row): row is [string, Cell] => row[1] !== null);
  const columns = [{ title: '', fixed: true as const }, { title: '' }];
  // Nothing of a single job is cut.
  process.stdout.write(formatTable(columns, filled, Number.POSITIVE_INFINITY).replace(/^.*\n/, ''));
  return 0;
}

async function log(records: Records, job: Job, follow: boolean): Promise<number> {
  if (follow && job.endedAt === null) {
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort());
    const end = await followJob(records, job.id, { signal: stop.signal });
    if (stop.signal.aborted && end?.endedAt === null) return 0;
    return sayEnd(end);
  }
  let after = 0;
  for (let page = await records.jobs.lines(job.id); page.length > 0; page = await records.jobs.lines(job.id, after)) {
    for (const line of page) process.stdout.write(logLine(line));
    after = page.at(-1)?.line ?? after;
  }
  return 0;
}

async function cancel(configuration: Configuration, records: Records, id: string): Promise<number> {
  const desk = openDesk(configuration, records);
  try {
    const asked = await cancelJob(desk, id, ACTOR);
    sayIfUnheard(asked);
    const { state, endedAt } = asked.job;
    if (endedAt !== null) process.stdout.write(`It is over: ${state}.\n`);
    else process.stdout.write(`It stops once its clean-up is done:  switchyard jobs log ${id} --follow\n`);
    return 0;
  } finally {
    await desk.close();
  }
}
