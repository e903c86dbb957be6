/** Long jobs: one of a key waits at most, one runs at most; the newest request wins. */
import type { Selectable } from 'kysely';
import { PermanentError, TemporaryError } from '../../protocols/errors.ts';
import { uuidv7 } from './ids.ts';
import { leaseLost, type Job, type JobRecords, type JobRequest, type JobState } from './jobs-port.ts';
import { hold } from './locks.ts';
import { fromJson, pageSize, timeNow, toJson, type Database, type Tables } from './tables.ts';

/** Lines that are kept of one job: a job that logs each of a million items keeps its end. */
export const LOG_LINES = 1_000;
/** Characters of a line. */
const LINE = 500;
/** Open jobs that one sweep looks at. */
const SWEEP = 1_000;

const RUNNING: readonly JobState[] = ['running', 'cancelling'];
const OPEN: readonly JobState[] = ['waiting', ...RUNNING];

export function jobRecords(database: Database): JobRecords {
  /** Runs the change while nobody else changes anything of the key. */
  const alone = <T>(key: string, change: (transaction: Database) => Promise<T>, ...names: string[]): Promise<T> =>
    database.transaction().execute(async (transaction) => {
      await hold(transaction, `job-key/${key}`, ...names);
      return change(transaction);
    });
  /** The same for the key of a job, with the job as it is then; undefined where there is none. */
  const aloneWith = async <T>(id: string, change: (transaction: Database, job: Job) => Promise<T>) => {
    const job = await find(database, id);
    if (!job) return undefined;
    return alone(job.key, async (transaction) => change(transaction, (await find(transaction, id)) ?? job));
  };

  return {
    request: (request) =>
      alone(request.key, (transaction) => record(transaction, request), `job-request/${request.requestId}`),
    asked: (requestId) => askedBefore(database, requestId),
    get: (id) => find(database, id),
    async list({ key, kind, states, since, before, limit }) {
      let query = database.selectFrom('jobs').selectAll().orderBy('id', 'desc').limit(pageSize(limit));
      if (key !== undefined) query = query.where('key', '=', key);
      if (kind !== undefined) query = query.where('kind', '=', kind);
      if (states && states.length > 0) query = query.where('state', 'in', states);
      if (since !== undefined) query = query.where('requested_at', '>=', since);
      if (before !== undefined) query = query.where('id', '<', before);
      return (await query.execute()).map(toJob);
    },
    take: (key, by) =>
      alone(key, async (transaction) => {
        const { running, runningBy, waiting } = await openOf(transaction, key);
        if (running) return runningBy === by ? { job: running } : { leftover: running };
        const leasedUntil = await leasedUntilOf(transaction, key);
        if (leasedUntil) return { leasedUntil };
        if (!waiting) return {};
        const workflowId = `job/${waiting.id}`;
        const started = { state: 'running', started_at: timeNow(), taken_by: by, workflow_id: workflowId };
        return { job: await change(transaction, waiting.id, started, 'Started.') };
      }),
    look: (id) =>
      aloneWith(id, async (transaction, job) => {
        const { waiting } = await openOf(transaction, job.key);
        if (job.state !== 'running' || !waiting) return job;
        const text = `A newer request took its place: job ${waiting.id}.`;
        const stop = { state: 'cancelling', error_code: 'job.replaced', error_text: text };
        return change(transaction, id, stop, text);
      }),
    cancel: (id, { code, text }) =>
      aloneWith(id, async (transaction, job) => {
        const why = { error_code: code, error_text: text };
        if (job.state === 'waiting')
          return change(transaction, id, { ...why, state: 'cancelled', ended_at: timeNow() }, text);
        if (job.state === 'running') return change(transaction, id, { ...why, state: 'cancelling' }, text);
        return job;
      }),
    end: (id, { state, code, text }) =>
      aloneWith(id, async (transaction, job) => {
        if (!RUNNING.includes(job.state)) return job;
        const keeps = state === 'cancelled' && code === null;
        const why = keeps ? {} : { error_code: code, error_text: text };
        const words = text ?? { done: 'Done.', failed: 'Failed.', cancelled: 'Cancelled.' }[state];
        return change(transaction, id, { ...why, state, ended_at: timeNow() }, words);
      }),
    async progress(id, progress) {
      const { numUpdatedRows } = await database
        .updateTable('jobs')
        .set({ progress: JSON.stringify({ ...progress, words: cut(progress.words) }) })
        .where('id', '=', id)
        .where('state', 'in', RUNNING)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) throw over(id);
    },
    log: (id, words) => database.transaction().execute((transaction) => write(transaction, id, words)),
    async lines(id, after = 0, limit) {
      return database
        .selectFrom('job_log')
        .select(['line', 'at', 'words'])
        .where('job_id', '=', id)
        .where('line', '>', after)
        .orderBy('line')
        .limit(pageSize(limit))
        .execute();
    },
    async lease(id, holder, until) {
      const leased = await aloneWith(id, async (transaction, job) => {
        if (!RUNNING.includes(job.state)) return undefined;
        const held = await transaction.selectFrom('job_leases').selectAll().where('job_id', '=', id).executeTakeFirst();
        if (held && held.holder !== holder && held.until > timeNow()) throw leasedByAnother(id, held.until);
        await transaction
          .insertInto('job_leases')
          .values({ job_id: id, holder, until, place: null })
          .onConflict((conflict) => conflict.column('job_id').doUpdateSet({ holder, until }))
          .execute();
        return { place: fromJson<unknown>(held?.place ?? null) };
      });
      if (!leased) throw over(id);
      return leased.place;
    },
    async place(id, holder, place) {
      const { numUpdatedRows } = await database
        .updateTable('job_leases')
        .set({ place: toJson(place) })
        .where('job_id', '=', id)
        .where('holder', '=', holder)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) throw leaseLost(id);
    },
    async release(id, holder, isDone) {
      if (isDone) {
        await database.deleteFrom('job_leases').where('job_id', '=', id).where('holder', '=', holder).execute();
        return;
      }
      const ended = database.updateTable('job_leases').set({ until: timeNow() });
      await ended.where('job_id', '=', id).where('holder', '=', holder).execute();
    },
    async open(after) {
      let query = database.selectFrom('jobs').selectAll().where('state', 'in', OPEN).orderBy('id').limit(SWEEP);
      if (after !== undefined) query = query.where('id', '>', after);
      return (await query.execute()).map(toJob);
    },
    expire: (time) =>
      database.transaction().execute(async (transaction) => {
        const old = transaction.selectFrom('jobs').select('id').where('ended_at', '<', time);
        for (const table of ['job_requests', 'job_log', 'job_leases'] as const)
          await transaction.deleteFrom(table).where('job_id', 'in', old).execute();
        const gone = await transaction.deleteFrom('jobs').where('ended_at', '<', time).executeTakeFirst();
        return Number(gone.numDeletedRows);
      }),
  };
}

