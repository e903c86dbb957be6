/** What every records driver must do for jobs: one of a key waits at most, one runs at most, none is lost. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOG_LINES } from '../../../stores/records/jobs.ts';
import type { JobRequest } from '../../../stores/records/jobs-port.ts';
import type { Records } from '../../../stores/records/port.ts';
import type { OpenedRecords } from './records.ts';

/** Rounds of each race. */
const ROUNDS = 15;
const soon = (ms: number) => new Date(Date.now() + ms).toISOString();

export function wantedJob(change: Partial<JobRequest> = {}): JobRequest {
  return {
    requestId: randomUUID(),
    key: randomUUID(),
    kind: 'test.job',
    workflow: 'testJob',
    parameters: { from: 1, to: { b: 2, a: 1 } },
    requestedBy: 'token:t',
    ifRunning: 'replace',
    ...change,
  };
}

export function jobsContract(name: string, open: () => Promise<OpenedRecords>): void {
  describe(`${name}: jobs`, () => {
    let opened: OpenedRecords;
    let jobs: Records['jobs'];
    beforeAll(async () => {
      opened = await open();
      ({ jobs } = opened.records);
    });
    afterAll(() => opened.close());

    const request = async (change: Partial<JobRequest> = {}) => (await jobs.request(wantedJob(change))).job;
    const running = async (change: Partial<JobRequest> = {}) => {
      const { id, key } = await request(change);
      expect((await jobs.take(key, 'a'))?.job?.id).toBe(id);
      return { id, key };
    };
    const stateOf = async (id: string) => (await jobs.get(id))?.state;

    it('knows nothing of a job that was never asked for', async () => {
      expect(await jobs.get('no-id')).toBeUndefined();
      expect(await jobs.take('no-key', 'a')).toEqual({});
      expect(await jobs.look('no-id')).toBeUndefined();
      expect(await jobs.cancel('no-id', { code: 'job.cancelled', text: 'x' })).toBeUndefined();
      expect(await jobs.end('no-id', { state: 'done', code: null, text: null })).toBeUndefined();
      expect(await jobs.lines('no-id')).toEqual([]);
      await expect(jobs.progress('no-id', { done: 1, total: 2, words: '' })).rejects.toMatchObject({
        code: 'job.over',
      });
      await expect(jobs.lease('no-id', 'h', soon(1_000))).rejects.toMatchObject({ code: 'job.over' });
    });

    it('goes from waiting to running to done, with a log', async () => {
      const job = await request();
      expect(job).toMatchObject({ state: 'waiting', startedAt: null, parameters: { from: 1, to: { b: 2, a: 1 } } });
      const { job: taken } = await jobs.take(job.key, 'a');
      expect(taken).toMatchObject({ id: job.id, state: 'running', workflowId: `job/${job.id}` });
      await jobs.progress(job.id, { done: 1, total: 2, words: 'half' });
      const ended = await jobs.end(job.id, { state: 'done', code: null, text: null });
      expect(ended).toMatchObject({ state: 'done', progress: { done: 1, total: 2, words: 'half' }, errorCode: null });
      expect(ended?.endedAt).not.toBeNull();
      expect(await jobs.get(job.id)).toEqual(ended);
      expect((await jobs.lines(job.id)).map(({ line, words }) => `${line} ${words}`)).toEqual([
        '1 Asked for by token:t.',
        '2 Started.',
        '3 Done.',
      ]);
    });

    it('leaves a final job as it is', async () => {
      const { id, key } = await running();
      await jobs.end(id, { state: 'failed', code: 'x.broken', text: 'It broke.' });
      await jobs.end(id, { state: 'done', code: null, text: null });
      await jobs.cancel(id, { code: 'job.cancelled', text: 'no' });
      expect(await jobs.get(id)).toMatchObject({ state: 'failed', errorCode: 'x.broken', errorText: 'It broke.' });
      await expect(jobs.progress(id, { done: 1, total: 2, words: '' })).rejects.toMatchObject({ code: 'job.over' });
      await expect(jobs.lease(id, 'h', soon(1_000))).rejects.toMatchObject({ code: 'job.over' });
      expect(await jobs.take(key, 'a')).toEqual({});
    });

    it('gives whoever asks again after a crash the same job, and anybody else what was left over', async () => {
      const { id, key } = await running();
      expect((await jobs.take(key, 'a')).job?.id).toBe(id);
      expect(await jobs.take(key, 'b')).toEqual({ leftover: expect.objectContaining({ id }) });
    });

    it('meets the job of a request that comes again, be it over or not, and refuses its id for another', async () => {
      const first = wantedJob();
      const { job } = await jobs.request(first);
      expect(await jobs.request({ ...first, parameters: { to: { a: 1, b: 2 }, from: 1 } })).toEqual({ job, met: true });
      await jobs.take(job.key, 'a');
      await jobs.end(job.id, { state: 'done', code: null, text: null });
      expect((await jobs.request(first)).job).toMatchObject({ id: job.id, state: 'done' });
      await expect(jobs.request({ ...first, parameters: { from: 2 } })).rejects.toMatchObject({
        code: 'job.request_reused',
      });
    });

    it('supersedes the job that waits, and records it', async () => {
      const first = await request();
      const second = await request({ key: first.key });
      expect(await jobs.get(first.id)).toMatchObject({ state: 'superseded', errorCode: 'job.superseded' });
      expect((await jobs.get(first.id))?.errorText).toContain(second.id);
      expect((await jobs.take(first.key, 'a')).job?.id).toBe(second.id);
    });

    it('tells the running job of the newer one, and keeps that reason at its end', async () => {
      const { id, key } = await running();
      expect(await jobs.look(id)).toMatchObject({ state: 'running' });
      const next = await request({ key });
      expect(await jobs.look(id)).toMatchObject({ state: 'cancelling', errorCode: 'job.replaced' });
      expect(await jobs.take(key, 'b')).toMatchObject({ leftover: { id } });
      expect(await jobs.end(id, { state: 'cancelled', code: null, text: null })).toMatchObject({
        state: 'cancelled',
        errorCode: 'job.replaced',
        errorText: expect.stringContaining(next.id),
      });
      expect((await jobs.take(key, 'a')).job?.id).toBe(next.id);
    });

    it('joins the job that would run last where it is the same, and replaces it otherwise', async () => {
      const { id, key } = await running();
      const join = { key, ifRunning: 'join' as const };
      const joined = wantedJob(join);
      expect(await jobs.request(joined)).toMatchObject({ job: { id }, met: true });
      expect(await jobs.request(joined)).toMatchObject({ job: { id }, met: true });
      const other = await jobs.request(wantedJob({ ...join, parameters: { from: 9 } }));
      expect(other.met).toBe(false);
      // The running one will be stopped for the one that waits: the same request is a new job again.
      const again = await jobs.request(wantedJob(join));
      expect([again.met, await stateOf(other.job.id)]).toEqual([false, 'superseded']);
      expect((await jobs.request(wantedJob(join))).job.id).toBe(again.job.id);
    });

    it('joins no job that is being cancelled', async () => {
      const { id, key } = await running();
      await jobs.cancel(id, { code: 'job.cancelled', text: 'by a person' });
      expect((await jobs.request(wantedJob({ key, ifRunning: 'join' }))).met).toBe(false);
    });

    it('cancels a waiting job at once, and asks a running one to stop', async () => {
      const waiting = await request();
      expect(await jobs.cancel(waiting.id, { code: 'job.cancelled', text: 'by a person' })).toMatchObject({
        state: 'cancelled',
        errorText: 'by a person',
      });
      expect(await jobs.take(waiting.key, 'a')).toEqual({});
      const { id } = await running();
      expect(await jobs.cancel(id, { code: 'job.cancelled', text: 'by a person' })).toMatchObject({
        state: 'cancelling',
        endedAt: null,
      });
    });

    it('takes no job while a step of an ended one may be at work', async () => {
      const { id, key } = await running();
      const until = soon(60_000);
      await jobs.lease(id, 'one', until);
      await jobs.end(id, { state: 'cancelled', code: 'job.cancelled', text: 'x' });
      const next = await request({ key });
      expect(await jobs.take(key, 'a')).toEqual({ leasedUntil: until });
      await jobs.release(id, 'somebody else', true);
      expect(await jobs.take(key, 'a')).toEqual({ leasedUntil: until });
      await jobs.release(id, 'one', true);
      expect((await jobs.take(key, 'a')).job?.id).toBe(next.id);
    });

    it('lets another step or attempt begin only when the lease is over', async () => {
      const { id } = await running();
      await jobs.lease(id, 'one', soon(60_000));
      await expect(jobs.lease(id, 'two', soon(60_000))).rejects.toMatchObject({ code: 'job.leased' });
      await jobs.lease(id, 'one', soon(-1));
      await jobs.lease(id, 'two', soon(60_000));
      await expect(jobs.lease(id, 'one', soon(60_000))).rejects.toMatchObject({ code: 'job.leased' });
    });

    it('keeps what a step was at for whoever comes next, until it came to its end', async () => {
      const { id } = await running();
      const over = soon(-1);
      expect(await jobs.lease(id, 'one', over)).toBeNull();
      await jobs.place(id, 'one', { at: 1 });
      expect(await jobs.lease(id, 'one', over)).toEqual({ at: 1 });
      expect(await jobs.lease(id, 'two', soon(60_000))).toEqual({ at: 1 });
      await expect(jobs.place(id, 'one', { at: 2 })).rejects.toMatchObject({ code: 'job.lease_lost' });
      await jobs.place(id, 'two', { at: 3 });
      await jobs.release(id, 'two', false);
      expect(await jobs.lease(id, 'three', soon(60_000))).toEqual({ at: 3 });
      await jobs.release(id, 'three', true);
      expect(await jobs.lease(id, 'four', soon(60_000))).toBeNull();
    });

    it('keeps the newest lines of a long log, cut', async () => {
      const { id } = await running();
      for (let index = 0; index < LOG_LINES; index += 1) await jobs.log(id, `${index}`);
      await jobs.log(id, 'x'.repeat(2_000));
      const first = await jobs.lines(id, 0, 1);
      expect(first).toMatchObject([{ line: 4, words: '1' }]);
      const last = await jobs.lines(id, LOG_LINES + 2, 500);
      expect(last.map(({ words }) => words.length)).toEqual([500]);
    });

    it('lists by key, kind, state and time, newest first, a page at a time', async () => {
      const key = randomUUID();
      const kind = randomUUID();
      const made = [];
      for (let index = 0; index < 3; index += 1) made.unshift((await request({ key, kind })).id);
      const ids = async (filter: Parameters<typeof jobs.list>[0]) => (await jobs.list(filter)).map(({ id }) => id);
      expect(await ids({ key })).toEqual(made);
      expect(await ids({ kind, limit: 2 })).toEqual(made.slice(0, 2));
      expect(await ids({ kind, before: made[1] })).toEqual([made[2]]);
      expect(await ids({ key, states: ['superseded', 'done'] })).toEqual(made.slice(1));
      expect(await ids({ key, since: soon(60_000) })).toEqual([]);
    });

    it('names the open jobs, and forgets final ones after their time', async () => {
      const { id } = await running();
      const { id: waiting } = await request();
      const over = await running();
      await jobs.end(over.id, { state: 'done', code: null, text: null });
      const open = (await jobs.open()).map((one) => one.id);
      expect(open).toEqual(expect.arrayContaining([id, waiting]));
      expect(open).not.toContain(over.id);
      expect((await jobs.open(waiting)).map((one) => one.id)).not.toContain(id);
      expect(await jobs.expire(soon(60_000))).toBeGreaterThan(0);
      expect(await jobs.get(over.id)).toBeUndefined();
      expect(await jobs.lines(over.id)).toEqual([]);
      expect([await stateOf(id), await stateOf(waiting)]).toEqual(['running', 'waiting']);
      expect(await jobs.expire(soon(60_000))).toBe(0);
    });

    it('at once: of many requests one waits, and the others are superseded', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const key = randomUUID();
        const made = await Promise.all([1, 2, 3, 4, 5].map(() => request({ key })));
        const states = await Promise.all(made.map(({ id }) => stateOf(id)));
        expect(states.sort()).toEqual([...Array<string>(4).fill('superseded'), 'waiting']);
      }
    });

    it('at once: a request that is sent several times is one job', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const wanted = wantedJob();
        const met = await Promise.all([1, 2, 3, 4].map(() => jobs.request(wanted)));
        expect(new Set(met.map(({ job }) => job.id)).size).toBe(1);
        expect(met.filter((one) => !one.met)).toHaveLength(1);
      }
    });

    it('at once: many who want to run it take it once, and a cancellation either comes before or is seen', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const { id, key } = await request();
        const [first, cancelled, second] = await Promise.all([
          jobs.take(key, 'a'),
          jobs.cancel(id, { code: 'job.cancelled', text: 'x' }),
          jobs.take(key, 'b'),
        ]);
        const started = [first, second].filter((one) => one.job);
        expect([started.length, cancelled?.state]).toEqual(
          cancelled?.state === 'cancelled' ? [0, 'cancelled'] : [1, 'cancelling'],
        );
      }
    });

    it('at once: a lease is either refused or seen by whoever takes the next job', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const { id, key } = await running();
        await request({ key });
        const [lease, taken] = await Promise.allSettled([
          jobs.lease(id, 'one', soon(60_000)),
          jobs.end(id, { state: 'cancelled', code: null, text: null }).then(() => jobs.take(key, 'b')),
        ]);
        const next = taken.status === 'fulfilled' ? taken.value : {};
        expect(Object.keys(next)).toEqual([lease.status === 'fulfilled' ? 'leasedUntil' : 'job']);
      }
    });

    it('at once: lines of a log are numbered without a gap', async () => {
      const { id } = await running();
      await Promise.all(Array.from({ length: ROUNDS }, (_, index) => jobs.log(id, `${index}`)));
      expect((await jobs.lines(id)).map(({ line }) => line)).toEqual(
        Array.from({ length: ROUNDS + 2 }, (_, index) => index + 1),
      );
    });
  });
}