async function record(transaction: Database, request: JobRequest): Promise<{ job: Job; met: boolean }> {
  const { requestId, ifRunning, ...wanted } = request;
  const before = await askedBefore(transaction, requestId);
  if (before) {
    if (!isSame(before, wanted)) throw reused(requestId, before);
    return { job: before, met: true };
  }
  const { waiting, running } = await openOf(transaction, wanted.key);
  // One that is being cancelled, or will be for the one that waits, is no job to wait for.
  const last = waiting ?? (running?.state === 'running' ? running : undefined);
  if (ifRunning === 'join' && last && isSame(last, wanted)) {
    await transaction.insertInto('job_requests').values({ request_id: requestId, job_id: last.id }).execute();
    await write(transaction, last.id, `Asked for again by ${wanted.requestedBy}.`);
    return { job: last, met: true };
  }
  const job: Job = {
    ...wanted,
    id: uuidv7(),
    requestedAt: timeNow(),
    state: 'waiting',
    progress: null,
    startedAt: null,
    endedAt: null,
    errorCode: null,
    errorText: null,
    workflowId: null,
  };
  if (waiting) {
    const text = `A newer request took its place before it began: job ${job.id}.`;
    const end = { state: 'superseded', ended_at: timeNow(), error_code: 'job.superseded', error_text: text };
    await change(transaction, waiting.id, end, text);
  }
  await transaction.insertInto('jobs').values(fromJob(job)).execute();
  await transaction.insertInto('job_requests').values({ request_id: requestId, job_id: job.id }).execute();
  await write(transaction, job.id, `Asked for by ${wanted.requestedBy}.`);
  return { job, met: false };
}

/** Writes columns of a job and the line of its log that says so. */
async function change(
  transaction: Database,
  id: string,
  columns: Partial<Tables['jobs']>,
  words: string,
): Promise<Job> {
  const row = await transaction
    .updateTable('jobs')
    .set(columns)
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirstOrThrow();
  await write(transaction, id, words);
  return toJob(row);
}

/** One more line; the oldest goes where there are too many. */
async function write(transaction: Database, id: string, words: string): Promise<void> {
  // After the key's lock wherever both are held, so that nobody waits in a circle.
  await hold(transaction, `job-log/${id}`);
  const last = await transaction
    .selectFrom('job_log')
    .select(({ fn }) => fn.max('line').as('line'))
    .where('job_id', '=', id)
    .executeTakeFirst();
  const line = Number(last?.line ?? 0) + 1;
  await transaction
    .insertInto('job_log')
    .values({ job_id: id, line, at: timeNow(), words: cut(words) })
    .execute();
  if (line > LOG_LINES)
    await transaction
      .deleteFrom('job_log')
      .where('job_id', '=', id)
      .where('line', '<=', line - LOG_LINES)
      .execute();
}

const cut = (words: string): string => (words.length > LINE ? `${words.slice(0, LINE - 1)}…` : words);

async function find(database: Database, id: string): Promise<Job | undefined> {
  const row = await database.selectFrom('jobs').selectAll().where('id', '=', id).executeTakeFirst();
  return row && toJob(row);
}

async function askedBefore(database: Database, requestId: string): Promise<Job | undefined> {
  const row = await database
    .selectFrom('job_requests')
    .innerJoin('jobs', 'jobs.id', 'job_requests.job_id')
    .selectAll('jobs')
    .where('request_id', '=', requestId)
    .executeTakeFirst();
  return row && toJob(row);
}

async function openOf(
  transaction: Database,
  key: string,
): Promise<{ running?: Job; runningBy?: string | null; waiting?: Job }> {
  const rows = await transaction
    .selectFrom('jobs')
    .selectAll()
    .where('key', '=', key)
    .where('state', 'in', OPEN)
    .execute();
  const waiting = rows.find(({ state }) => state === 'waiting');
  const running = rows.find(({ state }) => state !== 'waiting');
  return {
    ...(running ? { running: toJob(running), runningBy: running.taken_by } : {}),
    ...(waiting ? { waiting: toJob(waiting) } : {}),
  };
}

/** Until when a step of any job of the key may be at work; undefined where none is. */
async function leasedUntilOf(transaction: Database, key: string): Promise<string | undefined> {
  const row = await transaction
    .selectFrom('job_leases')
    .innerJoin('jobs', 'jobs.id', 'job_leases.job_id')
    .select(({ fn }) => fn.max('until').as('until'))
    .where('key', '=', key)
    .where('until', '>', timeNow())
    .executeTakeFirst();
  return row?.until ?? undefined;
}

/** Parameters are compared as JSON, whatever the order of their names. */
function isSame(job: Job, wanted: Pick<Job, 'key' | 'kind' | 'parameters'>): boolean {
  const facts = ({ key, kind, parameters }: typeof wanted) => canonical({ key, kind, parameters });
  return facts(job) === facts(wanted);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function over(id: string): PermanentError {
  return new PermanentError({
    code: 'job.over',
    message: `The job ${id} does not run any more.`,
    fix: 'switchyard jobs show says what became of it; ask for it again if it is still wanted.',
    details: { job: id },
  });
}

function leasedByAnother(id: string, until: string): TemporaryError {
  return new TemporaryError({
    code: 'job.leased',
    message: `Another step of the job ${id}, or an earlier attempt at this one, may still be at work, at most until ${until}.`,
    fix: 'It is tried again by itself.',
    details: { job: id, until },
    retryAfterMs: Math.max(250, Date.parse(until) - Date.now()),
  });
}

function reused(requestId: string, job: Job): PermanentError {
  return new PermanentError({
    code: 'job.request_reused',
    message: `The request ${JSON.stringify(requestId)} has asked for something else before: job ${job.id}.`,
    fix: 'Give each request an id of its own; only a repeat of the same request carries the same one.',
    details: { job: job.id },
  });
}

function toJob(row: Selectable<Tables['jobs']>): Job {
  return {
    id: row.id,
    key: row.key,
    kind: row.kind,
    workflow: row.workflow,
    parameters: JSON.parse(row.parameters) as Job['parameters'],
    requestedBy: row.requested_by,
    requestedAt: row.requested_at,
    state: row.state as JobState,
    progress: fromJson(row.progress),
    startedAt: row.started_at,
    endedAt: row.ended_at,
    errorCode: row.error_code,
    errorText: row.error_text,
    workflowId: row.workflow_id,
  };
}

function fromJob(job: Job): Tables['jobs'] {
  return {
    id: job.id,
    key: job.key,
    kind: job.kind,
    workflow: job.workflow,
    parameters: JSON.stringify(job.parameters),
    requested_by: job.requestedBy,
    requested_at: job.requestedAt,
    state: job.state,
    progress: toJson(job.progress),
    started_at: job.startedAt,
    ended_at: job.endedAt,
    error_code: job.errorCode,
    error_text: job.errorText,
    workflow_id: job.workflowId,
    taken_by: null,
  };
}
